"""New code all the time, at the addresses of code that was dropped: execnew.py [SECONDS]

The function `fn_K` is in the file `file_K.py`, and begins at line 1 + K % 50. A cache that takes a new code object for an old one
shows a frame that breaks this rule.
"""

import itertools
import time

from moving import ready

BODY = """def fn_{0}(until):
    rounds = 0
    while clock() < until:
        rounds += 1
    return rounds
"""


def define(number):
    namespace = {"clock": time.perf_counter}
    source = "\n" * (number % 50) + BODY.format(number)
    exec(compile(source, "file_%d.py" % number, "exec"), namespace)
    return namespace["fn_%d" % number]


def main():
    for number in itertools.count():
        define(number)(time.perf_counter() + 0.002)


ready()
main()
