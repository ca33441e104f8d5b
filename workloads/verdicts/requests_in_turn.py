"""A client that waits for one answer after another. The cure waits for eight at a time."""

import time
from concurrent.futures import ThreadPoolExecutor

from common import CURED


def ask(_):
    time.sleep(0.025)


with ThreadPoolExecutor(8 if CURED else 1) as pool:
    list(pool.map(ask, range(40)))
