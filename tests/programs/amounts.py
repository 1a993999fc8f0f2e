"""Three functions that do known amounts of work in turn, whatever the machine does meanwhile: amounts.py HALF THIRD FIFTH"""

import sys

from moving import ready


def work(amount):
    rounds = 0
    for _ in range(1000 * amount):
        rounds += 1
    return rounds


def half(amount):
    return work(amount)


def third(amount):
    return work(amount)


def fifth(amount):
    return work(amount)


def main(amounts):
    while True:
        half(amounts[0])
        third(amounts[1])
        fifth(amounts[2])


ready()
main([int(amount) for amount in sys.argv[1:]])
