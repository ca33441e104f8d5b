"""compute_processes.py PROCESSES UNITS: Python that computes in so many processes, or one for each CPU with 0."""

import sys

from common import CPUS, compute, processes

count, units = int(sys.argv[1]) or CPUS, int(sys.argv[2])
processes(compute, [units // count] * count)
