"""Five threads that wait, and a child that was forked without Python's knowledge, where they do not run: forked_by_c.py

Prints the child's process id. The child is in `work` until its parent ends.
"""

import ctypes
import os
import sys
import threading


def work():
    number = 0
    for _ in range(1000):
        number += 1


def main():
    c, over, waiting = ctypes.PyDLL(None), threading.Event(), threading.Semaphore(0)

    def wait():
        waiting.release()
        over.wait()

    for _ in range(5):
        threading.Thread(target=wait, daemon=True).start()
    for _ in range(5):
        waiting.acquire()
    parent = os.getpid()
    child = c.fork()
    if child:
        print(child, flush=True)
        sys.stdin.read()
        os._exit(0)
    while os.getppid() == parent:
        work()
    os._exit(0)


main()
