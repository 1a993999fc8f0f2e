"""A known mix: three functions do 50, 30 and 20 % of the work of each round of about 10 ms: mix.py [SECONDS]

They do it by the same loop, so that they take as much of the time, however often they have to wait for a processor. For each
byte on standard input it prints as JSON for how many seconds each was at it: a machine may stand still for a moment.
"""

import time

from moving import ready

LOOP = 1000
seconds = {"half": 0.0, "third": 0.0, "fifth": 0.0}


def spin(rounds):
    for _ in range(rounds):
        for _ in range(LOOP):
            pass


def rounds_in(seconds):
    """How many rounds of the loop there are in so much time, by the fastest of several."""
    fastest = min(time_of(10) for _ in range(20))
    return max(1, int(10 * seconds / fastest))


def time_of(rounds):
    begun = time.perf_counter()
    spin(rounds)
    return time.perf_counter() - begun


def half(unit):
    return spin(5 * unit)


def third(unit):
    return spin(3 * unit)


def fifth(unit):
    return spin(2 * unit)


def work(unit):
    begun = time.perf_counter()
    while True:
        for function in (half, third, fifth):
            function(unit)
            now = time.perf_counter()
            seconds[function.__name__] += now - begun
            begun = now


def tell():
    return '{"half": %f, "third": %f, "fifth": %f}' % (seconds["half"], seconds["third"], seconds["fifth"])


unit = rounds_in(0.001)
ready(tell=tell)
work(unit)
