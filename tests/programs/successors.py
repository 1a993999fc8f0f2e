"""Interpreters one after the other, from 3.12 on each with a GIL of its own, whose memory the next one may get: successors.py [SECONDS]

In interpreter K the function `fn_K_0` calls `fn_K_1` and so on, all in `file_K.py`. A cache that takes the code of one interpreter
for that of another shows stacks that break this rule.
"""

import itertools

from moving import ready

try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

FUNCTION = """
def fn_{number}_{depth}(rest, until):
    if rest:
        rest[0](rest[1:], until)
    while not rest and clock() < until:
        pass
"""

PROGRAM = """
from time import perf_counter as clock
functions = []
for depth in range(12):
    source = {function!r}.format(number={number}, depth=depth)
    exec(compile(source, "file_{number}.py", "exec"))
    functions.append(globals()["fn_{number}_%d" % depth])
functions[0](functions[1:], clock() + 0.02)
"""


def main():
    for number in itertools.count():
        interpreter = interpreters.create()
        try:
            interpreters.run_string(interpreter, PROGRAM.format(function=FUNCTION, number=number))
        finally:
            interpreters.destroy(interpreter)


ready()
main()
