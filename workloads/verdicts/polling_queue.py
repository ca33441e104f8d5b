"""Idle threads that look into a queue ten thousand times a second, for jobs that wait. In the cure they wait for the queue.
It takes as long, and next to no CPU."""

import queue
import threading
import time

from common import CURED

jobs = queue.Queue()


def work():
    while True:
        try:
            job = jobs.get(timeout=None if CURED else 0.0001)
        except queue.Empty:
            continue
        if job is None:
            return
        time.sleep(job)


workers = [threading.Thread(target=work) for _ in range(8)]
for worker in workers:
    worker.start()
for _ in range(10):
    jobs.put(0.05)
    time.sleep(0.1)
for _ in workers:
    jobs.put(None)
for worker in workers:
    worker.join()
