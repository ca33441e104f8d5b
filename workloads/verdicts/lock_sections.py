"""Threads that compute under one lock for most of each step, in Python. The cure has processes with a lock each."""

import threading

from common import compute, spread

lock = threading.Lock()


def work(steps):
    for _ in range(steps):
        with lock:
            compute(6)
        compute(3)


spread(work, [30] * 3)
