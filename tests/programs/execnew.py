"""New code all the time, at the addresses of code that was dropped: execnew.py [SECONDS]

The function `fn_K` is in the file `file_K.py`, begins at line 1 + K % 50, and is called by `even` or `odd`, as K is. Some live for
2 ms, others for 20. A cache that takes a new code object for an old one shows frames that break these rules.
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


def even(number, until):
    define(number)(until)


def odd(number, until):
    define(number)(until)


def main():
    for number in itertools.count():
        caller = odd if number % 2 else even
        caller(number, time.perf_counter() + (0.002 if number % 8 < 6 else 0.02))


ready()
main()
