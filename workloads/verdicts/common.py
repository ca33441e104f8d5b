"""What the Python programs share: work of a known size, and workers to do it."""

import multiprocessing
import os
import sys
import threading

FORK = multiprocessing.get_context("fork")
CPUS = len(os.sched_getaffinity(0))
CURED = sys.argv[1:2] == ["cure"]


def compute(units):
    """Computes for about a millisecond for each unit, with the GIL."""
    total = 0
    for i in range(units * 20_000):
        total += i * i % 7
    return total


def threads(target, arguments):
    """Calls the target once for each argument, in a thread each, and waits for them."""
    run(threading.Thread, target, arguments)


def processes(target, arguments):
    """The same in forked processes."""
    run(FORK.Process, target, arguments)


def run(make, target, arguments):
    workers = [make(target=target, args=(argument,)) for argument in arguments]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def spread(target, arguments):
    """What is wrong with many of these programs and what is right: threads under one GIL, or processes."""
    (processes if CURED else threads)(target, arguments)
