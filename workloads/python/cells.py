"""The table of cells: which task runs on which model.

A cell's name is ``TASK-MODEL``.  Every cell names its serial twin, the run with the same total
work that its speed-up is measured against.
"""

import importlib
import os
import sys
from collections import namedtuple

import claim_cells
from tasks import TASKS

Cell = namedtuple("Cell", ["id", "model", "task", "kind", "min_python", "serial_twin", "workers"])

CPU_MODELS = [
    "serial",
    "threads",
    "processes-fork",
    "processes-spawn",
    "processes-forkserver",
    "subinterpreters",
    "asyncio",
    "hybrid",
]
IO_MODELS = ["serial", "threads", "processes-fork", "asyncio", "hybrid"]
TEXTBOOK_MODELS = ["serial", "threads", "processes-fork"]
CONVOY_MODELS = ["alone", "process", "thread", "thread-near"]
LAG_MODELS = ["in-loop", "to-thread", "process-pool"]
LAG_WORK = 10
# Tasks that are only variants of others do without the models that would tell nothing new.
FEW_MODELS = {task: ["serial", "threads", "processes-fork"] for task in ("regex", "big-int", "zlib", "lzma")}
# They need a server that is written with asyncio, or reads round the page cache.
TASKS_SINCE_3_8 = ("fetch", "upload", "scrape", "file-read")
# Not every interpreter was built with them.
MODULES_NEEDED = {
    "zlib": "zlib",
    "lzma": "lzma",
    "pbkdf2": "_hashlib",  # hashlib's own stand-in for OpenSSL keeps the GIL.
    "database": "sqlite3",
    "shared-memory": "ctypes",
    "lost-updates": "ctypes",
    "crash": "ctypes",
    "exception": "ctypes",
}
MODELS_OF_KIND = {"cpu": CPU_MODELS, "io": IO_MODELS, "textbook": TEXTBOOK_MODELS}


def usable_cpus():
    """How many CPUs this process may use."""
    return len(os.sched_getaffinity(0))


def default_workers(task, model):
    """Workers of a cell: one for serial, else what the task says, else one per CPU and at least two."""
    if model == "serial":
        return 1
    return TASKS[task].workers or max(2, usable_cpus())


def all_cells():
    """Every cell, in the order in which a reader should meet them."""
    cells = []
    for task, row in TASKS.items():
        for model in FEW_MODELS.get(task) or MODELS_OF_KIND[row.kind]:
            cells.append(
                Cell(
                    "%s-%s" % (task, model),
                    model,
                    task,
                    row.kind,
                    oldest_python(task, model),
                    "%s-serial" % task,
                    default_workers(task, model),
                )
            )
    return cells + latency_cells() + claim_cells.all_cells()


def oldest_python(task, model):
    """The first version that has what the cell needs."""
    if model == "subinterpreters":
        return "3.12"
    return "3.8" if model in ("asyncio", "hybrid") or task in TASKS_SINCE_3_8 else "3.6"


def latency_cells():
    """Cells about who has to wait for whom; they compare by latency with their undisturbed twin."""
    rows = [("convoy", model, "convoy-alone") for model in CONVOY_MODELS]
    rows += [("lag", model, "lag-process-pool") for model in LAG_MODELS]
    return [
        Cell("%s-%s" % (task, model), model, task, "latency", "3.8", twin, 1)
        for task, model, twin in rows
    ]


def find(cell_id):
    """The cell of that name, or None."""
    return next((cell for cell in all_cells() if cell.id == cell_id), None)


def why_skipped(cell):
    """Why this interpreter can't run the cell, or None if it can."""
    if cell.model == "subinterpreters":
        import subinterpreters  # Only now: a serial cell shall not carry what others need.

        return subinterpreters.unavailable()
    if sys.version_info < tuple(map(int, cell.min_python.split("."))):
        return "needs Python %s" % cell.min_python
    module = MODULES_NEEDED.get(cell.task)
    if module is not None:
        try:
            importlib.import_module(module)
        except ImportError:
            return "this interpreter was built without the module %s" % module
    if cell.task == "convoy" and usable_cpus() < 2:
        return "needs two CPUs: its parts are confined to different ones"
    return None


def as_json(cell):
    """The cell's row for ``lab.py --list``."""
    if cell.kind == "claim":
        return dict(claim_cells.as_json(cell), skipped=why_skipped(cell))
    if cell.task == "convoy":
        unit, work, pause = "one echo", None, None  # It runs for a time.
    elif cell.task == "lag":
        unit, work, pause = "one job of 600 sums of 1,000 squares", LAG_WORK, None
    else:
        row = TASKS[cell.task]
        unit, work, pause = row.unit, row.work, row.pause
    return dict(
        cell._asdict(),
        unit=unit,
        default_work=work,
        default_pause_seconds=pause,
        skipped=why_skipped(cell),
    )
