"""Splitting work into jobs, one per worker."""

import tasks


def shares(total, workers):
    """Split ``total`` into ``workers`` shares that differ by one at most."""
    each, rest = divmod(total, workers)
    return [each + (index < rest) for index in range(workers)]


def make(task, workers, work, seconds=None, options=None):
    """One job per worker; together they do exactly ``work`` units, or each works for ``seconds``.

    The task's module is imported here: forked workers find it there, and no model has to do it
    while its time is taken.
    """
    tasks.function_at(tasks.row_of(task).make)
    return [
        {"task": task, "index": index, "work": share, "seconds": seconds, "options": options or {}}
        for index, share in enumerate(shares(work, workers))
    ]
