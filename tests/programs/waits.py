"""Threads that each wait for one known thing, named after what that is: waits.py

The names are those of `ThreadState` in pysample's JSON. The main thread waits for a pipe: its standard input.
"""

import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time

from oracle import snapshot


def lock():
    held = threading.Lock()
    held.acquire()
    held.acquire()


def event():
    threading.Event().wait()


def lock_with_timeout():
    held = threading.Lock()
    held.acquire()
    held.acquire(timeout=3600)


def pipe():
    reader, writer = os.pipe()
    os.read(reader, 1)
    os.close(writer)


def named_pipe():
    path = os.path.join(tempfile.mkdtemp(), "fifo")
    os.mkfifo(path)
    descriptor = os.open(path, os.O_RDWR)
    os.unlink(path)
    os.rmdir(os.path.dirname(path))
    os.read(descriptor, 1)


def connection():
    ours, theirs = socket.socketpair()
    ours.recv(1)
    theirs.close()


def connection_with_timeout():
    ours, theirs = socket.socketpair()
    ours.settimeout(3600)
    ours.recv(1)
    theirs.close()


def accept():
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(1)
    listener.accept()


def terminal():
    try:
        master, slave = os.openpty()
    except OSError:
        return  # Not every root has terminals.
    os.read(slave, 1)
    os.close(master)


def poll():
    pipes = [os.pipe() for _ in range(2)]
    poller = select.poll()
    for reader, _ in pipes:
        poller.register(reader)
    poller.poll()


def epoll():
    reader, writer = os.pipe()
    poller = select.epoll()
    poller.register(reader, select.EPOLLIN)
    poller.poll()
    os.close(writer)


def selecting():
    reader, writer = os.pipe()
    select.select([reader], [], [])
    os.close(writer)


def sleep():
    time.sleep(3600)


def child():
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    process.wait()


WAITS = {
    "waits_for_lock": [lock, event, lock_with_timeout],
    "waits_for_pipe": [pipe, named_pipe],
    "waits_for_socket": [connection, connection_with_timeout, accept],
    "waits_for_file": [terminal],
    "waits_for_poll": [poll, epoll, selecting],
    "sleeps": [sleep],
    "waits_for_child": [child],
}

for state, ways in WAITS.items():
    for way in ways:
        threading.Thread(target=way, name=state + " " + way.__name__, daemon=True).start()
PARKING = [way.__name__ for ways in WAITS.values() for way in ways]
os.write(1, snapshot(parking=PARKING)) and os.read(0, 1)
os._exit(0)
