"""A system call among computing, again and again: calls.py SECONDS MICROSECONDS

Says that it is ready and waits for a line. Then it computes in `before` for MICROSECONDS, makes a short system call in `call`, and
computes in `after` as long, for SECONDS. Prints as JSON how many seconds it was in each, and ends.
"""

import json
import os
import sys
import time


def before(seconds):
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


def after(seconds):
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


def call():
    os.getppid()


def main():
    seconds, each = float(sys.argv[1]), float(sys.argv[2]) / 1e6
    now = time.perf_counter
    took = {"before": 0.0, "call": 0.0, "after": 0.0}
    print("ready", flush=True)
    sys.stdin.readline()
    end = now() + seconds
    while now() < end:
        begun = now()
        before(each)
        computed = now()
        call()
        called = now()
        after(each)
        took["before"] += computed - begun
        took["call"] += called - computed
        took["after"] += now() - called
    print(json.dumps(took), flush=True)


main()
