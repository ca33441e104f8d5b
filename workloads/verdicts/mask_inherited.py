"""A library narrows the CPU mask when it is imported, and every worker inherits the mask."""

import os

from common import CURED, compute, processes

if not CURED:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
processes(compute, [200] * 4)
