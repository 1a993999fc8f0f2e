"""A deep stack of two functions that call each other: recursion.py DEPTH [thread]

In the main thread, or with `thread` in one with a large stack, while the main thread waits for it.
"""

import os
import sys
import threading

from oracle import snapshot

STACK_BYTES = 512 << 20


def even(depth):
    if depth == 0:
        return os.write(1, snapshot(parking=["join"])) and os.read(0, 1)
    return odd(depth - 1)


def odd(depth):
    if depth == 0:
        return os.write(1, snapshot(parking=["join"])) and os.read(0, 1)
    return even(
        depth - 1,
    )


depth = int(sys.argv[1])
sys.setrecursionlimit(depth + 1000)
if "thread" in sys.argv[2:]:
    threading.stack_size(STACK_BYTES)
    thread = threading.Thread(target=even, args=(depth,), name="deep")
    thread.start()
    thread.join()
else:
    even(depth)
