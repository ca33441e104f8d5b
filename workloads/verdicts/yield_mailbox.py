"""Two processes that pass a number back and forth, and yield until it is theirs, beside processes that compute: whoever yields waits
for a computing one. In the cure they wait for a semaphore, and are woken at once."""

import mmap
import os

from common import CPUS, CURED, FORK, compute

TURNS = 200
cell = mmap.mmap(-1, 1)
told = [FORK.Semaphore(1), FORK.Semaphore(0)]


def take_turns(mine):
    for _ in range(TURNS):
        if CURED:
            told[mine].acquire()
        else:
            while cell[0] != mine:
                os.sched_yield()
        compute(1)
        cell[0] = 1 - mine
        told[1 - mine].release()


workers = [FORK.Process(target=take_turns, args=(mine,)) for mine in (0, 1)]
workers += [FORK.Process(target=compute, args=(250,)) for _ in range(CPUS)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
