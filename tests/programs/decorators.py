"""Decorated and wrapped callables, each calling the next: decorators.py"""

import contextlib
import functools
import os

from oracle import snapshot


def traced(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


def repeated(times):
    def decorate(function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            for _ in range(times):
                result = function(*args, **kwargs)
            return result

        return wrapper

    return decorate


class Counted:
    """A decorator that is a class."""

    def __init__(self, function):
        functools.update_wrapper(self, function)
        self.function = function

    def __call__(self, *args):
        return self.function(*args)


@contextlib.contextmanager
def entered():
    os.write(1, snapshot()) and os.read(0, 1)
    yield


@entered()
def managed():
    pass


@contextlib.contextmanager
def around():
    try:
        yield
    finally:
        managed()


class Holder:
    @property
    def value(self):
        with around():
            pass

    @property
    @traced
    def wrapped_value(self):
        return self.value

    @staticmethod
    @traced
    def static(holder):
        return holder.wrapped_value

    @classmethod
    @traced
    def of_class(cls):
        return cls.static(cls())


@functools.singledispatch
def dispatched(value):
    raise TypeError(value)


@dispatched.register(int)
def dispatched_int(value):
    return Holder.of_class()


@functools.lru_cache(maxsize=None)
def cached(value):
    return dispatched(value)


@traced
@repeated(
    times=1,
)
@Counted
@traced
def stacked(value):
    return cached(value)


partial = functools.partial(functools.partial(stacked), 1)
through_lambda = lambda: (lambda call: call())(partial)
(lambda *calls: [call() for call in calls])(through_lambda)
