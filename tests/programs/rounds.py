"""Work in a known proportion, for programs of several processes: `heavy` does three times as much as `light`."""


def heavy(steps):
    x = 0
    for i in range(3 * steps):
        x += i
    return x


def light(steps):
    x = 0
    for i in range(steps):
        x += i
    return x


def rounds(number, steps=2000):
    for _ in range(number):
        heavy(steps)
        light(steps)
