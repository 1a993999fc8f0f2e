"""Stands still while it is being imported: for `callbacks.py`."""

import os

from oracle import snapshot

os.write(1, snapshot()) and os.read(0, 1)
