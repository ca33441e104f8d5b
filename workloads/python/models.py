"""The models that wait for their workers by blocking: serial, threads, processes.

Every model takes jobs and returns ``Outcome(wall_seconds, pss_bytes, starts_ns, reports)``.
The other models are in ``subinterpreters.py`` and ``event_loop.py``.
"""

import os
import queue
import threading
from collections import namedtuple

import measure
import worker
from measure import monotonic_ns

Outcome = namedtuple("Outcome", ["wall_seconds", "pss_bytes", "starts_ns", "reports"])


def run_serial(jobs):
    """One worker after the other in the main thread: the time that all others are compared with."""
    watch = measure.Stopwatch()
    starts_ns, reports = {}, []
    for job in jobs:
        starts_ns[job["index"]] = monotonic_ns()
        reports.append(worker.run(job, lambda announcement: None, watch.measure_memory))
    return Outcome(watch.seconds(), watch.pss_bytes, starts_ns, reports)


def run_threads(jobs, start_together=True):
    """One thread per worker.

    Expect: waiting overlaps.  CPU-bound Python does not: one thread holds the GIL, the others
    are *blocked* (not runnable) and take turns every switch interval, 5 ms.
    Functions that release the GIL, like hashing large blocks, do run in parallel.
    With ``start_together`` false, each is started when the one before is there.
    """
    ready = getattr(queue, "SimpleQueue", queue.Queue)()  # The simple one is there from 3.7 on.
    go, reports = threading.Event(), []

    def body(job):
        try:
            reports.append(worker.run(job, ready.put, go.wait))
        except Exception as error:  # Whatever it was, the parent waits for a word.
            ready.put(error)
            reports.append(error)

    watch = measure.Stopwatch()
    starts_ns, threads, words = {}, [], []
    for job in jobs:
        thread = threading.Thread(target=body, args=(job,), daemon=True)
        starts_ns[job["index"]] = monotonic_ns()
        thread.start()
        threads.append(thread)
        if not start_together:
            words.append(ready.get())
    words.extend(ready.get() for _ in range(len(threads) - len(words)))
    raise_first_error(words)
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
    parent = os.getppid()

    def wait_for_go():
        if not has_message(connection, parent):
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


def has_message(connection, parent):
    """Wait for a message; false if the parent is gone instead.

    A fork inherits our parent's end of the connection, so its closing would not tell us.
    """
    import multiprocessing.connection

    if hasattr(multiprocessing, "parent_process"):
        multiprocessing.connection.wait([connection, multiprocessing.parent_process().sentinel])
        return connection.poll()
    while not connection.poll(0.2):  # Before 3.8 there is no sentinel to wait for.
        if os.getppid() != parent:
            return False
    return True


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


def run_processes(jobs, method, start_together=True):
    """One process per worker, each with its own interpreter, hence its own GIL.

    Expect: CPU-bound work scales with the cores; with more workers than cores the rest is
    *runnable* and waits in run queues.  What differs between the start methods is the price:
    ``fork`` copies the parent's page tables (a millisecond), ``forkserver`` asks a clean helper to
    fork, ``spawn`` boots a new interpreter (tens of milliseconds).
    With ``start_together`` false, each is started when the one before is there.
    """
    import multiprocessing

    context = multiprocessing.get_context(method)
    watch = measure.Stopwatch()
    starts_ns, workers = {}, []
    try:
        for job in jobs:
            ours, theirs = context.Pipe()
            process = context.Process(target=process_body, args=(job, theirs), daemon=True)
            starts_ns[job["index"]] = monotonic_ns()
            process.start()
            theirs.close()  # Else we would wait for ever for a worker that died.
            workers.append((ours, process, job["index"]))
            if not start_together:
                receive(*workers[-1])
        for entry in workers if start_together else []:
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
