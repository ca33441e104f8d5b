"""A main thread that parses all the time and feeds a pool of threads, all in Python. In the cure a process parses and works for itself."""

import queue
import threading

from common import CPUS, CURED, compute, processes

JOBS = 120


def parse_and_work(jobs):
    for _ in range(jobs):
        compute(2)
        compute(6)


def work(jobs, free):
    while jobs.get() is not None:
        compute(6)
        free.release()


if CURED:
    processes(parse_and_work, [JOBS // CPUS] * CPUS)
else:
    jobs, free = queue.SimpleQueue(), threading.Semaphore(3)
    workers = [threading.Thread(target=work, args=(jobs, free)) for _ in range(8)]
    for worker in workers:
        worker.start()
    for _ in range(JOBS):
        free.acquire()
        compute(2)
        jobs.put(1)
    for worker in workers:
        jobs.put(None)
    for worker in workers:
        worker.join()
