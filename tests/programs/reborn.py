"""Executes itself at the same addresses, as another program: reborn.py

Busy in functions `first_*`; after a byte on standard input for a second in `between`, and then in functions `other_*`, whose code
objects are like the first, at the same addresses as far as the kernel is concerned. Prints `ready` when it is in either.
"""

import ctypes
import os
import sys
import time

STAGES = ["", "first", "other"]
ADDR_NO_RANDOMIZE = 0x0040000
SOURCE = """
def {0}_outer():
    while not is_over():
        {0}_inner()

def {0}_inner():
    total = 0
    for number in range(1000):
        total += number
    return total
"""


def is_over():
    global end
    try:
        end = os.read(0, 1)
    except BlockingIOError:
        return False
    return True


def between():
    time.sleep(1)


def become(stage):
    os.execv(sys.executable, [sys.executable, __file__, str(stage)])


stage = int(sys.argv[1]) if len(sys.argv) > 1 else 0
if stage == 0:
    ctypes.CDLL(None).personality(ctypes.c_ulong(ADDR_NO_RANDOMIZE))
    become(1)
end = None
os.set_blocking(0, False)
names = {"is_over": is_over}
exec(compile(SOURCE.format(STAGES[stage]), "reborn", "exec"), names)
os.write(1, b"ready\n")
names[STAGES[stage] + "_outer"]()
if end:
    between()
    become(2)
