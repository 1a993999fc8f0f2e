"""Threads being born and dying all the time, at most eight at once: churn.py [SECONDS]

The thread named `churn-K` runs `life`, which calls `child`.
"""

import itertools
import threading

from moving import ready

MOST = 8


def life(number):
    return child(number % 7)


def child(rounds):
    total = 0
    for number in range(1000 * rounds):
        total += number
    return total


def churn():
    living = []
    for number in itertools.count():
        thread = threading.Thread(target=life, args=(number,), name="churn-%d" % number)
        thread.start()
        living.append(thread)
        if len(living) >= MOST:
            living.pop(0).join()


ready()
churn()
