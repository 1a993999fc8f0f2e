"""Two kinds of new code in turn, each at the addresses that the other has left: alternate.py [SECONDS]

`via_a` calls nothing but a new `fn_a` of `file_a.py`, which is busy in lines 3 and 6; `via_b` nothing but a new `fn_b` of `file_b.py`,
busy in lines 5 and 6. Both have names, files and line tables of one length, and are dropped before the next is made.
"""

import time

from moving import ready

BODY = "def fn_{0}(until):{1}\n    while clock() < until:{2}\n        pass\n"
SOURCES = {"a": BODY.format("a", "\n", "\n\n"), "b": BODY.format("b", "\n\n\n", "")}
SECONDS = 0.0005


def define(which):
    namespace = {"clock": time.perf_counter}
    exec(compile(SOURCES[which], "file_%s.py" % which, "exec"), namespace)
    return namespace.pop("fn_" + which)


def via_a():
    define("a")(time.perf_counter() + SECONDS)


def via_b():
    define("b")(time.perf_counter() + SECONDS)


def main():
    while True:
        via_a()
        via_b()


ready()
main()
