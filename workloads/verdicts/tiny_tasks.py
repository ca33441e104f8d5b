"""A pool of processes that is given tasks of a microsecond one by one. The cure gives it a thousand at a time."""

from common import CURED, FORK


def add(number):
    return number + 1


with FORK.Pool(2) as pool:
    assert sum(pool.imap_unordered(add, range(30_000), chunksize=1000 if CURED else 1)) == 450_015_000
