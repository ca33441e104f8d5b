"""A pool of processes started anew for each short batch, with large imports in each. The cure starts the pool once."""

import asyncio  # noqa: F401
import email.message  # noqa: F401
import http.server  # noqa: F401
import multiprocessing

from common import CURED, compute

BATCHES = 4

if __name__ == "__main__":
    spawn = multiprocessing.get_context("spawn")
    if CURED:
        with spawn.Pool(2) as pool:
            for _ in range(BATCHES):
                pool.map(compute, [15] * 2, chunksize=1)
    else:
        for _ in range(BATCHES):
            with spawn.Pool(2) as pool:
                pool.map(compute, [15] * 2, chunksize=1)
