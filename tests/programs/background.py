"""Puts a server into the background, as daemons do it: background.py leave|stay FOLDER

The server writes its process id to the file "pid" in the folder and is busy until there is a file "done". The program itself
leaves at once, or when the server is gone, with status 3. If it leaves at once, the server writes a file "left" when its
parents are gone.
"""

import os
import sys
import time

LONGEST = 100


def serve(folder, parents):
    write(folder, "pid", str(os.getpid()))
    end = time.monotonic() + LONGEST
    while not os.path.exists(os.path.join(folder, "done")) and time.monotonic() < end:
        if parents and not any(lives(pid) for pid in parents):
            write(folder, "left", "")
            parents = []
        sum(range(1000))


def lives(pid):
    try:
        with open("/proc/%d/stat" % pid) as stat:
            return ") Z " not in stat.read()
    except OSError:
        return False


def write(folder, name, text):
    path = os.path.join(folder, name)
    with open(path + ".new", "w") as file:
        file.write(text)
    os.rename(path + ".new", path)


how, folder = sys.argv[1:]
parents = [os.getpid()]
told, tell = os.pipe()
child = os.fork()
if child == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    os.write(tell, b"%d\n" % os.getpid())
    os.close(tell)
    null = os.open("/dev/null", os.O_RDWR)
    for stream in range(3):
        os.dup2(null, stream)
    serve(folder, parents if how == "leave" else [])
    os._exit(0)
os.waitpid(child, 0)
server = int(os.read(told, 32))
if how == "stay":
    end = time.monotonic() + LONGEST
    while os.path.exists("/proc/%d" % server):
        if time.monotonic() > end:
            os._exit(9)
        time.sleep(0.01)
os._exit(3)
