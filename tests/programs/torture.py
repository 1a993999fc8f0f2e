"""Calls functions as fast as can be; each one's name is its caller's and one digit more: torture.py [SECONDS]

A stack is one that can have been only if its functions read t, t_1, t_12 and so on, each the one before and a digit.
"""

from moving import ready

DEPTH = 6
DIGITS = "012"


def source(path):
    name = "t_" + path if path else "t"
    if len(path) == DEPTH:
        return "def %s():\n    x = 1\n    x += 1\n    return x\n" % name
    calls = "".join("    t_%s%s()\n" % (path, digit) for digit in DIGITS)
    return "def %s():\n%s    return 0\n" % (name, calls) + "".join(source(path + digit) for digit in DIGITS)


exec(compile(source(""), "torture_functions.py", "exec"))
ready()
while True:
    t()  # noqa: F821: made above
