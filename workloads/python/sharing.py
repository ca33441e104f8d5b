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
"""

import jobs
import models
from shared_state import STATE, UPDATES_PER_UNIT


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
    is_value = cell.model in ("processes-value", "processes-locked")
    counted = STATE.value.value if is_value else STATE.counter
    details = {"expected": expected, "counted": counted, "lost": expected - counted}
    if cell.model == "processes":
        details["counted_in_own_copies"] = sum(STATE.seen)
    return details
