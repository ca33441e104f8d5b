"""Downloads one after another, then computes on all CPUs. The cure downloads at the same time."""

import time

from common import CPUS, CURED, compute, processes, threads


def download(_):
    time.sleep(0.05)


if CURED:
    threads(download, range(20))
else:
    for number in range(20):
        download(number)
processes(compute, [200 // CPUS] * CPUS)
