"""Lines that are hard to find: late, far, long, spread over many lines, jumping back, or none at all: lines.py DIRECTORY

Writes generated source files into DIRECTORY.
"""

import os
import sys
import types

from oracle import snapshot

NEXT = "rest[0](rest[1:])"


def written(directory, file_name, source):
    """The function `generated` of `source`, run from a file of that name."""
    path = os.path.join(directory, file_name)
    with open(path, "w") as file:
        file.write(source)
    namespace = {}
    exec(compile(source, path, "exec"), namespace)
    return namespace["generated"]


def large_source():
    """A function of 1600 statements with an occasional gap, jump or multi-line expression, that calls last of all."""
    lines = ["def generated(rest):", "    value = 0"]
    for number in range(1600):
        lines.append("    value = value + {0} if value < {0} else value - {0}".format(number))
        if number % 100 == 0:
            lines.extend([""] * (number // 4))
        if number % 70 == 0:
            lines.extend(["    for _ in range(2):", "        value = max(", "            value,", "            0,", "        )"])
    lines.append("    return " + NEXT)
    return "\n".join(lines) + "\n"


def far_source(blank_lines):
    return "\n" * blank_lines + "def generated(rest):\n    return " + NEXT + "\n"


def gap_source(blank_lines):
    """The call comes far below the line of `def`, and is followed by a line far above the next."""
    return "def generated(rest):\n    value = 1" + "\n" * blank_lines + "    value = " + NEXT + "\n\n\n    return value\n"


def wide_source():
    """The call is at a column that needs more than one byte."""
    return "def generated(rest):\n    return " + "(" * 60 + " " * 1000 + NEXT + ")" * 60 + "\n"


def one_line_source():
    """Many statements in one line."""
    return "def generated(rest): " + "value = 0; " * 500 + "return " + NEXT + "\n"


def multi_line_call(rest):
    return (
        rest
        [0]
        (
            rest[
                1:
            ]
        )
    )


def multi_line_arguments(rest):
    def called(
        *positional,
        after=None,
        **others,
    ):
        return after

    return called(
        1,
        2,
        after=rest[0](
            rest[1:],
        ),
        other=called(
            3,
        ),
    )


def multi_line_operators(rest):
    return (
        1
        + 2
        * len(
            [
                rest[0](rest[1:]),
                3,
            ]
        )
        - 4
    )


def multi_line_string(rest):
    text = f"""
    one
    {rest[0](rest[1:])}
    three
    """
    return text


def multi_line_condition(rest):
    if (
        len(rest) > 10000
        or rest[0](
            rest[1:]
        )
        or None
    ):
        return True
    else:
        return False


def multi_line_chain(rest):
    class Fluent:
        def then(self, call, *args):
            call(*args)
            return self

    return (
        Fluent()
        .then(len, "a")
        .then(rest[0], rest[1:])
        .then(len, "b")
    )


def backwards(rest):
    """Calls in the second round of a loop, after a jump back."""
    count = 0
    while True:
        if count == 1:
            return rest[0](rest[1:])
        for _ in range(3):
            if _ == 1:
                count += 1
                break


def in_loop_head(rest):
    for item in [
        1,
        rest[0](rest[1:]),
    ]:
        pass


def in_decorator(rest):
    def plain(function):
        return function

    def parametrized(*calls):
        for call in calls:
            call()
        return plain

    @plain
    @parametrized(
        lambda: rest[0](
            rest[1:]
        ),
    )
    @plain
    def decorated(
        argument=None,
    ):
        pass


def in_decorated(rest):
    """Before 3.8 a decorated function begins at its `def`, later at its first decorator."""

    def apply(function):
        function(rest)
        return function

    def keep(function):
        return function

    @apply
    @keep
    def decorated(rest):
        return rest[0](rest[1:])


def in_default(rest):
    def function(
        first=1,
        second=rest[0](rest[1:]),
    ):
        pass


def in_with(rest):
    class Manager:
        def __enter__(self):
            return rest[0](rest[1:])

        def __exit__(self, *error):
            pass

    with open(os.devnull), \
            Manager():
        pass


def leaving_with(rest):
    class Manager:
        def __enter__(self):
            return self

        def __exit__(self, *error):
            rest[0](rest[1:])

    with Manager():
        value = 1
        value += 1


def in_assert(rest):
    assert (
        rest
    ), "message"
    assert not rest[0](
        rest[1:]
    ), (
        "message"
    )


def without_lines(function):
    """The function with a line table that knows no line; before 3.10 every instruction has one."""
    code = function.__code__
    units = len(code.co_code) // 2
    if sys.version_info >= (3, 11):
        table = b"".join(bytes([0x80 | 15 << 3 | min(8, units - start) - 1]) for start in range(0, units, 8))
    elif sys.version_info >= (3, 10):
        table = b"".join(bytes([2 * min(100, units - start), 0x80]) for start in range(0, units, 100))
    else:
        return function
    return types.FunctionType(code.replace(co_linetable=table), function.__globals__)


def unlined(rest):
    return rest[0](rest[1:])


def last(rest):
    os.write(1, snapshot()) and os.read(0, 1)


directory = sys.argv[1]
chain = [
    written(directory, "large.py", large_source()),
    written(directory, "far.py", far_source(41000)),
    written(directory, "farther.py", far_source(300000)),
    written(directory, "gap.py", gap_source(5000)),
    written(directory, "wide.py", wide_source()),
    written(directory, "one_line.py", one_line_source()),
    multi_line_call,
    multi_line_arguments,
    multi_line_operators,
    multi_line_string,
    multi_line_condition,
    multi_line_chain,
    backwards,
    in_loop_head,
    in_decorator,
    in_decorated,
    in_default,
    in_with,
    leaving_with,
    in_assert,
    without_lines(unlined),
    last,
]
chain[0](chain[1:])
