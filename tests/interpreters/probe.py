"""Says in one line what the interpreter that runs it is, then waits for its standard input to end.

The arguments are modules that must import. Runs on Python 2.7 and up.
"""
import sys


def version():
    major, minor, micro, level, serial = sys.version_info
    suffix = {"alpha": "a", "beta": "b", "candidate": "rc"}.get(level)
    number = "%d.%d.%d" % (major, minor, micro)
    return number + "%s%d" % (suffix, serial) if suffix else number


def flavour():
    if "free-threading build" in sys.version:
        return "free-threaded"
    return "debug" if hasattr(sys, "gettotalrefcount") else "release"


def jit():
    return hasattr(sys, "_jit") and sys._jit.is_enabled()


def gil():
    return not hasattr(sys, "_is_gil_enabled") or sys._is_gil_enabled()


for module in sys.argv[1:]:
    __import__(module)
print(" ".join([version(), flavour(), "jit" if jit() else "nojit", "gil" if gil() else "nogil"]))
sys.stdout.flush()
sys.stdin.read()
