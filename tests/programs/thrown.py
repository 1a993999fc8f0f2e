"""Frames that are not executed while others run for them: thrown.py into|out [SECONDS]

into   an exception is thrown into a generator that delegates to others, the innermost of which computes
out    an exception leaves a frame, and with it a generator that computes while it is closed
"""

import sys

from moving import ready


def compute(rounds):
    return sum(number * number for number in range(rounds))


def inner():
    while True:
        try:
            yield "again"
        except KeyError:
            for _ in range(1000):
                compute(100)
            yield "done"


def middle():
    yield from inner()


def outer():
    yield from middle()


def closing():
    try:
        yield "once"
    finally:
        while True:
            compute(100)


ready(2)
if sys.argv[1] == "into":
    generator = outer()
    next(generator)
    while True:
        generator.throw(KeyError)
        next(generator)
try:
    for _ in closing():
        raise KeyError
except KeyError:
    pass
