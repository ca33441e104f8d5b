"""The models that wait for their workers by blocking: serial, threads, processes.

Every model takes jobs and returns ``Outcome(wall_seconds, pss_bytes, starts_ns, reports)``.
The other models are in ``subinterpreters.py`` and ``event_loop.py``.
"""

import queue
import threading
import time
from collections import namedtuple

import measure
import worker

Outcome = namedtuple("Outcome", ["wall_seconds", "pss_bytes", "starts_ns", "reports"])


def run_serial(jobs):
    """One worker after the other in the main thread: the time that all others are compared with."""
    watch = measure.Stopwatch()
    starts_ns, reports = {}, []
    for job in jobs:
        starts_ns[job["index"]] = time.monotonic_ns()
        reports.append(worker.run(job, lambda announcement: None, watch.measure_memory))
    return Outcome(watch.seconds(), watch.pss_bytes, starts_ns, reports)


def run_threads(jobs):
    """One thread per worker.

    Expect: waiting overlaps.  CPU-bound Python does not: one thread holds the GIL, the others
    are *blocked* (not runnable) and take turns every switch interval, 5 ms.
    Functions that release the GIL, like hashing large blocks, do run in parallel.
    """
    ready, go, reports = queue.SimpleQueue(), threading.Event(), []

    def body(job):
        try:
            reports.append(worker.run(job, ready.put, go.wait))
        except Exception as error:  # Whatever it was, the parent waits for a word.
            ready.put(error)
            reports.append(error)

    watch = measure.Stopwatch()
    starts_ns, threads = {}, []
    for job in jobs:
        thread = threading.Thread(target=body, args=(job,), daemon=True)
        starts_ns[job["index"]] = time.monotonic_ns()
        thread.start()
        threads.append(thread)
    raise_first_error([ready.get() for _ in threads])
    watch.measure_memory()
    go.set()
    for thread in threads:
        thread.join()
    raise_first_error(reports)
    return Outcome(watch.seconds(), watch.pss_bytes, starts_ns, reports)


def raise_first_error(items):
    """Raise the first exception among ``items``, if there is one."""
    for item in items:
        if isinstance(item, Exception):
            raise item


def process_body(job, connection):
    """A worker process: announce, wait and report through its connection."""

    import multiprocessing.connection

    def wait_for_go():
        # A fork inherits our parent's end of the connection, so its closing would not tell us of the
        # parent's death; the sentinel does.
        multiprocessing.connection.wait([connection, multiprocessing.parent_process().sentinel])
        if not connection.poll():
            raise SystemExit(1)
        connection.recv()

    try:
        connection.send(worker.run(job, connection.send, wait_for_go))
    except (OSError, RuntimeError) as error:
        try:
            connection.send(RuntimeError("worker %d: %s" % (job["index"], error)))
        except OSError:
            pass  # The parent is gone, too.
    connection.close()


def receive(connection, process, index):
    """The worker's next message; a plain sentence if it died instead."""
    try:
        message = connection.recv()
        raise_first_error([message])
        return message
    except EOFError:
        process.join()
        raise RuntimeError(
            "worker process %d ended with exit code %s before it reported" % (index, process.exitcode)
        ) from None


def run_processes(jobs, method):
    """One process per worker, each with its own interpreter, hence its own GIL.

    Expect: CPU-bound work scales with the cores; with more workers than cores the rest is
    *runnable* and waits in run queues.  What differs between the start methods is the price:
    ``fork`` copies the parent's page tables (a millisecond), ``forkserver`` asks a clean helper to
    fork, ``spawn`` boots a new interpreter (tens of milliseconds).
    """
    import multiprocessing

    context = multiprocessing.get_context(method)
    watch = measure.Stopwatch()
    starts_ns, workers = {}, []
    try:
        for job in jobs:
            ours, theirs = context.Pipe()
            process = context.Process(target=process_body, args=(job, theirs), daemon=True)
            starts_ns[job["index"]] = time.monotonic_ns()
            process.start()
            theirs.close()  # Else we would wait for ever for a worker that died.
            workers.append((ours, process, job["index"]))
        for entry in workers:
            receive(*entry)
        watch.measure_memory()
        for ours, _, _ in workers:
            ours.send("go")
        reports = [receive(*entry) for entry in workers]
        for _, process, _ in workers:
            process.join()
    finally:
        for _, process, _ in workers:
            if process.is_alive():
                process.terminate()
    return Outcome(watch.seconds(), watch.pss_bytes, starts_ns, reports)
