"""What pstats reads of profiles, as JSON: for each function [file, line, name] its numbers, and those of each caller.

    python stats.py FILE
"""

import json
import pstats
import sys

functions = [
    [list(function), list(numbers), sorted([list(caller), list(of)] for caller, of in callers.items())]
    for function, (*numbers, callers) in pstats.Stats(sys.argv[1]).stats.items()
]
json.dump(sorted(functions), sys.stdout)
