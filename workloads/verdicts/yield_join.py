"""Threads that wait for a result by yielding in a loop, and so take the CPU and the GIL from the one that computes it.
In the cure they wait for an event."""

import os
import threading

from common import CURED, compute

done = threading.Event()


def wait(_):
    if CURED:
        done.wait()
    else:
        while not done.is_set():
            os.sched_yield()


waiting = [threading.Thread(target=wait, args=(0,)) for _ in range(3)]
for thread in waiting:
    thread.start()
compute(300)
done.set()
for thread in waiting:
    thread.join()
