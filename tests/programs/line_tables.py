"""The line tables of code objects of this interpreter's own library, with what it makes of them: line_tables.py N

Prints one line of JSON for each of about N code objects: three quarters taken evenly, the others the largest tables and the
tables with the most steps backwards. Of every 20th code object there are `positions` too, where there are any (3.11).

    {"name", "firstlineno", "table": hex of co_linetable (3.10) or co_lnotab, "size": of the bytecode in bytes,
     "lines": [[start, end, line or null], ...], "positions": [[line, end_line, column, end_column], ...] per code unit}
"""

import dis
import json
import os
import sys
import types
import warnings

MODULES = 150
POSITIONS_EVERY = 20
LEFT_OUT = {"test", "tests", "idlelib", "lib2to3", "site-packages", "dist-packages", "__pycache__"}


def library_files():
    for folder, folders, files in os.walk(os.path.dirname(os.__file__)):
        folders[:] = sorted(set(folders) - LEFT_OUT)
        for name in sorted(files):
            if name.endswith(".py"):
                yield os.path.join(folder, name)


def evenly(items, count):
    items = list(items)
    count = min(count, len(items))
    return [items[index * len(items) // count] for index in range(count)]


def compiled(path):
    """The code objects of a file; none where it cannot be read or is not for compiling."""
    try:
        with open(path, "rb") as file:
            return walk(compile(file.read(), path, "exec", dont_inherit=True))
    except (OSError, SyntaxError, ValueError):
        return []


def walk(code):
    found = [code]
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found.extend(walk(constant))
    return found


def table(code):
    return code.co_linetable if sys.version_info >= (3, 10) else code.co_lnotab


def lines(code):
    if sys.version_info >= (3, 10):
        return [list(entry) for entry in code.co_lines()]
    starts = list(dis.findlinestarts(code))
    ends = [start for start, _ in starts[1:]] + [len(code.co_code)]
    return [[start, end, line] for (start, line), end in zip(starts, ends)]


def steps_back(code):
    numbers = [line for _, _, line in lines(code) if line is not None]
    return sum(after < before for before, after in zip(numbers, numbers[1:]))


def chosen(codes, count):
    hard = count // 8
    largest = sorted(codes, key=lambda code: len(table(code)), reverse=True)[:hard]
    backwards = sorted(codes, key=steps_back, reverse=True)[:hard]
    return largest + backwards + evenly(codes, count - 2 * hard)


def entry(code, with_positions):
    told = {
        "name": code.co_name,
        "firstlineno": code.co_firstlineno,
        "table": table(code).hex(),
        "size": len(code.co_code),
        "lines": lines(code),
    }
    if with_positions and sys.version_info >= (3, 11):
        told["positions"] = [list(position) for position in code.co_positions()]
    return told


warnings.simplefilter("ignore")
codes = [code for path in evenly(library_files(), MODULES) for code in compiled(path)]
for number, code in enumerate(chosen(codes, int(sys.argv[1]))):
    print(json.dumps(entry(code, number % POSITIONS_EVERY == 0)))
