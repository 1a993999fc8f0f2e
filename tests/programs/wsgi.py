"""A WSGI application that works in a known proportion and answers with the id of its process."""

import os

from rounds import rounds


def application(environ, start_response):
    rounds(60)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d\n" % os.getpid()]
