"""What workers share, and what they do to each other through it.

=============================  ======================================  ============================
cell                           what the workers write to               expect
=============================  ======================================  ============================
shared-memory-threads          a list of the parent                    the parent finds every item
shared-memory-processes        the same list, inherited by fork        the parent's list stays empty
lost-updates-threads           a counter, read and written apart       most increments are lost
lost-updates-threads-plain     a counter, ``counter += 1``             3.10 and later lose none: they
                                                                       switch at calls and jumps only
lost-updates-threads-locked    as the first, under a lock              none lost
lost-updates-processes         each its own copy of the counter        none lost, and none arrive
lost-updates-processes-value   a ``multiprocessing.Value``, no lock    many lost: shared is shared
lost-updates-processes-locked  the same under its lock                 none lost
=============================  ======================================  ============================

An update is "read, compute, write", and it computes in a function of its own.  Where a function is
called, CPython may take the GIL away, so a thread that comes back writes what it computed from a
value that is long out of date: it wipes out what the others did meanwhile.
"""

import threading

import jobs
import models

UPDATES_PER_UNIT = 1000


class State:
    """An ordinary object.  Threads share it; a forked process gets a copy of its own."""

    def __init__(self):
        self.items = []
        self.counter = 0
        self.lock = threading.Lock()
        self.seen = None  # By worker, in memory that processes share: what it sees itself in the end.
        self.value = None  # A counter in memory that processes share.


STATE = State()


def make_write(job):
    """Put one item into the shared list, and note whether it is there."""
    index = job["index"]

    def unit():
        STATE.items.append(index)
        STATE.seen[index] = STATE.items.count(index)

    return unit


def next_number(number):
    """What an update computes."""
    return number + 1


def make_updates(job):
    """A thousand updates of the counter, in the way that the cell is about."""
    index, update = job["index"], UPDATES[job["options"]["way"]]

    def unit():
        update()
        STATE.seen[index] = STATE.counter

    return unit


def update_apart():
    """Read here, write there."""
    for _ in range(UPDATES_PER_UNIT):
        number = STATE.counter
        STATE.counter = next_number(number)


def update_plain():
    """What looks like one step."""
    for _ in range(UPDATES_PER_UNIT):
        STATE.counter += 1


def update_locked():
    """Nobody else between reading and writing."""
    for _ in range(UPDATES_PER_UNIT):
        with STATE.lock:
            number = STATE.counter
            STATE.counter = next_number(number)


def update_value():
    """A counter that processes do share, without its lock."""
    value = STATE.value.get_obj()
    for _ in range(UPDATES_PER_UNIT):
        number = value.value
        value.value = next_number(number)


def update_value_locked():
    """The same with its lock."""
    value, lock = STATE.value.get_obj(), STATE.value.get_lock()
    for _ in range(UPDATES_PER_UNIT):
        with lock:
            number = value.value
            value.value = next_number(number)


UPDATES = {
    "threads": update_apart,
    "threads-plain": update_plain,
    "threads-locked": update_locked,
    "processes": update_apart,
    "processes-value": update_value,
    "processes-locked": update_value_locked,
}


def run(cell, settings):
    """Run one cell; returns the outcome and the details."""
    import multiprocessing

    context = multiprocessing.get_context("fork")
    STATE.seen = context.Array("l", settings.workers, lock=False)
    STATE.value = context.Value("l", 0)
    seconds = settings.seconds or (None if settings.work else cell.seconds)
    units = settings.work or settings.workers
    work = jobs.make(cell.task, settings.workers, units, seconds, {"way": cell.model})
    if cell.model.startswith("threads"):
        outcome = models.run_threads(work)
    else:
        outcome = models.run_processes(work, "fork")
    return outcome, (written(outcome) if cell.task == "shared-memory" else updated(cell, outcome))


def written(outcome):
    """Details of the shared-memory cells."""
    found = len(set(STATE.items))
    return {
        "written": len(outcome.reports),
        "seen_by_writers": sum(1 for count in STATE.seen if count),
        "seen_by_parent_count": found,
        "seen_by_parent": found == len(outcome.reports),
    }


def updated(cell, outcome):
    """Details of the lost-updates cells."""
    expected = UPDATES_PER_UNIT * sum(report["work"] for report in outcome.reports)
    is_value = UPDATES[cell.model] in (update_value, update_value_locked)
    counted = STATE.value.value if is_value else STATE.counter
    details = {"expected": expected, "counted": counted, "lost": expected - counted}
    if cell.model == "processes":
        details["counted_in_own_copies"] = sum(STATE.seen)
    return details
