"""Processes that add to one shared counter, and do their work while they hold its lock. The cure works first and then adds."""

from common import CURED, FORK, compute, processes

total, lock = FORK.Value("d", lock=False), FORK.Lock()


def work(steps):
    for _ in range(steps):
        if CURED:
            result = compute(4)
            with lock:
                total.value += result
        else:
            with lock:
                total.value += compute(4)


processes(work, [60] * 3)
