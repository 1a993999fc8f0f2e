"""Generators running inside generators, beside some that are paused and so on no stack: generators.py"""

import os

from oracle import snapshot


def innermost():
    yield 0
    os.write(1, snapshot()) and os.read(0, 1)
    yield 1


def delegating():
    yield from innermost()


def delegating_again():
    result = yield from delegating()
    yield result


def sent_to():
    received = yield "started"
    if received:
        yield sum(1 for _ in delegating_again())


def looping():
    receiver = sent_to()
    next(receiver)
    yield receiver.send(True)


def thrown_into():
    try:
        yield "started"
    except ValueError:
        for item in looping():
            yield item


class Iterable:
    def __iter__(self):
        target = thrown_into()
        next(target)
        yield target.throw(ValueError("for the generator"))


class Iterator:
    """The iterator protocol by hand, over a generator."""

    def __init__(self, iterable):
        self.source = iter(iterable)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.source)


def paused_deep(depth):
    if depth:
        yield from paused_deep(depth - 1)
    yield depth


def never_started():
    yield


def consume():
    return sum(item * factor for factor in range(1, 2) for item in Iterator(Iterable()))


paused = [paused_deep(3), (n for n in paused_deep(2)), innermost()]
for generator in paused:
    next(generator)
paused.append(never_started())
list(value for value in [consume()])
