"""Waits and computes by turns, in one thread: each byte on standard input ends one and begins the other, which is told."""

import os
import select


def main():
    while wait() and compute():
        pass


def wait():
    os.write(1, b"waits\n")
    return os.read(0, 1)


def compute():
    os.write(1, b"computes\n")
    while not select.select([0], [], [], 0)[0]:
        work()
    return os.read(0, 1)


def work():
    total = 0
    for number in range(10000):
        total += number
    return total


main()
