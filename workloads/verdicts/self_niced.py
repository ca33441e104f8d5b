"""A job that lowers its own priority, meant for a workstation, on a host where others compute. The cure leaves the priority."""

import os

from common import CURED, compute, processes

if not CURED:
    os.nice(15)
processes(compute, [50] * 2)
