"""What the benchmark looks at: workload.py torture|deep|threads|calls NUMBER

torture   functions that call each other as fast as can be, NUMBER deep. Each one's name is its caller's and one digit
          more, so that a stack which never was shows
deep      a stack NUMBER deep whose innermost function calls a short one all the time
threads   NUMBER threads that sleep, 20 deep, beside one like the innermost of `deep`
calls     NUMBER us of computing in `before`, a short system call in `call`, and as long in `after`

Prints `ready`, and then a line for each tenth of a second: when it ended, how long it was, and for how much of it the work
was held up, all in nanoseconds (of the monotonic clock). A round of the work that takes longer than the median round of
its tenth, by a fifth and by 8 us at least, was held up for as long; of `calls` it is the time in `call`. Ends when nobody
is there to read. It is one file, so that it can be copied into a root.
"""

import os
import sys
import threading
import time

DIGITS = "012"
TENTH = 100_000_000
LEAST = 8_000


def torture(depth):
    names = {}
    exec(compile(source("", depth), "torture_functions.py", "exec"), names)
    return names["t"]


def source(path, depth):
    name = "t_" + path if path else "t"
    if len(path) == depth:
        return f"def {name}():\n    x = 1\n    x += 1\n    return x\n"
    calls = "".join(f"    t_{path}{digit}()\n" for digit in DIGITS)
    return f"def {name}():\n{calls}    return 0\n" + "".join(source(path + digit, depth) for digit in DIGITS)


def leaf(number):
    return number + 1


def short_calls():
    for number in range(1000):
        leaf(number)


def asleep(depth, there):
    if depth > 1:
        return asleep(depth - 1, there)
    there.release()
    while True:
        time.sleep(3600)


def start_sleepers(number):
    there = threading.Semaphore(0)
    for _ in range(number):
        threading.Thread(target=asleep, args=(20, there), daemon=True).start()
    for _ in range(number):
        there.acquire()


def descend(depth, work):
    return count(work) if depth <= 1 else descend(depth - 1, work)


def count(work):
    os.write(1, b"ready\n")
    while True:
        took = []
        now = begun = time.monotonic_ns()
        while now < begun + TENTH:
            work()
            before, now = now, time.monotonic_ns()
            took.append(now - before)
        os.write(1, b"%d %d %d\n" % (now, now - begun, held_up(took)))


def compute(until):
    while time.monotonic_ns() < until:
        pass


def before(until):
    compute(until)


def call():
    os.getppid()


def after(until):
    compute(until)


def count_calls(each):
    os.write(1, b"ready\n")
    while True:
        took = 0
        now = begun = time.monotonic_ns()
        while now < begun + TENTH:
            before(now + each)
            now = time.monotonic_ns()
            call()
            called = time.monotonic_ns()
            took += called - now
            after(called + each)
            now = time.monotonic_ns()
        os.write(1, b"%d %d %d\n" % (now, now - begun, took))


def held_up(took):
    usual = sorted(took)[len(took) // 2]
    least = usual + max(LEAST, usual // 5)
    return sum(one - usual for one in took if one > least)


def main():
    scene, number = sys.argv[1], int(sys.argv[2])
    sys.setrecursionlimit(100_000)
    if scene == "torture":
        count(torture(number))
    elif scene == "deep":
        descend(number, short_calls)
    elif scene == "threads":
        start_sleepers(number)
        count(short_calls)
    elif scene == "calls":
        count_calls(number * 1000)


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:
        os._exit(0)
