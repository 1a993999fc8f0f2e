"""Gets signals from a child of its own and sees that they come in order: ordered.py ROUNDS [ordinary]

When standard input says so, the child sends ROUNDS times 24 real-time signals to this process, which is busy. In each round their
numbers go up, and as the kernel delivers the lowest first, so must they arrive. Each is one byte that the C handler writes, which
no other handler interrupts. The child prints `N in order`, or what came instead.

Ordinary signals do not queue: of these it sends each when the one before has arrived, 24 in a round as well.
"""

import ctypes
import os
import select
import signal
import sys
import time

ORDINARY = "ordinary" in sys.argv
SIGNALS = range(signal.SIGRTMIN + 2, signal.SIGRTMIN + 26)
if ORDINARY:
    SIGNALS = [signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGALRM, signal.SIGTERM, signal.SIGWINCH] * 4
PR_SET_PDEATHSIG = 1
# How long one may take to arrive, in seconds.
PATIENCE = 20


class Action(ctypes.Structure):
    """`struct sigaction` of glibc."""

    _fields_ = [
        ("handler", ctypes.c_void_p),
        ("mask", ctypes.c_ulong * 16),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    ]


def handle(number):
    """Has a signal be written to the pipe, and no other handled meanwhile."""
    signal.signal(number, lambda *_: None)
    libc = ctypes.CDLL(None)
    action = Action()
    assert libc.sigaction(number, None, ctypes.byref(action)) == 0
    for index in range(16):
        action.mask[index] = ctypes.c_ulong(-1).value
    assert libc.sigaction(number, ctypes.byref(action), None) == 0


def send(target, rounds):
    """The child: sends, and looks what arrives."""
    for number in range(rounds):
        came = b""
        for count, sent in enumerate(SIGNALS, 1):
            os.kill(target, sent)
            while ORDINARY and len(came) < count:
                if not select.select([arrived], [], [], PATIENCE)[0]:
                    return "in round %d %d is lost after %r" % (number, sent, list(came))
                came += os.read(arrived, 64)
            time.sleep(0.0005)
        while len(came) < len(SIGNALS):
            came += os.read(arrived, 64)
        if came != bytes(bytearray(SIGNALS)):
            return "in round %d came %r" % (number, list(came))
    os.set_blocking(arrived, False)
    try:
        return "too many: %r" % list(os.read(arrived, 64))
    except BlockingIOError:
        return "%d in order" % (rounds * len(SIGNALS))


def busy(number):
    return number + 1


arrived, arrival = os.pipe()
os.set_blocking(arrival, False)
signal.set_wakeup_fd(arrival)
for number in SIGNALS:
    handle(number)
parent = os.getpid()
if os.fork() == 0:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.write(1, b"ready\n")
    os.read(0, 64)
    os.write(1, send(parent, int(sys.argv[1])).encode() + b"\n")
    os._exit(0)
os.close(0)
os.close(1)
child = -1
number = 0
while child <= 0:
    for _ in range(1000):
        number = busy(number)
    try:
        child, _ = os.waitpid(-1, os.WNOHANG)
    except InterruptedError:
        pass
