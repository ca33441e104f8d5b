"""Event loop lag: who else stands still while something computes.

A coroutine wants to run every 2 ms and notes how late it is.  Meanwhile jobs of pure Python,
some 40 ms each, run one after the other:

================  ==========================================  ====================================
cell              where the job runs                          expect as lag (99th percentile)
================  ==========================================  ====================================
lag-in-loop       in the event loop                           the whole job: nobody else can run
lag-to-thread     in a thread of the default executor         about the switch interval, 5 ms
lag-process-pool  in a process of a ``ProcessPoolExecutor``   next to nothing
================  ==========================================  ====================================

A thread does not free the loop of CPU-bound Python; a process does.
"""

import asyncio
import concurrent.futures
import multiprocessing
import time

import computing
import measure
import worker

TICK_SECONDS = 0.002
SUMS_PER_JOB = 600


def compute():
    """One job."""
    unit = computing.make_arithmetic(None)
    for _ in range(SUMS_PER_JOB):
        unit()


async def tick(lags_ns):
    """Wake up every tick and note how late that was."""
    while True:
        wanted_ns = time.monotonic_ns() + int(TICK_SECONDS * 1e9)
        await asyncio.sleep(TICK_SECONDS)
        lags_ns.append(time.monotonic_ns() - wanted_ns)


async def run_jobs(model, work, pool):
    """The jobs, one after the other, with the ticker beside them."""
    loop = asyncio.get_running_loop()
    worker.name_thread("lag-loop")
    lags_ns = []
    ticker = asyncio.ensure_future(tick(lags_ns))
    begin_ns = time.monotonic_ns()
    for _ in range(work):
        if model == "in-loop":
            compute()
            # A real handler would await something here; without it the ticker would never run.
            await asyncio.sleep(TICK_SECONDS)
        else:
            await loop.run_in_executor(pool, compute)
    end_ns = time.monotonic_ns()
    await asyncio.sleep(2 * TICK_SECONDS)
    ticker.cancel()
    return begin_ns, end_ns, lags_ns


def run(model, work):
    """Run one cell; returns what it measured: work, begin, end, memory and latencies."""
    watch = measure.Stopwatch()
    pool = None
    if model == "process-pool":
        pool = concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork"))
        pool.submit(compute).result()  # The pool starts its process now and not in the first job.
    begin_ns, end_ns, lags_ns = asyncio.run(run_jobs(model, work, pool))
    watch.measure_memory()
    if pool is not None:
        pool.shutdown()
    return {
        "work": work,
        "begin_ns": begin_ns,
        "end_ns": end_ns,
        "wall_seconds": watch.seconds(),
        "pss_bytes": watch.pss_bytes,
        "latencies_ns": lags_ns,
    }
