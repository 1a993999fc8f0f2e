"""A pool of processes that work in a known proportion: pools.py METHOD. Ends with exit code 3.

METHOD is fork, spawn or forkserver. Prints the process ids of the workers as JSON in the end.
"""

import json
import multiprocessing
import os
import sys
import time

from rounds import rounds

WORKERS = 3
SECONDS = 1.5


def work(until):
    while time.time() < until:
        rounds(10)
    return os.getpid()


def wait(barrier):
    """Each worker gets one of these, as none goes on before all have."""
    barrier.wait()
    return work(time.time() + SECONDS)


def main():
    context = multiprocessing.get_context(sys.argv[1])
    with context.Manager() as manager:
        barrier = manager.Barrier(WORKERS)
        with context.Pool(WORKERS) as pool:
            pids = pool.map(wait, [barrier] * WORKERS, chunksize=1)
    print(json.dumps(sorted(set(pids))), flush=True)


if __name__ == "__main__":
    main()
    sys.exit(3)
