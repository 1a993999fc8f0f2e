"""Executes itself again and again beside busy threads, and so kills them: execs.py COUNT

Prints "ready" the first time. The last one prints "done" and waits for the end of standard input.
"""

import os
import sys
import threading
import time


def busy():
    while True:
        sum(range(100))


left = int(sys.argv[1])
first = "--again" not in sys.argv
if first:
    os.write(1, b"ready\n")
for _ in range(3):
    threading.Thread(target=busy, daemon=True).start()
time.sleep(0.1)
if left:
    os.execv(sys.executable, [sys.executable, sys.argv[0], str(left - 1), "--again"])
os.write(1, b"done\n")
os.read(0, 1)
os._exit(0)
