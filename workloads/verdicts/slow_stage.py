"""A pipeline of three processes, the middle one slow. The cure has two of the middle one."""

from common import CURED, FORK, compute

ITEMS = 120
first, second = FORK.SimpleQueue(), FORK.SimpleQueue()
MIDDLE = 2 if CURED else 1


def read():
    for _ in range(ITEMS):
        compute(1)
        first.put(1)
    for _ in range(MIDDLE):
        first.put(None)


def transform():
    while first.get() is not None:
        compute(7)
        second.put(1)


def write():
    for _ in range(ITEMS):
        second.get()
        compute(1)


stages = [FORK.Process(target=stage) for stage in [read] + [transform] * MIDDLE + [write]]
for stage in stages:
    stage.start()
for stage in stages:
    stage.join()
