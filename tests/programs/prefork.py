"""A server that forks its workers beforehand: prefork.py WORKERS. They work until standard input of the server is closed.

Prints one line of JSON once all workers work: their process ids. A worker has a thread called "helper", which sleeps.
Ends with exit code 7.
"""

import json
import os
import sys
import threading
import time

from rounds import rounds


def worker(ready):
    helper = threading.Thread(target=time.sleep, args=(3600,), name="helper", daemon=True)
    helper.start()
    rounds(1)
    os.write(ready, b"r")
    while True:
        rounds(10)


def serve():
    sys.stdin.read()


def main():
    read, write = os.pipe()
    pids = []
    for _ in range(int(sys.argv[1])):
        pid = os.fork()
        if pid == 0:
            worker(write)
        pids.append(pid)
    ready = 0
    while ready < len(pids):
        ready += len(os.read(read, 100))
    print(json.dumps(pids), flush=True)
    serve()
    for pid in pids:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


main()
sys.exit(7)
