"""asyncio: many coroutines on one thread, and the hybrid of an event loop with a process pool."""

import asyncio
import concurrent.futures
import multiprocessing
import os
import time

import measure
import models
import tasks
import worker


async def coroutine_body(job, announce, go):
    """A worker that is a coroutine: the same steps as ``worker.run``, with ``await``.

    It takes no thread name: the thread is not its own.
    """
    announcement = {"index": job["index"], "first_ns": time.monotonic_ns(), "pid": os.getpid()}
    unit = tasks.async_unit_for(job)
    announce(announcement)
    await go.wait()
    begin_ns = time.monotonic_ns()
    done = 0
    while worker.goes_on(job, done, begin_ns):
        await unit()
        done += 1
    return worker.finish(announcement, done, begin_ns)


def run_asyncio(jobs):
    """One coroutine per worker.

    Expect: waiting overlaps as with threads, yet the kernel sees a single thread that sleeps in
    epoll and far fewer context switches.  CPU-bound work does not overlap at all: nobody else
    runs until a coroutine awaits.
    """
    return asyncio.run(gather_coroutines(jobs))


async def gather_coroutines(jobs):
    """Start all coroutines, open the gate when all are ready, collect the reports."""
    set_executor(len(jobs))
    label = tasks.TASKS[jobs[0]["task"]].label
    worker.name_thread("%s-loop" % label)
    watch = measure.Stopwatch()
    go, ready, starts_ns, pending = asyncio.Event(), [], {}, []
    for job in jobs:
        starts_ns[job["index"]] = time.monotonic_ns()
        pending.append(asyncio.ensure_future(coroutine_body(job, ready.append, go)))
    while len(ready) < len(jobs) and not any(future.done() for future in pending):
        await asyncio.sleep(0)
    watch.measure_memory()
    go.set()
    reports = await asyncio.gather(*pending)
    return models.Outcome(watch.seconds(), watch.pss_bytes, starts_ns, list(reports))


def set_executor(workers):
    """As many helper threads as there are coroutines, for what the loop can't do itself (files)."""
    pool = concurrent.futures.ThreadPoolExecutor(workers)
    asyncio.get_running_loop().set_default_executor(pool)


def pool_share(jobs):
    """In a process of the pool: CPU-bound work plainly, waiting work on an event loop of its own."""
    if tasks.TASKS[jobs[0]["task"]].make_async is None:
        return [worker.run(job, lambda announcement: None, lambda: None) for job in jobs]
    return asyncio.run(loop_share(jobs))


async def loop_share(jobs):
    """The coroutines of one process of the pool."""
    set_executor(len(jobs))
    go = asyncio.Event()
    go.set()
    return await asyncio.gather(*[coroutine_body(job, lambda announcement: None, go) for job in jobs])


def run_hybrid(jobs):
    """An event loop that hands the work to a ``ProcessPoolExecutor``.

    Expect: the best of both for mixed work.  For CPU-bound work one process per worker; for
    waiting work one process per CPU, each with an event loop and its share of the coroutines.
    """
    return asyncio.run(gather_processes(jobs))


async def gather_processes(jobs):
    """Deal the jobs out to the processes of a pool and wait for them in the event loop."""
    processes = len(jobs)
    if tasks.TASKS[jobs[0]["task"]].make_async is not None:
        processes = min(processes, len(os.sched_getaffinity(0)))
    shares = [jobs[first::processes] for first in range(processes)]
    loop = asyncio.get_running_loop()
    watch = measure.Stopwatch()
    context = multiprocessing.get_context("fork")
    starts_ns, pending = {}, []
    with concurrent.futures.ProcessPoolExecutor(processes, mp_context=context) as pool:
        for share in shares:
            for job in share:
                starts_ns[job["index"]] = time.monotonic_ns()
            pending.append(loop.run_in_executor(pool, pool_share, share))
        results = await asyncio.gather(*pending)
        watch.measure_memory()  # The pool's processes are idle now, but still there.
    reports = [report for share in results for report in share]
    return models.Outcome(watch.seconds(), watch.pss_bytes, starts_ns, reports)
