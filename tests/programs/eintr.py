"""Counts the system calls that return because they were interrupted, as Python itself never would: eintr.py

An echo server over epoll, whose clients are a child process, and threads that wait in other calls, all of them made with ctypes.
Prints the id of a thread that calls pause(), and `ready`; and when standard input is closed one line of JSON: `echoes`, and for
each call how often it ended and how often with EINTR.
"""

import _thread
import ctypes
import errno
import json
import os
import socket
import sys
import threading

CLIENTS = 4
EPOLL_CTL_ADD, EPOLLIN = 1, 1
FUTEX_WAIT = 0
FUTEX, GETTID = {"x86_64": (202, 186), "aarch64": (98, 178)}[os.uname().machine]

libc = ctypes.CDLL(None, use_errno=True)


class EpollEvent(ctypes.Structure):
    _pack_ = 1 if os.uname().machine == "x86_64" else 0
    _layout_ = "ms"
    _fields_ = [("events", ctypes.c_uint32), ("data", ctypes.c_uint64)]


class Timespec(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


class PollFd(ctypes.Structure):
    _fields_ = [("fd", ctypes.c_int), ("events", ctypes.c_short), ("revents", ctypes.c_short)]


counts = {}


def calls(name, function, *arguments):
    """Makes a call again and again, each time with a little work before it; `arguments` are kept alive by the caller."""
    count = counts[name] = [0, 0]
    while True:
        result = function(*arguments)
        count[0] += 1
        count[1] += result < 0 and ctypes.get_errno() == errno.EINTR
        for _ in range(50):
            pass


def echo(server):
    epoll = libc.epoll_create1(0)
    events = (EpollEvent * 64)()
    buffer = ctypes.create_string_buffer(64)
    waits = counts["epoll_wait"] = [0, 0]
    reads = counts["recv"] = [0, 0]
    echoes = counts["echoes"] = [0]
    for _ in range(CLIENTS):
        client, _ = server.accept()
        event = EpollEvent(EPOLLIN, client.detach())
        assert libc.epoll_ctl(epoll, EPOLL_CTL_ADD, event.data, ctypes.byref(event)) == 0
    os.write(1, b"ready\n")
    while True:
        found = libc.epoll_wait(epoll, events, len(events), -1)
        waits[0] += 1
        waits[1] += found < 0 and ctypes.get_errno() == errno.EINTR
        for number in range(max(found, 0)):
            length = libc.recv(ctypes.c_int(events[number].data), buffer, len(buffer), 0)
            reads[0] += 1
            reads[1] += length < 0 and ctypes.get_errno() == errno.EINTR
            if length > 0:
                libc.send(ctypes.c_int(events[number].data), buffer, length, 0)
                echoes[0] += 1


def be_clients(address):
    """Sends to each connection in turn and waits for the echo, until the server is no more."""
    connections = [socket.create_connection(address) for _ in range(CLIENTS)]
    try:
        while True:
            for connection in connections:
                connection.send(b"x")
            for connection in connections:
                if not connection.recv(64):
                    os._exit(0)
    except ConnectionError:
        os._exit(0)


def sleep_for_ever():
    os.write(1, b"%d\n" % libc.syscall(GETTID))
    told.set()
    libc.pause()


def tell_and_leave():
    os.read(0, 1)
    os.write(1, (json.dumps(counts) + "\n").encode())
    os._exit(0)


server = socket.socket()
server.bind(("127.0.0.1", 0))
server.listen(CLIENTS)
if os.fork() == 0:
    os.close(0)
    os.close(1)
    be_clients(server.getsockname())

sleep = Timespec(0, 3000000)
word = ctypes.c_int(0)
silent, _writer = os.pipe()
silent = PollFd(silent, 1, 0)
sys.setswitchinterval(0.0005)
for arguments in [
    ("nanosleep", libc.nanosleep, ctypes.byref(sleep), None),
    ("futex", libc.syscall, FUTEX, ctypes.byref(word), FUTEX_WAIT, 0, ctypes.byref(sleep), None, 0),
    ("poll", libc.poll, ctypes.byref(silent), 1, 2),
    ("epoll_wait with a timeout", libc.epoll_wait, libc.epoll_create1(0), ctypes.byref(EpollEvent()), 1, 2),
]:
    threading.Thread(target=calls, args=arguments, name=arguments[0], daemon=True).start()
_thread.start_new_thread(tell_and_leave, ())
told = threading.Event()
threading.Thread(target=sleep_for_ever, daemon=True).start()
told.wait()
echo(server)
