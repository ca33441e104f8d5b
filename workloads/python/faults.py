"""One worker of several fails: who is left?

A program with workers that take a step every 2 ms is started as a process of its own.  When all
are at work, worker 0 fails; the cell then looks whether the others still take steps.

==================  ================================================================================
cell                expect
==================  ================================================================================
crash-threads       nobody is left: a segmentation fault ends the process, and all threads with it
crash-processes     all others go on
crash-process-pool  nobody is left: ``ProcessPoolExecutor`` ends the others when one is gone
exception-threads   all others go on: an exception ends the thread that raised it
exception-processes all others go on
==================  ================================================================================

``survivors`` counts the workers that took steps after the fault, ``exit`` is how the program ended,
``said`` the last line that it wrote to standard error.
"""

import os
import sys
import tempfile
import threading
import time

import measure
import models
import worker
from measure import monotonic_ns

STEP_SECONDS = 0.002
TIMEOUT_SECONDS = 10
SETTLE_SECONDS = 0.05
LOOK_SECONDS = 1

# Places in the memory that the cell and the program share, behind a counter of steps for each worker.
FAIL, STOP, PID, TID = range(4)


class Board:
    """What the cell and the program's workers tell each other."""

    def __init__(self, context, workers):
        self.workers = workers
        self.numbers = context.Array("l", workers + 4, lock=False)

    def get(self, place):
        """A number that is not a counter of steps."""
        return self.numbers[self.workers + place]

    def put(self, place, number):
        """Set it."""
        self.numbers[self.workers + place] = number

    def first_is_gone(self):
        """Whether worker 0 was about to fail and has ended since."""
        return self.get(PID) != 0 and is_gone(self.get(PID), self.get(TID))

    def steps(self):
        """Steps taken so far, by worker."""
        return self.numbers[: self.workers]


def crash():
    """Read from address 0."""
    import ctypes

    worker.process_control(worker.PR_SET_DUMPABLE, 0)  # No core file: nobody wants to look at it.
    ctypes.string_at(0)


def fail():
    """Raise what nobody catches."""
    raise RuntimeError("worker 0 fails on purpose")


FAULTS = {"crash": crash, "exception": fail}


def take_steps(board, index, fault):
    """A worker: take steps until told to stop; worker 0 fails when told to."""
    worker.name_thread("step-%d" % index)
    while not board.get(STOP):
        board.numbers[index] += 1
        if index == 0 and board.get(FAIL):
            pid, _, tid = os.readlink("/proc/thread-self").split("/")
            board.put(TID, int(tid))
            board.put(PID, int(pid))
            FAULTS[fault]()
        time.sleep(STEP_SECONDS)


def worker_process(board, index, fault, parent):
    """A worker that is a process."""
    worker.end_with(parent)
    take_steps(board, index, fault)


def run_pool(context, board, fault):
    """The workers as tasks of a pool of processes."""
    import concurrent.futures

    with concurrent.futures.ProcessPoolExecutor(board.workers, **pool_context(context)) as pool:
        # What it inherited tells a worker of the pool where the board is; it cannot be sent.
        pending = [pool.submit(pool_worker, index, fault, os.getpid()) for index in range(board.workers)]
        for future in pending:
            future.result()


def pool_context(context):
    """From 3.7 on the start method can be said; before, it is fork anyway."""
    return {"mp_context": context} if sys.version_info >= (3, 7) else {}


def pool_worker(index, fault, parent):
    """A worker in a process of the pool."""
    worker_process(INHERITED["board"], index, fault, parent)


INHERITED = {}


def program(context, model, board, fault, errors, parent):
    """The program with the workers; runs in a process of its own."""
    os.dup2(errors.fileno(), 2)
    worker.end_with(parent)
    if model == "process-pool":
        INHERITED["board"] = board
        run_pool(context, board, fault)
        return
    if model == "threads":
        workers = [
            threading.Thread(target=take_steps, args=(board, index, fault)) for index in range(board.workers)
        ]
    else:
        workers = [
            context.Process(target=worker_process, args=(board, index, fault, os.getpid()))
            for index in range(board.workers)
        ]
    for one in workers:
        one.start()
    for one in workers:
        one.join()


def is_gone(pid, tid):
    """Whether a thread has ended."""
    try:
        with open("/proc/%d/task/%d/stat" % (pid, tid)) as stat:
            return stat.read().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def wait_until(condition, seconds):
    """Whether the condition came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(STEP_SECONDS)
    return True


def survivors(board, watched):
    """How many workers take steps now."""
    before = board.steps()

    def moved():
        return [now > then for now, then in zip(board.steps(), before)]

    wait_until(lambda: all(moved()[1:]) or not watched.is_alive(), LOOK_SECONDS)
    return sum(moved())


def last_line(errors):
    """The last line of a file, or None."""
    errors.seek(0)
    lines = errors.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1].strip() if lines else None


def ending(code):
    """How a process ended, from the exit code of ``multiprocessing``."""
    return {"code": code if code >= 0 else None, "signal": -code if code < 0 else None}


def run(cell, settings):
    """Run one cell; returns the outcome and the details."""
    import multiprocessing

    context = multiprocessing.get_context("fork")
    board = Board(context, settings.workers)
    watch = measure.Stopwatch()
    with tempfile.TemporaryFile() as errors:
        watched = context.Process(
            target=program, args=(context, cell.model, board, cell.task, errors, os.getpid())
        )
        watched.start()
        try:
            if not wait_until(lambda: all(board.steps()) or not watched.is_alive(), TIMEOUT_SECONDS):
                raise RuntimeError("not all workers began within %d s" % TIMEOUT_SECONDS)
            watch.measure_memory()
            begin_ns = monotonic_ns()
            board.put(FAIL, 1)
            if not wait_until(board.first_is_gone, TIMEOUT_SECONDS):
                raise RuntimeError("worker 0 did not fail: %s" % last_line(errors))
            time.sleep(SETTLE_SECONDS)
            left = survivors(board, watched)
            end_ns = monotonic_ns()
        finally:
            board.put(STOP, 1)
            watched.join(TIMEOUT_SECONDS)
            if watched.is_alive():
                worker.end_for_good(watched)
        details = {
            "workers": board.workers,
            "survivors": left,
            "exit": ending(watched.exitcode),
            "said": last_line(errors),
        }
    reports = [
        {"index": index, "work": steps, "begin_ns": begin_ns, "end_ns": end_ns}
        for index, steps in enumerate(board.steps())
    ]
    return models.Outcome(watch.seconds(), watch.pss_bytes, {}, reports), details
