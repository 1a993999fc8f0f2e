"""What the programs that never stand still share: they say when they have begun, and how they end."""

import _thread
import os
import signal
import sys


def ready(argument=1, tell=None):
    """Prints `ready` and sees to the end: at the closing of standard input, or after the SECONDS in `argv[argument]`.

    For each byte on standard input it prints the line that `tell` returns, if that is given.

    With SECONDS no thread is added to the process: the kernel ends it with SIGALRM.
    """
    if len(sys.argv) > argument:
        signal.setitimer(signal.ITIMER_REAL, float(sys.argv[argument]))
    else:
        _thread.start_new_thread(leave_when_input_closes, (tell,))
    os.write(1, b"ready\n")


def leave_when_input_closes(tell):
    while os.read(0, 1) and tell:
        os.write(1, tell().encode() + b"\n")
    os._exit(0)
