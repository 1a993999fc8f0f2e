"""Python called from C, called from Python, and so on, down to a module that stands still while imported: callbacks.py

The stack is one call of `step` for each way to be called back.
"""

import functools
import importlib
import re

try:
    import ctypes
except ImportError:
    ctypes = None


def step(rest):
    return rest[0](rest[1:]) if rest else importing()


def importing():
    return importlib.import_module("parks_on_import")


def by_map(rest):
    return list(map(step, [rest]))


def by_filter(rest):
    return list(filter(lambda item: step(rest), [1]))


def by_sort_key(rest):
    return sorted([1], key=lambda item: step(rest) or 0)


def by_comparison(rest):
    class Compared:
        def __lt__(self, other):
            step(rest)
            return True

    return sorted([Compared(), Compared()])


def by_regular_expression(rest):
    def replace(match):
        step(rest)
        return match.group()

    return re.sub("b", replace, "abc")


def by_reduce(rest):
    return functools.reduce(lambda left, right: step(rest), [1, 2])


def by_missing_attribute(rest):
    class Lazy:
        def __getattr__(self, name):
            return step(rest)

    return Lazy().anything


def by_hash(rest):
    class Hashed:
        def __hash__(self):
            step(rest)
            return 1

    return {Hashed()}


def by_format(rest):
    class Formatted:
        def __format__(self, spec):
            step(rest)
            return spec

    return f"{Formatted():x}"


def by_ctypes(rest):
    """The C library's qsort with a Python comparison, where there is ctypes."""
    if ctypes is None:
        return step(rest)
    pointer = ctypes.POINTER(ctypes.c_int)
    prototype = ctypes.CFUNCTYPE(ctypes.c_int, pointer, pointer)

    def compare(left, right):
        step(rest)
        return left[0] - right[0]

    numbers = (ctypes.c_int * 2)(2, 1)
    ctypes.CDLL(None).qsort(numbers, 2, ctypes.sizeof(ctypes.c_int), prototype(compare))
    return list(numbers)


step(
    [
        by_map,
        by_filter,
        by_sort_key,
        by_comparison,
        by_regular_expression,
        by_reduce,
        by_missing_attribute,
        by_hash,
        by_format,
        by_ctypes,
    ]
)
