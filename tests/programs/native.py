"""Most of the time in C: hashing, which lets go of the GIL, and JSON, which holds it: native.py [SECONDS]"""

import hashlib
import json

from moving import ready

BUFFER = bytes(16 << 20)
DOCUMENT = [{"number": number, "text": "x" * 50, "list": [1.5] * 10} for number in range(2000)]


def hashing():
    return hashlib.sha256(BUFFER).hexdigest()


def encoding():
    return json.dumps(DOCUMENT)


def decoding(text):
    return json.loads(text)


def work():
    while True:
        hashing()
        for _ in range(5):
            decoding(encoding())


ready()
work()
