"""Processes that sleep: sleepers.py PROCESSES THREADS. Each is a child with so many threads besides its own.

Prints one line of JSON once all threads have begun: the process ids. They end when standard input is closed.
"""

import json
import os
import sys
import threading


def sleep(ready, server):
    os.write(ready, b"r")
    os.read(server, 1)
    os._exit(0)


def main():
    processes, threads = map(int, sys.argv[1:])
    read, write = os.pipe()
    # Only the server holds the end for writing.
    server, held = os.pipe()
    pids = []
    for _ in range(processes):
        pid = os.fork()
        if pid == 0:
            os.close(held)
            for _ in range(threads):
                threading.Thread(target=sleep, args=(write, server), daemon=True).start()
            sleep(write, server)
        pids.append(pid)
    left = processes * (threads + 1)
    while left:
        left -= len(os.read(read, left))
    print(json.dumps(pids), flush=True)
    sys.stdin.read()
    os.close(held)
    for pid in pids:
        os.waitpid(pid, 0)


main()
