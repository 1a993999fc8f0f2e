"""New code all the time, at the addresses of code that was dropped: execnew.py once|often [SECONDS]

The function `fn_K` is in the file `file_K.py`, begins at line 1 + K % 50, and is called by `even` or `odd`, as K is: `once`, or
`often`, for some microseconds each time. Most live for 2 ms, or for 10 if they are called often, some for 20. A cache that takes
a new code object for an old one shows frames that break these rules.
"""

import itertools
import sys
import time
import types

from moving import ready

GLOBALS = {"clock": time.perf_counter}
BODY = """def fn_{0}(until):
    rounds = 0
    while clock() < until:
        rounds += 1
    return rounds
"""


def define(number):
    source = "\n" * (number % 50) + BODY.format(number)
    module = compile(source, "file_%d.py" % number, "exec")
    code = next(const for const in module.co_consts if isinstance(const, types.CodeType))
    # In no circle of references, so that it is freed as soon as it is dropped.
    return types.FunctionType(code, GLOBALS)


def even(number, until, length):
    function = define(number)
    while time.perf_counter() < until:
        function(min(until, time.perf_counter() + length))


def odd(number, until, length):
    function = define(number)
    while time.perf_counter() < until:
        function(min(until, time.perf_counter() + length))


def main(shortest, length):
    for number in itertools.count():
        caller = odd if number % 2 else even
        caller(number, time.perf_counter() + (shortest if number % 8 < 6 else 0.02), length)


ready(2)
main(*{"once": (0.002, 1.0), "often": (0.01, 5e-6)}[sys.argv[1]])
