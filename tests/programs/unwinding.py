"""Recursion into functions that are new each time, so that the frames that are left are freed: unwinding.py [SECONDS]

The functions are called `down_K`; outermost is this file's `<module>`.
"""

import itertools

from moving import ready

SOURCE = """
def down_{0}(depth):
    return down_{0}(depth - 1) if depth else 0
"""

ready()
for number in itertools.count():
    namespace = {}
    exec(SOURCE.format(number), namespace)
    for _ in range(40):
        namespace["down_%d" % number](100)
