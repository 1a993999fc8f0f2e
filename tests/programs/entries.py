"""C that calls Python all the time, in a main thread that always has frames: entries.py [SECONDS]"""

import functools

from moving import ready

NUMBERS = list(range(500))


class Compared:
    def __hash__(self):
        return 1

    def __eq__(self, other):
        return True

    def __lt__(self, other):
        return False

    def __getattr__(self, name):
        return 1


def zero(*_):
    return 0


def one(_):
    return 1


def main():
    compared = [Compared() for _ in range(50)]
    while True:
        list(map(zero, NUMBERS))
        list(map(functools.partial(zero, 1), NUMBERS))
        sorted(NUMBERS, key=one)
        functools.reduce(zero, NUMBERS)
        {key: 1 for key in compared}
        for each in compared:
            each.attribute, hash(each), each < each


ready()
main()
