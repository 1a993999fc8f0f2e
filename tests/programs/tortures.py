"""Calls of every shape, as fast as can be, whose stacks prove themselves: tortures.py SHAPE [SECONDS]

Every function is called from one place only, and its name tells which: `f_CALLER_OWN_LINE` begins at line OWN of its file, is at
most 9 lines long, and is called in line LINE by the function that begins at line CALLER; 0 for one that is called by none of
these. A stack that does not agree with its names never was.

SHAPE is `generators`, `coroutines`, `deep`, `phases`, `callbacks`, `handover` or `naps`. In the last two the outermost such
function of a thread is the one that its thread is named after.
"""

import functools  # noqa: F401: used by what is made below
import itertools  # noqa: F401
import os
import re  # noqa: F401
import sys
import threading
import time  # noqa: F401
import types  # noqa: F401

from moving import ready


class Source:
    """Lines of Python in the making."""

    def __init__(self):
        self.lines = []
        self.later = []

    def function(self, caller, line, head, body):
        """Adds a function, and then those that it calls. `body(call)` gives its lines; `call(body, head)` in them the name of
        a function that is called in the line that comes next."""
        own = len(self.lines) + 1
        name = "f_%d_%d_%d" % (caller, own, line)
        callees = []
        lines = [head + " " + name]

        def call(body, head="def"):
            place = "@%d@" % len(callees)
            callees.append((place, head, body))
            return place

        lines = body(call)
        assert len(lines) < 9, lines
        where = {}
        for number, text in enumerate(lines, own + 1):
            for place in re.findall("@[0-9]+@", text):
                where[place] = number
        self.lines += [head + " " + name + "(*_):"] + ["    " + text for text in lines]
        for place, head, body in callees:
            callee = self.function(own, where[place], head, body)
            for index in range(own, own + len(lines)):
                self.lines[index] = self.lines[index].replace(place, callee)
        return name

    def after(self, line):
        self.later.append(line)

    def run(self, file):
        namespace = dict(globals())
        exec(compile("\n".join(self.lines + self.later) + "\n", file, "exec"), namespace)
        return namespace


def leaf(call):
    return ["x = 1", "x += 1", "return x"]


def plain(depth, leaf=leaf):
    """Calls three functions that do the same."""
    if depth == 0:
        return leaf
    return lambda call: [call(plain(depth - 1, leaf)) + "()" for _ in range(3)] + ["return 0"]


def generator(depth):
    """Yields from three generators, or from two in turn."""
    if depth == 0:
        return lambda call: ["yield 1", "x = 1", "yield x", "yield 3"]
    inner = generator(depth - 1)
    if depth % 2:
        return lambda call: ["yield from %s()" % call(inner) for _ in range(3)]
    return lambda call: ["for _ in itertools.zip_longest(%s(), %s()):" % (call(inner), call(inner)), "    yield"]


def generators():
    def body(call):
        return ["for _ in itertools.zip_longest(%s(), %s(), %s()): pass" % tuple(call(generator(5)) for _ in range(3))]

    return body


def coroutine(depth):
    """Awaits three coroutines, or two in turn, or what an asynchronous generator does."""
    if depth == 0:
        return lambda call: ["await types.coroutine(%s)()" % call(generator(0)), "return 1"]
    inner = coroutine(depth - 1)
    if depth % 3 == 0:
        return lambda call: ["async for _ in %s(): pass" % call(asynchronous(depth - 1), "async def") for _ in range(2)]
    if depth % 3 == 1:
        return lambda call: ["await %s()" % call(inner, "async def") for _ in range(3)]
    await_two = "for _ in itertools.zip_longest(%s().__await__(), %s().__await__()):"
    pause = lambda call: ["yield"]
    return lambda call: [
        await_two % (call(inner, "async def"), call(inner, "async def")),
        "    await types.coroutine(%s)()" % call(pause),
    ]


def asynchronous(depth):
    inner = coroutine(depth)
    return lambda call: ["await %s()" % call(inner, "async def"), "yield 1", "await %s()" % call(inner, "async def"), "yield 2"]


def coroutines():
    def body(call):
        several = tuple(call(coroutine(5), "async def") for _ in range(3))
        return ["for _ in itertools.zip_longest(%s().__await__(), %s().__await__(), %s().__await__()): pass" % several]

    return body


def chain(depth, rounds=100):
    """Calls itself, as it were, so deep; there short functions are called."""
    if depth == 0:
        return lambda call: ["for _ in range(%d):" % rounds] + ["    %s()" % call(plain(1)) for _ in range(3)]
    return lambda call: ["return %s()" % call(chain(depth - 1, rounds))]


def deep():
    return lambda call: ["%s()" % call(chain(depth)) for depth in (300, 200, 299)]


def phases():
    """As `deep`, but each depth lasts for a tenth of a second or two."""
    return lambda call: ["%s()" % call(chain(depth, 200000)) for depth in (300, 40, 299)]


def handing_over(call):
    """Lets go of the GIL."""
    return ["x = 1", "os.read(nothing, 1)", "return x"]


def napping(call):
    """Sleeps for a moment."""
    return ["x = 1", "time.sleep(0.00002)", "return x"]


def in_threads(leaf):
    """Calls functions, some of which lose the GIL."""

    def body(call):
        return ["%s()" % call(plain(3)), "%s()" % call(plain(2, leaf)), "%s()" % call(plain(4))]

    return body


CALLBACKS = [
    "sorted('ab', key=%s)",
    "list(map(%s, 'ab'))",
    "functools.reduce(%s, 'abc')",
    "re.sub('a', %s, 'aba')",
    "type('T', (), {'__getattr__': %s})().attribute",
    "type('T', (), {'__add__': %s})() + 1",
    "list(iter(functools.partial(%s, 1), 'a'))",
    "[0].index(type('T', (), {'__eq__': %s})())",
]


def callbacks(depth=4):
    """Has C call back in different ways."""
    last = lambda call: ["x = 'a'", "return x"]
    if depth == 0:
        return last
    inner = callbacks(depth - 1)
    ways = [CALLBACKS[(2 * depth + number) % len(CALLBACKS)] for number in range(3)]
    return lambda call: [way % call(inner) for way in ways] + ["return 'a'"]


def begin(name, namespace):
    function = namespace[name]
    while True:
        function()


shape = sys.argv[1]
file = "tortures_%s.py" % shape
nothing = os.open("/dev/null", os.O_RDONLY)
sys.setrecursionlimit(10000)
source = Source()
if shape in ("handover", "naps"):
    sys.setswitchinterval(0.00005)
    leaf = handing_over if shape == "handover" else napping
    names = [source.function(0, 0, "def", in_threads(leaf)) for _ in range(4)]
    namespace = source.run(file)
    threads = [threading.Thread(target=begin, args=(name, namespace), name=name, daemon=True) for name in names]
    for thread in threads:
        thread.start()
    ready(2)
    threads[0].join()
else:
    shapes = {"generators": generators, "coroutines": coroutines, "deep": deep, "phases": phases, "callbacks": callbacks}
    name = source.function(0, 0, "def", shapes[shape]())
    namespace = source.run(file)
    ready(2)
    begin(name, namespace)
