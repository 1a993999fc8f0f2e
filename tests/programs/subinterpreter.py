"""Subinterpreters that stand still, each in a thread of its own: subinterpreter.py [KIND...]

KIND is `legacy` (shares the main interpreter's GIL) or `isolated` (from 3.12 on with a GIL of its own); without, all that this version
has. Each thread has two thread states: one of the main interpreter, which waits in the call that runs the other interpreter's
code, and one of that other interpreter. Each isolated interpreter has a second thread.

No frame inside ends before the process does: the main interpreter's `sys._current_frames` made frame objects of them, and freeing
these in an interpreter with an allocator of its own would be fatal.

Where there are no subinterpreters, prints {"unavailable": reason} and ends.
"""

import json
import os
import sys
import threading

from oracle import snapshot

SOURCE = """
import os
import sys
import threading
sys.path.insert(0, {folder!r})
from oracle import ask_witness, thread_snapshot

silent, _ = os.pipe()

def outer():
    return inner()

def inner():
    os.write({writer}, thread_snapshot()) and os.read(silent, 1)

if {isolated}:
    threading.Thread(target=outer, name="inside").start()
else:
    ask_witness({id})
outer()
"""


class Interpreters313:
    """`_interpreters`, which 3.14's concurrent.interpreters is made of."""

    kinds = ["legacy", "isolated"]

    def __init__(self):
        import _interpreters

        self.module = _interpreters

    def create(self, kind):
        return self.module.create(kind)

    def run(self, interpreter_id, source):
        failure = self.module.run_string(interpreter_id, source)
        if failure:
            raise RuntimeError(failure.formatted)


class Interpreters38:
    """`_xxsubinterpreters`. Before 3.12 none has a GIL of its own."""

    kinds = ["legacy", "isolated"] if sys.version_info >= (3, 12) else ["legacy"]

    def __init__(self):
        import _xxsubinterpreters

        self.module = _xxsubinterpreters
        self.owned = []

    def create(self, kind):
        options = {"isolated": kind == "isolated"} if sys.version_info >= (3, 9) else {}
        self.owned.append(self.module.create(**options))
        return int(self.owned[-1])

    def run(self, interpreter_id, source):
        self.module.run_string(interpreter_id, source)


class Interpreters37:
    """The test-only call that makes, runs and ends an interpreter at once."""

    kinds = ["legacy"]
    created = 0

    def __init__(self):
        import _testcapi

        self.module = _testcapi

    def create(self, kind):
        self.created += 1
        return self.created

    def run(self, interpreter_id, source):
        if self.module.run_in_subinterp(source):
            raise RuntimeError("see above")


def available():
    if sys.version_info >= (3, 13):
        kind = Interpreters313
    elif sys.version_info >= (3, 8):
        kind = Interpreters38
    else:
        kind = Interpreters37
    try:
        return kind()
    except ImportError as error:
        os.write(1, json.dumps({"unavailable": str(error)}).encode() + b"\n")
        sys.exit()


def run_inside(interpreters, kind, identify, writer):
    """Creates the interpreter in the thread that runs it: up to 3.11 its thread state belongs to the thread that made it."""
    interpreter_id = interpreters.create(kind)
    identify(interpreter_id)
    source = SOURCE.format(folder=sys.path[0], writer=writer, id=interpreter_id, isolated=kind == "isolated")
    try:
        interpreters.run(interpreter_id, source)
    finally:
        os.close(writer)


def start(interpreters, kind):
    """An interpreter, as its threads tell of themselves before they stand still."""
    reader, writer = os.pipe()
    ids = []
    threading.Thread(target=run_inside, args=(interpreters, kind, ids.append, writer), name="runs " + kind, daemon=True).start()
    with open(reader, "rb") as told:
        threads = [json.loads(told.readline().decode()) for _ in range(2 if kind == "isolated" else 1)]
    return {"id": ids[0], "threads": sorted(threads, key=lambda thread: thread["ident"])}


interpreters = available()
others = [start(interpreters, kind) for kind in sys.argv[1:] or interpreters.kinds]
os.write(1, snapshot(parking=["run_inside", "inner"], others=others)) and os.read(0, 1)
os._exit(0)
