"""A deep stack whose innermost function calls a short one all the time: deep.py DEPTH [SECONDS]"""

import sys

from moving import ready


def leaf(number):
    return number + 1


def busy():
    number = 0
    while True:
        for _ in range(200):
            number = leaf(number)


def descend(depth):
    return busy() if depth == 0 else descend(depth - 1)


sys.setrecursionlimit(100000)
ready(2)
descend(int(sys.argv[1]))
