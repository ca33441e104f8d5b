"""A pool of threads whose tasks take a few milliseconds of Python. The cure has a pool of processes."""

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

from common import CURED, FORK, compute

with ProcessPoolExecutor(2, FORK) if CURED else ThreadPoolExecutor(2) as pool:
    list(pool.map(compute, [4] * 180))
