"""Phases whose samples cost differently: phases.py SECONDS DEPTH TURNS

Says that it is ready and waits for a line. Then it is by turns in `shallow` and, DEPTH frames deep, in `deep`, for SECONDS each time.
Prints as JSON how many seconds it was in each, and ends.
"""

import json
import sys
import time


def shallow(until):
    number = 0
    while time.perf_counter() < until:
        number += 1


def deep(until):
    number = 0
    while time.perf_counter() < until:
        number += 1


def descend(depth, until):
    if depth == 0:
        deep(until)
    else:
        descend(depth - 1, until)


def main():
    seconds, depth, turns = float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    sys.setrecursionlimit(depth + 1000)
    print("ready", flush=True)
    sys.stdin.readline()
    took = {"shallow": 0.0, "deep": 0.0}
    now = time.perf_counter()
    for _ in range(turns):
        for name in ["shallow", "deep"]:
            before = now
            if name == "shallow":
                shallow(before + seconds)
            else:
                descend(depth, before + seconds)
            now = time.perf_counter()
            took[name] += now - before
    print(json.dumps(took), flush=True)


main()
