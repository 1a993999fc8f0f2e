"""Frames that have no caller any more, or not yet: unwinding.py [SECONDS]

Recursion into functions `down_K` that are new each time, so that the frames that are left are freed; and a generator `steps` that
calls others and whose frame lives on each time it is left. Outermost is this file's `<module>`.
"""

import itertools

from moving import ready

SOURCE = """
def down_{0}(depth):
    return down_{0}(depth - 1) if depth else 0
"""


def steps():
    for number in range(1000):
        yield inner(number)


def inner(number):
    return leaf(number)


def leaf(number):
    return sum((number, number))


ready()
for number in itertools.count():
    namespace = {}
    exec(SOURCE.format(number), namespace)
    for _ in range(40):
        namespace["down_%d" % number](100)
    for _ in steps():
        pass
