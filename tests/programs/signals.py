"""Counts the signals that reach it, busy all the while: signals.py

Prints "ready", and the number of SIGRTMIN+1 that came when standard input is closed. Each is one byte that the C handler
writes, so none is counted for another as Python's own handlers would do.
"""

import fcntl
import os
import signal
import sys

SIGNAL = signal.SIGRTMIN + 1
F_SETPIPE_SZ = 1031

arrived, arrival = os.pipe()
for end in arrived, arrival, 0:
    os.set_blocking(end, False)
fcntl.fcntl(arrival, F_SETPIPE_SZ, 1 << 20)
signal.set_wakeup_fd(arrival)
signal.signal(SIGNAL, lambda *_: None)


def read(end):
    try:
        return os.read(end, 65536)
    except BlockingIOError:
        return None


def busy(number):
    return number + 1


os.write(1, b"ready\n")
count = number = 0
while read(0) != b"":
    for _ in range(200):
        number = busy(number)
    count += len(read(arrived) or b"")
count += len(read(arrived) or b"")
os.write(1, b"%d\n" % count)
sys.stdout.flush()
