"""A server that forks its workers beforehand: prefork.py WORKERS. They work until standard input of the server is closed.

Prints one line of JSON once all workers work: their process ids. A worker has a thread called "helper", which waits for the
end of the server. Ends with exit code 7.
"""

import json
import os
import sys
import threading

from rounds import rounds


def end_with(server):
    os.read(server, 1)
    os._exit(1)


def worker(ready, server):
    threading.Thread(target=end_with, args=(server,), name="helper", daemon=True).start()
    rounds(1)
    os.write(ready, b"r")
    while True:
        rounds(10)


def serve():
    sys.stdin.read()


def main():
    read, write = os.pipe()
    # Only the server holds the end for writing.
    server, held = os.pipe()
    pids = []
    for _ in range(int(sys.argv[1])):
        pid = os.fork()
        if pid == 0:
            os.close(held)
            worker(write, server)
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
