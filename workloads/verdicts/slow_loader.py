"""A training loop that waits for one slow process that loads batches. The cure has as many loaders as CPUs."""

import time

from common import CPUS, CURED, FORK, compute

BATCHES = 60
batches = FORK.Queue(2)


def load(count):
    for _ in range(count):
        compute(14)
        batches.put(1)


count = CPUS if CURED else 1
loaders = [FORK.Process(target=load, args=(BATCHES // count,)) for _ in range(count)]
for loader in loaders:
    loader.start()
for _ in range(BATCHES // count * count):
    batches.get()
    time.sleep(0.002)
for loader in loaders:
    loader.join()
