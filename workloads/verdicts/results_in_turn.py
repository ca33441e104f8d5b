"""Tasks for a pool, each of which is waited for before the next one is given. The cure gives all, and waits then."""

from concurrent.futures import ProcessPoolExecutor

from common import CPUS, CURED, FORK, compute

with ProcessPoolExecutor(CPUS, mp_context=FORK) as pool:
    if CURED:
        results = [future.result() for future in [pool.submit(compute, 8) for _ in range(90)]]
    else:
        results = [pool.submit(compute, 8).result() for _ in range(90)]
assert len(results) == 90
