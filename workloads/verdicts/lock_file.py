"""Processes that work while they have a file locked, as tools that share a cache do. The cure locks it to write down the result only."""

import fcntl
import tempfile

from common import CURED, compute, processes


def work(steps):
    # Each has to open it: a lock belongs to what was opened, and is shared by processes forked after that.
    with open(shared.name, "a", encoding="ascii") as file:
        for _ in range(steps):
            result = compute(4) if CURED else None
            fcntl.flock(file, fcntl.LOCK_EX)
            print(result or compute(4), file=file, flush=True)
            fcntl.flock(file, fcntl.LOCK_UN)


with tempfile.NamedTemporaryFile() as shared:
    processes(work, [60] * 3)
