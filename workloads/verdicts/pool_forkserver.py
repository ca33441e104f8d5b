"""A pool of processes started by a fork server, as Python 3.14 does by default: the server is idle, and all is well."""

import multiprocessing

from common import CPUS, compute

if __name__ == "__main__":
    with multiprocessing.get_context("forkserver").Pool(CPUS) as pool:
        pool.map(compute, [30] * 32, chunksize=1)
