"""The table of cells about one claim each: what happens, rather than how fast.

Their reports carry ``details``; each module's docstring says what is in them and what to expect.
"""

import importlib
from collections import namedtuple

ClaimCell = namedtuple(
    "ClaimCell",
    [
        "id",
        "model",
        "task",
        "kind",
        "min_python",
        "serial_twin",  # the cell to compare it with
        "workers",
        "unit",
        "work",  # default number of units, None where it runs for a time
        "seconds",  # default length where it does
        "takes",  # options of the command line that it heeds
        "module",  # where its ``run(cell, settings)`` is
    ],
)

Topic = namedtuple("Topic", ["models", "unit", "workers", "work", "seconds", "takes", "module"])

AMOUNTS = ("workers", "work", "seconds", "messages", "bytes")

TOPICS = {
    "startup": Topic(
        ["threads", "processes-fork", "processes-spawn", "processes-forkserver", "subinterpreters"],
        "one worker", 8, 8, None, ["workers"], "startup",
    ),
    "shared-memory": Topic(
        ["threads", "processes"], "one item put into a list", 4, 4, None, ["workers"], "sharing"
    ),
    "lost-updates": Topic(
        ["threads", "threads-plain", "threads-locked", "processes", "processes-value", "processes-locked"],
        "1,000 increments", 4, None, 0.3, ["workers", "work", "seconds"], "sharing",
    ),
    "crash": Topic(
        ["threads", "processes", "process-pool"], "one step of 2 ms", 4, None, None, ["workers"], "faults"
    ),
    "exception": Topic(["threads", "processes"], "one step of 2 ms", 4, None, None, ["workers"], "faults"),
    "queue": Topic(["threads"], "one message", 2, 20000, None, ["messages", "bytes"], "messages"),
    "ipc": Topic(
        ["queue", "pipe", "shared-memory"], "one message", 2, 20000, None, ["messages", "bytes"], "messages"
    ),
    "ping-pong": Topic(
        ["threads", "pipe"], "one round trip", 2, 5000, None, ["messages", "bytes"], "messages"
    ),
    "oversubscribed": Topic(
        ["processes-1x", "processes-2x", "processes-4x"],
        "sum of 1,000 squares", None, None, None, ["work", "seconds"], "oversubscribed",
    ),
}

TWINS = {"ipc": "queue-threads", "exception": "crash-threads"}
OLDEST = {"subinterpreters": "3.12", "ipc-shared-memory": "3.8"}


def all_cells():
    """Every one of them."""
    return [make(task, model, topic) for task, topic in TOPICS.items() for model in topic.models]


def make(task, model, topic):
    """One cell."""
    cell_id = "%s-%s" % (task, model)
    workers, work = topic.workers, topic.work
    if task == "oversubscribed":
        import oversubscribed

        workers, work = oversubscribed.workers(model), oversubscribed.default_work()
    return ClaimCell(
        id=cell_id,
        model=model,
        task=task,
        kind="claim",
        min_python=OLDEST.get(model) or OLDEST.get(cell_id) or "3.6",
        serial_twin=TWINS.get(task) or "%s-%s" % (task, topic.models[0]),
        workers=workers,
        unit=topic.unit,
        work=work,
        seconds=topic.seconds,
        takes=topic.takes,
        module=topic.module,
    )


def as_json(cell):
    """The cell's row for ``lab.py --list``, but for what keeps it from running."""
    row = cell._asdict()
    del row["module"]
    row.update(default_work=row.pop("work"), default_seconds=row.pop("seconds"), default_pause_seconds=None)
    return dict(row)


def objection(cell, arguments):
    """What is wrong with the amounts that were asked for, or None."""
    for name in AMOUNTS:
        value = getattr(arguments, name)
        if value is None or name in cell.takes:
            continue
        if name == "workers" and value == cell.workers:
            continue  # Who asks for what is there anyway shall have it.
        taken = ", ".join("--" + option for option in cell.takes)
        return "%s takes no --%s, but %s" % (cell.id, name, taken)
    return None


def run(cell, arguments):
    """Run and sum up one cell."""
    import measure

    module = importlib.import_module(cell.module)
    arguments.workers = arguments.workers or cell.workers
    outcome, details = module.run(cell, arguments)
    report = measure.summary(cell, *outcome)
    report.update(unit=cell.unit, pause_seconds=None, details=details)
    return report
