"""A long phase of one thread, then a short one on all CPUs. The cure does the first on all CPUs too."""

from common import CPUS, CURED, compute, processes

if CURED:
    processes(compute, [700 // CPUS] * CPUS)
else:
    compute(700)
processes(compute, [300 // CPUS] * CPUS)
