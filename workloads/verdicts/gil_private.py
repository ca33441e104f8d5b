"""gil_private.py sick|cure [THREADS]: threads that compute in Python on data of their own. The cure has processes instead."""

import sys

from common import compute, spread

count = int((sys.argv[2:] or [2])[0])
spread(compute, [800 // count] * count)
