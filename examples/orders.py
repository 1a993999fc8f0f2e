"""An example to profile: a shop that prices orders, writes receipts and reports. orders.py [SECONDS]

One thread sells, one packs receipts, one sleeps between reports.
"""

import json
import queue
import random
import sys
import threading
import time
import zlib

PRICES = {f"article-{number}": 1 + number % 97 for number in range(5000)}


class Order:
    def __init__(self, number, dice):
        self.number = number
        self.lines = [(f"article-{dice.randrange(5000)}", dice.randrange(1, 5)) for _ in range(40)]

    def total(self):
        return sum(PRICES[article] * count for article, count in self.lines)

    def discount(self):
        cheap_first = sorted(self.lines, key=lambda line: PRICES[line[0]])
        return sum(PRICES[article] for article, _ in cheap_first[:3]) / 10


def receipt(order):
    lines = [{"article": article, "count": count, "price": PRICES[article]} for article, count in order.lines]
    return json.dumps({"order": order.number, "lines": lines, "total": order.total() - order.discount()}, indent=1)


def sell(receipts, until):
    dice = random.Random(1)
    number = 0
    while time.monotonic() < until:
        number += 1
        receipts.put(receipt(Order(number, dice)))
    receipts.put(None)
    return number


def pack(receipts, sizes):
    while (text := receipts.get()) is not None:
        sizes.append(len(zlib.compress(text.encode(), 9)))


def report(sizes, done):
    while not done.wait(1):
        print(f"{len(sizes)} receipts, {sum(sizes)} bytes", flush=True)


def main(seconds):
    receipts, sizes, done = queue.Queue(maxsize=100), [], threading.Event()
    packer = threading.Thread(target=pack, args=(receipts, sizes), name="packer")
    reporter = threading.Thread(target=report, args=(sizes, done), name="reporter")
    packer.start()
    reporter.start()
    sold = sell(receipts, time.monotonic() + seconds)
    packer.join()
    done.set()
    reporter.join()
    print(f"{sold} orders")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 5)
