"""Standing still inside exception handlers, with dead frames kept by tracebacks all around: raise_.py"""

import os
import sys

from oracle import snapshot

kept = []


def failing(depth):
    if depth:
        failing(depth - 1)
    raise ValueError("from the bottom")


def in_except(rest):
    try:
        failing(50)
    except ValueError as error:
        kept.append(error)
        rest[0](rest[1:])


def in_nested_except(rest):
    try:
        failing(1)
    except ValueError as first:
        try:
            raise KeyError("in the handler") from first
        except (
            KeyError,
            IndexError,
        ):
            rest[0](rest[1:])


def in_finally(rest):
    """The exception is still on its way out."""
    try:
        try:
            failing(2)
        finally:
            rest[0](rest[1:])
    except ValueError:
        pass


def in_finally_of_return(rest):
    try:
        return 1
    finally:
        rest[0](rest[1:])


def in_else(rest):
    for _ in range(1):
        try:
            pass
        except ValueError:
            pass
        else:
            rest[0](rest[1:])
        finally:
            continue_here = True


def in_exit(rest):
    class Manager:
        def __enter__(self):
            return self

        def __exit__(self, *error):
            rest[0](rest[1:])
            return True

    with Manager():
        failing(3)


def in_generator_exit(rest):
    def generator():
        try:
            yield
        except GeneratorExit:
            rest[0](rest[1:])

    running = generator()
    next(running)
    running.close()


def in_exception_init(rest):
    class Calling(Exception):
        def __init__(self):
            rest[0](rest[1:])

    try:
        raise Calling
    except Calling:
        pass


def matching(rest):
    """Called for the expression after `except`."""
    try:
        failing(0)
    except rest[0](rest[1:]) or ValueError:
        pass


IN_GROUP = """
def in_group(rest):
    try:
        raise ExceptionGroup("group", [ValueError(1), KeyError(2)])
    except* ValueError:
        pass
    except* KeyError:
        rest[0](rest[1:])
"""


def in_group():
    """`except*` is syntax from 3.11 on."""
    namespace = {}
    if sys.version_info >= (3, 11):
        exec(compile(IN_GROUP, "group.py", "exec"), namespace)
    return list(namespace.values())[-1:] if namespace else []


def last(rest):
    try:
        failing(100)
    except ValueError:
        os.write(1, snapshot()) and os.read(0, 1)


chain = [
    in_except,
    in_nested_except,
    in_finally,
    in_finally_of_return,
    in_else,
    in_exit,
    in_generator_exit,
    in_exception_init,
    matching,
]
chain += in_group() + [last]
chain[0](chain[1:])
