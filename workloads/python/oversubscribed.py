"""More workers than CPUs: what is lost by it, and what is not.

The same CPU-bound work, split among one, two or four processes per CPU.  Expect: the throughput
stays what it was, within some percent; what grows is the time that each worker is ready and has to
wait for its turn, by a time slice for every other worker of its CPU.

The cell confines itself to eight CPUs, as four processes for each CPU of a large machine would need
more memory than they show anything more.
"""

import os

import jobs
import models

CPUS_MAX = 8
WORK_PER_CPU = 6000


def usable_cpus():
    """The CPUs that the workers may use."""
    return sorted(os.sched_getaffinity(0))[:CPUS_MAX]


def per_cpu(model):
    """Workers per CPU: 4 for ``processes-4x``."""
    return int(model[len("processes-"):-1])


def workers(model):
    """How many workers there are."""
    return per_cpu(model) * len(usable_cpus())


def default_work():
    """Units of work, the same for all the cells."""
    return WORK_PER_CPU * len(usable_cpus())


def run(cell, settings):
    """Run one cell; returns the outcome and the details."""
    cpus = usable_cpus()
    os.sched_setaffinity(0, cpus)
    work = jobs.make("arithmetic", settings.workers, settings.work or cell.work, settings.seconds)
    outcome = models.run_processes(work, "fork")
    begin_ns = min(report["begin_ns"] for report in outcome.reports)
    end_ns = max(report["end_ns"] for report in outcome.reports)
    done = sum(report["work"] for report in outcome.reports)
    return outcome, {
        "cpus": len(cpus),
        "workers_per_cpu": per_cpu(cell.model),
        "units_per_second": done / ((end_ns - begin_ns) / 1e9),
    }
