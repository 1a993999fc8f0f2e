"""A known mix: three functions are busy for 50, 30 and 20 % of each 10 ms round: mix.py [SECONDS]"""

import time

from moving import ready


def spin(nanoseconds):
    end = time.perf_counter_ns() + nanoseconds
    rounds = 0
    while time.perf_counter_ns() < end:
        rounds += 1
    return rounds


def half():
    return spin(5_000_000)


def third():
    return spin(3_000_000)


def fifth():
    return spin(2_000_000)


def work():
    while True:
        half()
        third()
        fifth()


ready()
work()
