"""What a program that stands still knows about itself, for a test to compare with what pysample saw from outside.

The frame that tells it must be found by pysample at the very line it told. So telling and standing still are one line:

    os.write(1, snapshot()) and os.read(0, 1)

While `snapshot` runs, its caller is at this line; when it has returned, its own frames are gone and the caller is at this line
still, now in `os.write` and then, until standard input is closed, in `os.read`, neither of which has a frame.

Runs unchanged on CPython 3.7 to 3.15.
"""

import json
import os
import re
import sys
import threading
import time

MAIN = 0
PATIENCE_SECONDS = 120
HOLD_SECONDS = 0.02
LOOKS = 2
LOOKS_WITHOUT_PROC = 10


def snapshot(parking=(), others=()):
    """The line of JSON to print, once all other threads have come to rest.

    `parking` names functions of the program: each other thread must be inside one of them. With none there must be no
    other thread. `others` are further interpreters, as their threads told of themselves.
    """
    caller = sys._getframe(1)
    wait_until_others_rest(parking)
    interpreters = [this_interpreter(caller, leave_out=idents(others))] + list(others)
    told = dict(about_python(), pid=os.getpid(), interpreters=interpreters)
    ask_witness(MAIN)
    return one_line(told)


def thread_snapshot():
    """The line that tells of the calling thread alone, for code that runs inside a subinterpreter.

    It must not look at its neighbours: `sys._current_frames` hands out the frames of all interpreters.
    """
    return one_line(thread_entry(threading.get_ident(), known_threads(), sys._getframe(1)))


def one_line(told):
    return json.dumps(told).encode("ascii") + b"\n"


# What is told


def about_python():
    return {
        "version": list(sys.version_info),
        "abiflags": getattr(sys, "abiflags", ""),
        "gil": sys._is_gil_enabled() if hasattr(sys, "_is_gil_enabled") else True,
        "jit": jit_is_on(),
    }


def jit_is_on():
    """3.14 and later say so themselves; 3.13 has to be concluded from how it was configured and started."""
    if hasattr(sys, "_jit"):
        return sys._jit.is_enabled()
    if sys.version_info < (3, 13):
        return False
    configured = re.search(r"--enable-experimental-jit(=yes-off|=yes)?(?![=\w-])", configuration())
    if not configured:
        return False
    on_by_default = "0" if configured.group(1) == "=yes-off" else "1"
    return os.environ.get("PYTHON_JIT", on_by_default) != "0"


def configuration():
    """The arguments of `configure`; nothing where the interpreter came without the file that has them."""
    import sysconfig

    try:
        return sysconfig.get_config_var("CONFIG_ARGS") or ""
    except ImportError:
        return ""


def this_interpreter(caller=None, leave_out=()):
    """The main interpreter and all its threads. `caller` stands for the stack of the calling thread."""
    leaves = sys._current_frames()
    if caller is not None:
        leaves[threading.get_ident()] = caller
    known = known_threads()
    mine = sorted(ident for ident in leaves if ident in known or ident not in leave_out)
    return {"id": MAIN, "threads": [thread_entry(ident, known, leaves[ident]) for ident in mine]}


def idents(interpreters):
    return {thread["ident"] for interpreter in interpreters for thread in interpreter["threads"]}


def known_threads():
    return {thread.ident: thread for thread in threading.enumerate()}


def thread_entry(ident, known, leaf):
    thread = known.get(ident)
    return {
        "ident": ident,
        "native_id": getattr(thread, "native_id", None),
        "name": thread.name if thread else None,
        "frames": [frame_entry(frame) for frame in stack(leaf)],
    }


def frame_entry(frame):
    code = frame.f_code
    return [getattr(code, "co_qualname", code.co_name), code.co_filename, frame.f_lineno]


def stack(leaf):
    """The frames of a stack, innermost first."""
    while leaf is not None:
        yield leaf
        leaf = leaf.f_back


# How the other threads are known to be at rest


def wait_until_others_rest(parking):
    """Returns when two looks in a row, between which the GIL was free, found every other thread unchanged and parked.

    A thread that only waits for the GIL has taken it by then, or was woken in trying: the kernel's switch count tells. Where there
    is no /proc to tell, more looks have to do.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    before, alike = None, 0
    while alike < (LOOKS if has_proc() else LOOKS_WITHOUT_PROC):
        if before is not None:
            time.sleep(HOLD_SECONDS)
        now = python_positions(), kernel_states()
        at_rest = are_parked(now[0], set(parking)) and are_asleep(now[1])
        alike = alike + 1 if now == before and at_rest else int(at_rest)
        before = now
        if time.monotonic() > deadline:
            raise RuntimeError("threads do not come to rest: %r" % (now,))


def has_proc():
    return os.path.exists("/proc/thread-self")


def python_positions():
    """For each other thread the name, code and last instruction of each frame."""
    leaves = sys._current_frames()
    leaves.pop(threading.get_ident(), None)
    return {ident: [(f.f_code.co_name, id(f.f_code), f.f_lasti) for f in stack(leaf)] for ident, leaf in leaves.items()}


def kernel_states():
    """For each other OS thread of the process its state and switch counts."""
    if not has_proc():
        return {}
    me = os.path.basename(os.readlink("/proc/thread-self"))
    return {tid: kernel_state(tid) for tid in os.listdir("/proc/self/task") if tid != me}


def kernel_state(tid):
    """Nothing for a thread that has just ended. From 3.14 on a thread's name here can be cut within a letter."""
    try:
        with open("/proc/self/task/%s/status" % tid, encoding="latin-1") as status:
            return re.findall(r"^(?:State|\w*voluntary_ctxt_switches):\s*(\w+)", status.read(), re.M)
    except OSError:
        return []


def are_parked(positions, parking):
    return all(parking & {name for name, _, _ in frames} for frames in positions.values())


def are_asleep(states):
    return all(state[:1] == ["S"] for state in states.values())


def ask_witness(interpreter_id):
    """See `check.py`."""
    if os.environ.get("PYSAMPLE_WITNESS"):
        import witness

        witness.start(interpreter_id)
