"""Two threads that take two locks in different order, and two more that need them. The cure takes them in the same order."""

import threading
import time

from common import CURED, threads

first, second = threading.Lock(), threading.Lock()
ORDERS = [(first, second), (first, second) if CURED else (second, first), (first, second), (first, second)]


def work(order):
    for _ in range(5):
        with order[0]:
            time.sleep(0.01)
            with order[1]:
                time.sleep(0.01)


threads(work, ORDERS)
