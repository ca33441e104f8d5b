"""Processes that meet at a barrier after each of equal steps, one for each CPU: nothing is to be gained."""

from common import CPUS, FORK, compute, processes

barrier = FORK.Barrier(CPUS)


def work(steps):
    for _ in range(steps):
        compute(12)
        barrier.wait()


processes(work, [90] * CPUS)
