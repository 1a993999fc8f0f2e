"""Many threads, each parked in one of several ways, some deep, with names of every kind: threads.py N"""

import _thread
import os
import queue
import sys
import threading
import time

from oracle import snapshot

try:
    import select
    import socket
except ImportError:  # where no extension module can be loaded
    select = socket = None


def in_event():
    threading.Event().wait()


def in_lock():
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def in_sleep():
    time.sleep(3600)


def in_queue():
    queue.Queue().get()


def in_queue_with_timeout():
    queue.Queue().get(timeout=3600)


def in_simple_queue():
    queue.SimpleQueue().get()


def in_socket():
    ours, theirs = socket.socketpair()
    ours.recv(1)
    theirs.close()


def in_condition():
    condition = threading.Condition()
    with condition:
        while True:
            condition.wait()


def in_semaphore():
    threading.Semaphore(0).acquire()


def in_barrier():
    threading.Barrier(2).wait()


def in_select():
    reader, writer = os.pipe()
    select.select([reader], [], [])
    os.close(writer)


WAYS = [
    in_event,
    in_lock,
    in_sleep,
    in_queue,
    in_queue_with_timeout,
    in_simple_queue,
    in_condition,
    in_semaphore,
    in_barrier,
]
if socket:
    WAYS += [in_socket, in_select]

NAMES = [
    "worker-{}",
    "arbeiter-ä-{}",
    "рабочий-{}",
    "工作线程-{}",
    "👷-{}",
    "mixed é 工 👷 {}",
    "semi;colon {}",
    "new\nline {}",
    'quote " and \\ {}',
    "\x01control\x7f {}",
    "long " + "n" * 300 + " {}",
    " spaces {} ",
]


def nested(depth, park):
    if depth > 1:
        nested(depth - 1, park)
    else:
        park()


class Overriding(threading.Thread):
    """A thread with no target, with a `run` of its own."""

    def run(self):
        in_event()


def start_threads(count):
    for number in range(count):
        depth = 20 if number % 3 == 0 else 1
        way = WAYS[number % len(WAYS)]
        name = NAMES[number % len(NAMES)].format(number)
        threading.Thread(target=nested, args=(depth, way), name=name, daemon=True).start()


def start_odd_ones():
    _thread.start_new_thread(in_lock, ())
    Overriding(name="overriding", daemon=True).start()
    renamed = threading.Thread(target=in_event, name="before", daemon=True)
    renamed.start()
    renamed.name = "after"
    timer = threading.Timer(3600, in_event)
    timer.name = "timer"
    timer.daemon = True
    timer.start()


start_threads(int(sys.argv[1]))
start_odd_ones()
PARKING = [way.__name__ for way in WAYS] + ["wait"]
os.write(1, snapshot(parking=PARKING)) and os.read(0, 1)
os._exit(0)
