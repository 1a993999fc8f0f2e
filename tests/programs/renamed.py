"""Code objects that live for one call: renamed.py [SECONDS]

The function `n_K` is in the file `file_K.py`. Each is the one before under new names, made at the same addresses.
"""

import itertools
import types

from moving import ready


def body(rounds):
    total = 0
    for number in range(rounds):
        total += number
    return total


CODE = body.__code__


def renamed(name, file):
    if not hasattr(CODE, "replace"):
        kept = CODE.co_code, CODE.co_consts, CODE.co_names, CODE.co_varnames
        return types.CodeType(1, 0, CODE.co_nlocals, CODE.co_stacksize, CODE.co_flags, *kept, file, name, 1, CODE.co_lnotab)
    names = {"co_qualname": name} if hasattr(CODE, "co_qualname") else {}
    return CODE.replace(co_name=name, co_filename=file, **names)


def run(number):
    types.FunctionType(renamed("n_%d" % number, "file_%d.py" % number), {"range": range})(60)


def main():
    for number in itertools.count():
        run(number)


ready()
main()
