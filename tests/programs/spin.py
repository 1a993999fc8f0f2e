"""Busy for ever in three nested functions: spin.py [SECONDS]"""

from moving import ready


def outer():
    while True:
        middle()


def middle():
    for _ in range(10):
        inner()


def inner():
    total = 0
    for number in range(1000):
        total += number
    return total


ready()
outer()
