"""Threads one after the other, each of which lives for 50 ms and may get the ids and the memory of the one before: relay.py [SECONDS]

The thread named `runner-K` runs `only_in_K_of_T`, where T is its id as the kernel gives it, which calls `lap`.
"""

import itertools
import os
import threading
import time

from moving import ready

FUNCTION = """
def {name}(lap):
    lap()
"""


def own_id():
    if hasattr(threading, "get_native_id"):
        return threading.get_native_id()
    return int(os.readlink("/proc/thread-self").rsplit("/", 1)[1])


def run(number):
    name = "only_in_%d_of_%d" % (number, own_id())
    namespace = {}
    exec(FUNCTION.format(name=name), namespace)
    namespace[name](lap)


def lap():
    end = time.monotonic() + 0.05
    while time.monotonic() < end:
        for _ in range(1000):
            pass


def relay():
    for number in itertools.count():
        runner = threading.Thread(target=run, args=(number,), name="runner-%d" % number)
        runner.start()
        runner.join()


ready()
relay()
