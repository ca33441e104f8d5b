"""A process for each task, started when the one before has ended. The cure has as many at a time as there are CPUs."""

from common import CPUS, CURED, FORK, compute

running = []
for _ in range(40):
    if len(running) == (CPUS if CURED else 1):
        running.pop(0).join()
    running.append(FORK.Process(target=compute, args=(15,)))
    running[-1].start()
for process in running:
    process.join()
