"""What a worker costs that does nothing: time to start it and memory to keep it.

``start_seconds_by_worker`` is from the call that starts a worker to its first instruction; the
next one is started when it is there, so that they do not wait for each other's CPU.
``pss_bytes_per_worker`` is by how much the memory of all processes together grew until all workers
were there, divided by their number.  The same measure serves threads and processes, and pages that
processes share count once.

==============================  ==================  =====================
cell                            expect as start     expect as memory
==============================  ==================  =====================
startup-threads                 0.1 ms              tens of kB
startup-processes-fork          a millisecond       a few MB
startup-processes-forkserver    some milliseconds   several MB
startup-processes-spawn         tens of them        about 10 MB
startup-subinterpreters         about 10 ms         several MB
==============================  ==================  =====================

One worker is started and ended before, so that none of them pays for what the first one needs:
modules to import, the helper process of a start method.
"""

import jobs
import measure
import models


def run_workers(model, workers):
    """Run ``workers`` workers that do nothing."""
    work = jobs.make("startup", workers, workers)
    if model == "threads":
        return models.run_threads(work, start_together=False)
    if model == "subinterpreters":
        import subinterpreters

        return subinterpreters.run_subinterpreters(work, start_together=False)
    return models.run_processes(work, model[len("processes-"):], start_together=False)


def run(cell, settings):
    """Run one cell; returns the outcome and the details."""
    run_workers(cell.model, 1)
    before = measure.tree_pss_bytes()
    outcome = run_workers(cell.model, settings.workers)
    grown = None
    if None not in (before, outcome.pss_bytes):
        grown = (outcome.pss_bytes - before) / len(outcome.reports)
    starts_ns = measure.start_times_ns(outcome.starts_ns, outcome.reports)
    return outcome, {
        "start_seconds_by_worker": [start / 1e9 for start in starts_ns],
        "pss_bytes_per_worker": grown,
    }
