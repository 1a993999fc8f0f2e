"""Children that live for a short time: births.py HOW, then a line `NUMBER PARALLEL NAPS` on standard input for each batch.

HOW is fork or spawn. Each child takes so many naps of 5 ms, so that it lives longer where the machine is so busy that to wake
up takes long, and tells for how long it lived by its own clock: from its first line of Python to its last.
Prints `ready`, and for each batch one line of JSON once all have ended: [[process id, seconds], ...].
"""

import json
import os
import sys
import time

CHILD = """
import time
begin = time.monotonic()
import os, sys
def live(naps):
    for _ in range(naps):
        time.sleep(0.005)
live(int(sys.argv[1]))
sys.stdout.write("%d %f\\n" % (os.getpid(), time.monotonic() - begin))
"""


def live(naps):
    for _ in range(naps):
        time.sleep(0.005)


def forked(naps, write):
    pid = os.fork()
    if pid == 0:
        begin = time.monotonic()
        live(naps)
        os.write(write, b"%d %f\n" % (os.getpid(), time.monotonic() - begin))
        os._exit(0)


def spawned(naps, write):
    pid = os.fork()
    if pid == 0:
        os.dup2(write, 1)
        os.execv(sys.executable, [sys.executable, "-S", "-E", "-c", CHILD, str(naps)])


def batch(number, parallel, naps):
    birth = forked if sys.argv[1] == "fork" else spawned
    read, write = os.pipe()
    born = ended = 0
    while ended < number:
        if born < number and born - ended < parallel:
            birth(naps, write)
            born += 1
        else:
            os.wait()
            ended += 1
    os.close(write)
    with os.fdopen(read) as told:
        return [[int(pid), float(lived)] for pid, lived in (line.split() for line in told)]


def main():
    print("ready", flush=True)
    for line in iter(sys.stdin.readline, ""):
        number, parallel, naps = line.split()
        print(json.dumps(batch(int(number), int(parallel), int(naps))), flush=True)


main()
