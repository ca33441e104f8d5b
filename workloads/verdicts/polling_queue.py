"""Idle threads that look into a queue ten thousand times a second, beside one that computes. In the cure they wait for the queue."""

import queue
import threading

from common import CURED, compute

jobs = queue.Queue()


def work():
    while True:
        try:
            job = jobs.get(timeout=None if CURED else 0.0001)
        except queue.Empty:
            continue
        if job is None:
            return


workers = [threading.Thread(target=work) for _ in range(8)]
for worker in workers:
    worker.start()
compute(300)
for _ in workers:
    jobs.put(None)
for worker in workers:
    worker.join()
