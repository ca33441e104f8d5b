"""A job that lowers its own priority, meant for a workstation, on a host where others compute. The cure leaves the priority."""

import os

from common import CURED, compute, processes

if not CURED:
    os.nice(10)
processes(compute, [60] * 2)
