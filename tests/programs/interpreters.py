"""Subinterpreters that are made, run and ended all the time beside a busy thread: interpreters.py [SECONDS]

The main thread calls `make`; the interpreters run `inside`, the busy thread `outer` and `inner`. From 3.12 on every other one has a
GIL of its own. Where there are no subinterpreters, prints `unavailable` and ends.
"""

import os
import sys
import threading
import time

from moving import ready

SOURCE = """
def inside():
    total = 0
    for number in range(200000):
        total += number
    return total
inside()
"""


def available():
    """A function that makes, runs and ends an interpreter; it is told whether that shall have a GIL of its own."""
    try:
        if sys.version_info >= (3, 13):
            import _interpreters

            create = lambda isolated: _interpreters.create("isolated" if isolated else "legacy")
            return lambda isolated: run(_interpreters, create(isolated))
        if sys.version_info >= (3, 8):
            import _xxsubinterpreters

            create = lambda isolated: _xxsubinterpreters.create(**({"isolated": isolated} if options else {}))
            options = sys.version_info >= (3, 12)
            return lambda isolated: run(_xxsubinterpreters, create(isolated))
        import _testcapi

        return lambda isolated: _testcapi.run_in_subinterp(SOURCE)
    except ImportError:
        os.write(1, b"unavailable\n")
        sys.exit()


def run(module, interpreter):
    module.run_string(interpreter, SOURCE)
    module.destroy(interpreter)


def outer():
    """Lets go of the GIL by itself: from 3.9 to 3.12 another interpreter's thread cannot make it."""
    while True:
        inner()
        time.sleep(0.0005)


def inner():
    for _ in range(1000):
        pass


def make(create):
    isolated = False
    while True:
        create(isolated)
        isolated = not isolated


create = available()
threading.Thread(target=outer, daemon=True).start()
ready()
make(create)
