"""A short process for each task, as many at a time as there are CPUs: little is to be gained."""

from common import CPUS, FORK, compute

free = FORK.Semaphore(CPUS)


def work():
    compute(12)
    free.release()


processes = []
for _ in range(80):
    free.acquire()
    processes.append(FORK.Process(target=work))
    processes[-1].start()
for process in processes:
    process.join()
