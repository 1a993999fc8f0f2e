"""Twenty threads that wait, and others that come one after another, nap for 40 ms and go.

Says that it is ready and, after a line, goes on for three seconds. Then it prints as JSON for how much of that time one napped.
"""

import json
import sys
import threading
import time

NAP = 0.04
over = threading.Event()
naps = []


def host():
    over.wait()


def visit():
    begun = time.perf_counter()
    time.sleep(NAP)
    naps.append(time.perf_counter() - begun)


def main():
    for _ in range(20):
        threading.Thread(target=host, daemon=True).start()
    print("ready", flush=True)
    sys.stdin.readline()
    begun = time.perf_counter()
    while time.perf_counter() < begun + 3:
        visitor = threading.Thread(target=visit)
        visitor.start()
        visitor.join()
    print(json.dumps({"napped": sum(naps) / (time.perf_counter() - begun)}), flush=True)


main()
