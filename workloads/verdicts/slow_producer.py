"""A parent that makes each task in Python and has more to do with it than the workers. In the cure the workers make their own."""

from common import CPUS, CURED, FORK, compute, processes

TASKS = 150
tasks = FORK.SimpleQueue()


def work(_):
    while tasks.get() is not None:
        compute(1)


def make_and_work(count):
    for _ in range(count):
        compute(6)
        compute(1)


def make(_):
    for _ in range(TASKS):
        compute(6)
        tasks.put(1)
    for _ in range(4):
        tasks.put(None)


if CURED:
    processes(make_and_work, [TASKS // CPUS] * CPUS)
else:
    workers = [FORK.Process(target=work, args=(0,)) for _ in range(4)]
    for worker in workers:
        worker.start()
    make(0)
    for worker in workers:
        worker.join()
