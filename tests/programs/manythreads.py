"""So many threads that wait, each in a call of its own, and one that is busy: manythreads.py N [SECONDS]"""

import sys
import threading

from moving import ready

COUNT = int(sys.argv[1])


def wait():
    return wait_inside()


def wait_inside():
    with waiting:
        arrived.append(1)
        waiting.wait()


def busy():
    number = 0
    while True:
        number = step(number)


def step(number):
    return number + 1


threading.stack_size(1 << 16)
waiting = threading.Condition()
arrived = []
for _ in range(COUNT):
    threading.Thread(target=wait, daemon=True).start()
while True:
    with waiting:
        if len(arrived) == COUNT:
            break
ready(2)
busy()
