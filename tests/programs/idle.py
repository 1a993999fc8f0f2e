"""Does nothing: the main thread sleeps, three others wait: idle.py [SECONDS]"""

import os
import threading
import time

from moving import ready


def sleeping():
    while True:
        time.sleep(3600)


def waiting_for_event():
    threading.Event().wait()


def waiting_for_lock():
    lock = threading.Lock()
    with lock:
        lock.acquire()


def reading_pipe():
    reader, writer = os.pipe()
    os.read(reader, 1)
    os.close(writer)


for target in waiting_for_event, waiting_for_lock, reading_pipe:
    threading.Thread(target=target, name=target.__name__, daemon=True).start()
ready()
sleeping()
