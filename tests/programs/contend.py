"""Threads that hold the GIL, wait for it or do without, and know for how much of the time: contend.py HOW

Prints `ready`; then, for each line on standard input, a line of JSON with what is true since the line before: seconds that went by
(`wall`), for each thread by its name the seconds in which it used a processor (`cpu`), and for how many seconds the GIL was
held in C at most (`longest`).

HOW:
compute-N  N threads compute. Each holds the GIL while it uses a processor and wants it otherwise.
hash       one thread computes, one hashes large buffers, for which it lets go of the GIL.
sleep-in-c one thread holds the GIL in C for 200 ms at a time, asleep, and lets go for a moment, which is short as the
           switch interval is 1 ms; one computes.
busy-in-c  as above, but it multiplies large numbers.
io         two threads pass a byte to and fro, with pauses.
convoy     six threads want one lock, whose holder sleeps.
parked     one thread computes beside 50 that wait for an event.
"""

import hashlib
import json
import os
import socket
import sys
import threading
import time

HOLD_SECONDS = 0.2
clocks = {}
longest = 0.0


def compute():
    total = 0
    while True:
        for number in range(1000):
            total += number


def hash_large():
    data = b"x" * (64 << 20)
    while True:
        hashlib.sha256(data).digest()


def hold_asleep(usleep):
    while True:
        begun = time.perf_counter()
        usleep(int(HOLD_SECONDS * 1e6))
        note_hold(begun)
        time.sleep(0)


def hold_busy(number):
    while True:
        begun = time.perf_counter()
        number * number
        note_hold(begun)
        time.sleep(0)


def note_hold(begun):
    global longest
    longest = max(longest, time.perf_counter() - begun)


def large_number():
    """One whose square takes as long as a hold should."""
    bits = 100000
    while True:
        number = (1 << bits) // 3
        begun = time.perf_counter()
        number.__mul__(number)
        if time.perf_counter() - begun > HOLD_SECONDS:
            return Number(number)
        bits *= 2


class Number:
    """Multiplies by a call: a builtin method, which is native code."""

    def __init__(self, value):
        self.times = value.__mul__
        self.value = value

    def __mul__(self, other):
        return square_in_c(self)


def square_in_c(number):
    return number.times(number.value)


def pass_byte(ours):
    while True:
        ours.recv(1)
        time.sleep(0.005)
        ours.send(b"x")


def take_turns(lock):
    while True:
        with lock:
            time.sleep(0.01)


def start(target, name, *args):
    begun = threading.Event()

    def run():
        clocks[name] = time.pthread_getcpuclockid(threading.get_ident())
        begun.set()
        target(*args)

    threading.Thread(target=run, name=name, daemon=True).start()
    begun.wait()


def start_all(how):
    if how.startswith("compute-"):
        for number in range(int(how.split("-")[1])):
            start(compute, "compute-%d" % number)
    elif how == "hash":
        start(compute, "compute")
        start(hash_large, "hash")
    elif how == "sleep-in-c":
        import ctypes

        sys.setswitchinterval(0.001)
        start(hold_asleep, "hold", ctypes.PyDLL(None).usleep)
        start(compute, "compute")
    elif how == "busy-in-c":
        sys.setswitchinterval(0.001)
        start(hold_busy, "hold", large_number())
        start(compute, "compute")
    elif how == "io":
        ours, theirs = socket.socketpair()
        start(pass_byte, "first", ours)
        start(pass_byte, "second", theirs)
        ours.send(b"x")
    elif how == "convoy":
        lock = threading.Lock()
        for number in range(6):
            start(take_turns, "turn-%d" % number, lock)
    elif how == "parked":
        start(compute, "compute")
        for number in range(50):
            start(threading.Event().wait, "parked-%d" % number)
    else:
        raise SystemExit(__doc__)


def now():
    return {"wall": time.monotonic(), "cpu": {name: time.clock_gettime(clock) for name, clock in clocks.items()}}


start_all(sys.argv[1])
os.write(1, b"ready\n")
before = now()
for _ in sys.stdin:
    after = now()
    used = {name: after["cpu"][name] - before["cpu"][name] for name in after["cpu"]}
    told = {"wall": after["wall"] - before["wall"], "cpu": used, "longest": longest}
    os.write(1, json.dumps(told).encode() + b"\n")
    before, longest = after, 0.0
os._exit(0)
