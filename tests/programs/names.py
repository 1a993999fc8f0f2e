"""Functions, classes and files with names of every kind of string, and of lengths 1 to 300: names.py DIRECTORY

Writes the files into DIRECTORY. Each link of the chain of calls is in a file of its own name.
"""

import os
import sys
import types

from oracle import snapshot

ONE_BYTE = "é", "Ünïcödé"
TWO_BYTES = "имя", "ἕν", "名前"
FOUR_BYTES = "𠀀", "x𠮷y"
FILE_NAMES_ONLY = "🐍", "two words", "semi;colon", "new\nline", "100%", "back\\slash", 'quo"te', "tab\t"

FUNCTION = """
def {name}(rest):
    return rest[0](rest[1:])
"""

METHOD = """
class {name}:
    def {name}(self, rest):
        def {name}(rest):
            return rest[0](rest[1:])
        return {name}(rest)
call = {name}().{name}
"""


def written(directory, file_name, source, wanted):
    """What `source`, run from a file of that name, calls `wanted`."""
    path = os.path.join(directory, file_name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(source)
    namespace = {"__name__": "written"}
    exec(compile(source, path, "exec"), namespace)
    return namespace[wanted]


def links_of_many_alphabets(directory):
    for name in ("ascii",) + ONE_BYTE + TWO_BYTES + FOUR_BYTES:
        yield written(directory, name + ".py", FUNCTION.format(name=name), name)
        yield written(directory, name + " class.py", METHOD.format(name=name), "call")
    for name in FILE_NAMES_ONLY:
        yield written(directory, name + ".py", FUNCTION.format(name="plain"), "plain")


def links_of_many_lengths(directory):
    for letter in "né名𠀀":
        lengths = range(1, 301) if letter == "n" else (1, 2, 3, 63, 64, 65, 127, 128, 255, 256, 257, 300)
        for length in lengths:
            yield written(directory, "lengths.py", FUNCTION.format(name=letter * length), letter * length)
    namespace = {}
    for length in 1, 2, 300, 1000:
        exec(compile(FUNCTION.format(name="in_long_file_name"), "f" * length, "exec"), namespace)
        yield namespace["in_long_file_name"]


def links_of_impossible_names():
    """Names that no source text can give."""
    for name in "semi;colon", "new\nline", "two words", "", "nul\0inside", "🐍":
        yield renamed(lambda rest: rest[0](rest[1:]), name)


def renamed(function, name):
    return types.FunctionType(code_named(function.__code__, name), function.__globals__)


def code_named(code, name):
    if sys.version_info >= (3, 11):
        return code.replace(co_name=name, co_qualname="quali." + name)
    if sys.version_info >= (3, 8):
        return code.replace(co_name=name)
    return types.CodeType(
        code.co_argcount,
        code.co_kwonlyargcount,
        code.co_nlocals,
        code.co_stacksize,
        code.co_flags,
        code.co_code,
        code.co_consts,
        code.co_names,
        code.co_varnames,
        code.co_filename,
        name,
        code.co_firstlineno,
        code.co_lnotab,
        code.co_freevars,
        code.co_cellvars,
    )


def last(rest):
    os.write(1, snapshot()) and os.read(0, 1)


directory = sys.argv[1]
chain = [*links_of_many_alphabets(directory), *links_of_many_lengths(directory), *links_of_impossible_names(), last]
sys.setrecursionlimit(10000)
chain[0](chain[1:])
