"""What the benchmark looks at: workload.py torture|deep|threads NUMBER

torture   functions that call each other as fast as can be, NUMBER deep. Each one's name is its caller's and one digit
          more, so that a stack which never was shows
deep      a stack NUMBER deep whose innermost function calls a short one all the time
threads   NUMBER threads that sleep, 20 deep, beside one like the innermost of `deep`

Prints `ready`, and then a line for each tenth of a second: when it ended, in nanoseconds of the monotonic clock, and
how many rounds of its work were done in it. Ends when nobody is there to read. It is one file, so that it can be copied
into a root.
"""

import os
import sys
import threading
import time

DIGITS = "012"
TENTH = 100_000_000


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
    for number in range(200):
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
    now = time.monotonic_ns()
    while True:
        rounds, tenth = 0, now + TENTH
        while now < tenth:
            work()
            rounds += 1
            now = time.monotonic_ns()
        os.write(1, b"%d %d\n" % (now, rounds))


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


try:
    main()
except BrokenPipeError:
    os._exit(0)
