"""Threads that meet at a barrier after each step in Python. The cure has processes that do."""

import threading

from common import CURED, FORK, compute, spread

barrier = (FORK if CURED else threading).Barrier(2)


def work(steps):
    for _ in range(steps):
        compute(9)
        barrier.wait()


spread(work, [40] * 2)
