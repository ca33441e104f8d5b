"""The table of tasks: what one unit of work is, and where the code for it lies.

A row names functions by their place, ``module.function``.  Only the module of the task that is run
gets imported, since every process that is spawned would pay for all of them.

``make(job)`` prepares what a worker needs and returns a function that does exactly one unit.  Workers
count units, so work is measured where it happens.
"""

import importlib
from collections import namedtuple

Task = namedtuple(
    "Task",
    [
        "label",  # thread name prefix, short enough for the kernel's 15 characters
        "unit",  # what one unit of work is, for the reader of the report
        "kind",  # "cpu", "io" or "textbook"
        "work",  # default number of units, all workers together
        "workers",  # default number of workers; 0 means one for each usable CPU
        "pause",  # default seconds that one unit waits, None when it does not wait
        "make",  # job -> function doing one unit
        "make_async",  # job -> coroutine function doing one unit; None: the plain one, then yield
        "prepare",  # options -> context manager giving additional options; None: nothing to do
    ],
)

# For ``make_async``: what asyncio cannot do itself is done by the plain function in a pool of threads.
IN_HELPER_THREADS = "in helper threads"


def computing(label, unit, work, make, prepare=None):
    """A row for a task that does nothing but compute."""
    return Task(label, unit, "cpu", work, 0, None, make, None, prepare)


def waiting(label, unit, work, workers, pause, make, make_async, prepare=None):
    """A row for a task that waits, among other things."""
    return Task(label, unit, "io", work, workers, pause, make, make_async, prepare)


def textbook(label, unit, work, workers, pause, make):
    """A row for a task that is there because books have it."""
    return Task(label, unit, "textbook", work, workers, pause, make, None, None)


TASKS = {
    "factorial": computing("fact", "one factorial", 5000, "computing.make_factorial"),
    "arithmetic": computing("arith", "sum of 1,000 squares", 10000, "computing.make_arithmetic"),
    "hash": computing("hash", "SHA-256 of 1 MiB", 1000, "computing.make_hash"),
    "json": computing("json", "json.loads of 100 kB", 300, "computing.make_json"),
    "regex": computing("regex", "re.findall on 100 kB", 200, "c_code.make_regex"),
    "big-int": computing("bigint", "7 to the power of 60,000", 100, "c_code.make_big_int"),
    "zlib": computing("zlib", "zlib.compress of 256 KiB", 60, "c_code.make_zlib"),
    "lzma": computing("lzma", "lzma.compress of 64 KiB", 100, "c_code.make_lzma"),
    "blur": computing("blur", "box blur of 64 x 48 pixels", 500, "blur.make"),
    "pbkdf2": computing("pbkdf2", "PBKDF2 with 10,000 rounds", 200, "encryption.make_pbkdf2"),
    "cipher": computing("cipher", "ChaCha20 of 114 bytes in Python", 3000, "encryption.make_cipher"),
    "monte-carlo": computing("monte", "5,000 random points", 1000, "monte_carlo.make"),
    "database": computing("query", "SQL query of 20,000 rows", 200, "database.make", "database.prepare"),
    "download": waiting(
        "download", "one download, simulated by a sleep", 4, 4, 2.0,
        "waiting.make_pause", "waiting.make_pause_async",
    ),
    "sleep": waiting(
        "sleep", "one short sleep", 64, 64, 0.01, "waiting.make_pause", "waiting.make_pause_async"
    ),
    "request": waiting(
        "request", "wait, 10 sums of 1,000 squares, wait", 64, 8, 0.01,
        "waiting.make_request", "waiting.make_request_async",
    ),
    "fetch": waiting(
        "fetch", "one HTTP GET", 64, 8, 0.01, "fetch.make", "fetch.make_async", "web.prepare"
    ),
    "upload": waiting(
        "upload", "one HTTP POST of 64 KiB", 64, 8, 0.01, "upload.make", "upload.make_async", "web.prepare"
    ),
    "scrape": waiting(
        "scrape", "one page fetched and parsed", 64, 8, 0.01, "scrape.make", "scrape.make_async", "web.prepare"
    ),
    "file-read": waiting(
        "read", "one 4 KiB read at a random place", 8000, 4, None,
        "file_read.make", IN_HELPER_THREADS, "file_read.prepare",
    ),
    "file-write": waiting(
        "write", "one file of 64 KiB written and synced", 400, 4, None,
        "file_write.make", IN_HELPER_THREADS, "file_write.prepare",
    ),
    "five-workers": textbook("five", "one tiny task", 5, 5, None, "textbook.make_five_workers"),
    "print-numbers": textbook("print", "one number and a pause", 10, 2, 1.0, "textbook.make_print_numbers"),
}

# Tasks of cells about one claim; the rest about them is in ``claim_cells.py``.
ClaimTask = namedtuple("ClaimTask", ["label", "make"])
CLAIM_TASKS = {
    "startup": ClaimTask("start", "tasks.make_nothing"),
    "shared-memory": ClaimTask("share", "shared_state.make_write"),
    "lost-updates": ClaimTask("update", "shared_state.make_updates"),
}


def make_nothing(_job):
    """No work at all: what is left is the price of having a worker."""
    return lambda: None


def function_at(place):
    """The function that a row names."""
    module, _, name = place.partition(".")
    return getattr(importlib.import_module(module), name)


def row_of(task):
    """The row of a task: at the least its label and how to make its unit."""
    return TASKS.get(task) or CLAIM_TASKS[task]


def unit_for(job):
    """The function that does one unit of the job's task."""
    return function_at(row_of(job["task"]).make)(job)


def async_unit_for(job):
    """The coroutine function that does one unit of the job's task."""
    import asyncio

    make_async = TASKS[job["task"]].make_async
    if make_async not in (None, IN_HELPER_THREADS):
        return function_at(make_async)(job)
    plain = unit_for(job)

    async def in_helper_thread():
        await asyncio.get_running_loop().run_in_executor(None, plain)

    async def in_loop():
        plain()
        # Cooperative: without this the first coroutine would finish before the second begins.
        await asyncio.sleep(0)

    return in_loop if make_async is None else in_helper_thread
