"""Checks the oracle of the standing programs against independent looks at the same process: check.py PYTHON [ARGUMENT...]

Runs every standing program with that command (in the folder of this file, which PYTHON must see under PROGRAMS, by default the same
path) and compares what it told, thread by thread and frame by frame, with `witness.py`: a second look by another thread, and
faulthandler's tracebacks. Then looks that the moving programs run and end.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAMS = os.environ.get("PROGRAMS", HERE)
STANDING = """
recursion.py 5
recursion.py 3000
recursion.py 3000 thread
threads.py 60
generators.py
async_.py
decorators.py
callbacks.py
names.py DIRECTORY
execd.py
classes.py
lines.py DIRECTORY
raise_.py
subinterpreter.py
subinterpreter.py legacy legacy
"""
MOVING = "spin.py", "idle.py", "churn.py", "execnew.py often", "renamed.py", "entries.py", "native.py"


def command(line, directory):
    program, *arguments = line.split()
    return sys.argv[1:] + [PROGRAMS + "/" + program] + [argument.replace("DIRECTORY", directory) for argument in arguments]


def run_standing(line):
    root = os.environ.get("ROOT", "")
    with tempfile.TemporaryDirectory(dir=root + "/tmp") as directory:
        process = subprocess.Popen(
            command(line, directory[len(root):]),
            env=dict(os.environ, PYSAMPLE_WITNESS="1"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        told = json.loads(process.stdout.readline() or "null")
        if told is None:
            return ["no oracle: " + process.stderr.read().decode()[-2000:]]
        if "unavailable" in told:
            return ["(not available: %s)" % told["unavailable"]]
        seen = list(witness_lines(process.stderr))
        process.stdin.close()
        process.stdin = None
        rest = process.communicate(timeout=60)
    faults = [fault for line in seen for fault in compare(told, line)]
    if process.returncode or any(rest):
        faults.append("exit %r, %r" % (process.returncode, rest))
    return faults


def witness_lines(stream):
    """Up to the main interpreter's, which is the last, or to an error."""
    for line in stream:
        yield line
        if line.startswith(b'{"id": 0,') or not line.startswith(b"{"):
            return


def compare(told, line):
    if not line.startswith(b"{"):
        return ["no witness: %r" % line]
    witness = json.loads(line)
    [own] = [interpreter for interpreter in told["interpreters"] if interpreter["id"] == witness["id"]]
    faults = []
    if "threads" in witness and first_look(told, witness) != second_look(witness):
        faults.append("the second look differs")
    tracebacks = parse_faulthandler(witness["faulthandler"])
    for thread in own["threads"]:
        expected = [[file, line] for _, file, line in thread["frames"]][:100]
        found = tracebacks.get(thread["ident"])
        if found is None and tracebacks and told["gil"]:
            faults.append("faulthandler does not see thread %r" % thread["name"])
        elif found is not None and not agree(expected, found):
            faults.append("faulthandler differs in thread %r" % thread["name"])
            faults += ["   told %r, faulthandler %r" % pair for pair in zip(expected, found) if strip(pair[0]) != pair[1]]
    return faults


def first_look(told, witness):
    """What was told, as the second look sees it: one stack for each OS thread, the main interpreter's where there are two.

    It sees the threads of all interpreters, except in late releases of 3.13 and from 3.14 on.
    """
    threads = [thread for interpreter in reversed(told["interpreters"]) for thread in interpreter["threads"]]
    main = {thread["ident"] for thread in told["interpreters"][0]["threads"]}
    seen = {thread["ident"] for thread in witness["threads"]}
    return {thread["ident"]: thread["frames"] for thread in threads if thread["ident"] in main | seen}


def second_look(witness):
    threads = [thread for thread in witness["threads"] if thread["frames"][-1][0] != "testify"]
    return {thread["ident"]: thread["frames"] for thread in threads}


def agree(expected, found):
    """Late releases of faulthandler give up after a frame that has no line."""
    if [None] == [line for _, line in found[-1:]]:
        expected = expected[: len(found)]
    return [strip(frame) for frame in expected] == found


def strip(frame):
    """The way faulthandler writes a file and a line."""
    file, line = frame
    escaped = "".join(escape(ord(letter)) for letter in file[:500])
    return [escaped + ("..." if len(file) > 500 else ""), line]


def escape(code):
    if 32 <= code <= 126:
        return chr(code)
    return "\\x%02x" % code if code < 0x100 else "\\u%04x" % code if code < 0x10000 else "\\U%08x" % code


def parse_faulthandler(text):
    tracebacks = {}
    for line in text.splitlines():
        head = re.match(r"(?:Current thread|Thread) 0x([0-9a-f]+)", line)
        frame = re.match(r'  File "(.*)", line (\d+|\?\?\?) in ', line)
        if head:
            frames = tracebacks[int(head.group(1), 16)] = []
        elif frame:
            frames.append([frame.group(1), int(frame.group(2)) if frame.group(2) != "???" else None])
    return tracebacks


def run_moving(name):
    faults = []
    process = subprocess.Popen(command(name, ""), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if process.stdout.readline() != b"ready\n":
        faults.append("not ready")
    time.sleep(0.5)
    output, errors = process.communicate(timeout=20)
    if process.returncode or output or errors:
        faults.append("exit %r, %r" % (process.returncode, errors.decode()))
    timed = subprocess.run(command(name + " 0.5", ""), stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=20)
    if timed.stdout != b"ready\n" or timed.stderr or -timed.returncode != 14:
        faults.append("with SECONDS: %r" % timed)
    return faults


def run_line_tables(line):
    done = subprocess.run(command(line, ""), stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
    entries = [json.loads(line) for line in done.stdout.decode().splitlines()]
    return [] if len(entries) == 400 and not done.stderr else ["%d entries, %r" % (len(entries), done.stderr)]


def main():
    checks = [(line, run_standing) for line in STANDING.split("\n") if line]
    checks += [(line, run_moving) for line in MOVING]
    checks.append(("line_tables.py 400", run_line_tables))
    failed = False
    for line, check in checks:
        faults = check(line)
        failed |= bool(faults)
        print("%-32s %s" % (line, "ok" if not faults else "\n    ".join(["differs"] + faults)), flush=True)
    sys.exit(failed)


main()
