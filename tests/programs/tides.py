"""A family that has nothing to do, then too much, then nothing: tides.py WORKERS SECONDS

Says that it is ready and waits for a line. Then all its workers sleep in `ebb`, compute in `flood` and sleep in `neap`, for SECONDS each
time and all at once. Prints as JSON how many seconds all of them together were in each, and ends.
"""

import json
import os
import sys
import time


def ebb(until):
    time.sleep(max(0.0, until - time.perf_counter()))


def flood(until):
    number = 0
    while time.perf_counter() < until:
        number += 1


def neap(until):
    time.sleep(max(0.0, until - time.perf_counter()))


def worker(begin, end, seconds):
    os.read(begin, 1)
    took = {}
    first = now = time.perf_counter()
    for number, phase in enumerate([ebb, flood, neap]):
        phase(first + (number + 1) * seconds)
        before, now = now, time.perf_counter()
        took[phase.__name__] = now - before
    os.write(end, (json.dumps(took) + "\n").encode())
    os._exit(0)


def main():
    workers, seconds = int(sys.argv[1]), float(sys.argv[2])
    begin, go = os.pipe()
    told, end = os.pipe()
    pids = []
    for _ in range(workers):
        pid = os.fork()
        if pid == 0:
            worker(begin, end, seconds)
        pids.append(pid)
    os.close(end)
    print("ready", flush=True)
    sys.stdin.readline()
    os.write(go, b"g" * workers)
    sums = {}
    with os.fdopen(told) as lines:
        for line in lines:
            for phase, took in json.loads(line).items():
                sums[phase] = sums.get(phase, 0.0) + took
    for pid in pids:
        os.waitpid(pid, 0)
    print(json.dumps(sums), flush=True)


main()
