"""A second opinion on the oracle, for `check.py` only: looks again from another thread while the program stands still.

Writes one line of JSON to standard error: the threads of the main interpreter as `sys._current_frames` has them then, and the
tracebacks that faulthandler's C code reads from the frames of the interpreter it is called in.
"""

import _thread
import os
import time

import oracle

try:
    import faulthandler
    import tempfile
except ImportError:  # in isolated interpreters of 3.12, and where no extension module can be loaded
    faulthandler = None

DELAY_SECONDS = 0.3


def start(interpreter_id):
    _thread.start_new_thread(testify, (interpreter_id,))


def testify(interpreter_id):
    time.sleep(DELAY_SECONDS)
    seen = {"id": interpreter_id, "faulthandler": faulthandler_text()}
    if interpreter_id == oracle.MAIN:
        seen["threads"] = oracle.this_interpreter()["threads"]
    line = oracle.one_line(seen)
    while line:
        line = line[os.write(2, line):]


def faulthandler_text():
    if faulthandler is None:
        return ""
    with tempfile.TemporaryFile() as file:
        faulthandler.dump_traceback(file)
        file.seek(0)
        return file.read().decode("latin-1")
