"""A greenlet that runs nothing but C, for half a minute or more: greenlets.py asleep|busy PACKAGES

PACKAGES is where greenlet is installed.
"""

import sys
import time

sys.path.append(sys.argv[2])

import greenlet  # noqa: E402: it is found only now

from moving import ready  # noqa: E402

run, argument = {"asleep": (time.sleep, 600), "busy": (sum, range(10**10))}[sys.argv[1]]
ready(3)
greenlet.greenlet(run).switch(argument)
