"""One thread computes, another reports every few milliseconds that it is alive. The cure computes in processes."""

import threading

from common import CPUS, CURED, compute, processes

UNITS = 1600
stopped = threading.Event()


def beat():
    while not stopped.wait(0.005):
        pass


heart = threading.Thread(target=beat)
heart.start()
if CURED:
    processes(compute, [UNITS // CPUS] * CPUS)
else:
    compute(UNITS)
stopped.set()
heart.join()
