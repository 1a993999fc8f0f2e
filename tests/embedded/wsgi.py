"""For uWSGI: the worker computes in a thread of Python's until the server is ended."""

import sys
import threading

import app


def start():
    forever = threading.Thread(target=threading.Event().wait, daemon=True)
    forever.start()
    threading.Thread(target=app.busy_with_orders, args=(forever,), name="busy", daemon=True).start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()


def application(environ, start_response):
    start_response("200 OK", [])
    return [b""]


start()
