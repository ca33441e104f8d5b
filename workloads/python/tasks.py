"""CPU-bound and waiting tasks: what one unit of work is.

A task is a row of ``TASKS``.  Its ``make(job)`` prepares what a worker needs and returns a
function that does exactly one unit.  Workers count units, so work is measured where it happens.

What decides how a task scales is not what it computes but whether it holds the global
interpreter lock (GIL) meanwhile: pure Python and most C functions hold it, ``hashlib`` on large
buffers and every blocking system call let it go.
"""

import hashlib
import json
import math
import sys
import time
from collections import namedtuple

import c_code
import fetch
import file_read
import shared_state

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

HASH_BLOCK_BYTES = 1 << 20
SMALL_FACTORIAL = 100


def make_factorial(job):
    """``math.factorial(n)``; the default n is large enough to be real work.

    Textbooks take ``factorial(100)``.  That is about a microsecond, so starting a process
    (a thousand times longer) can only lose.  Try it: ``--factorial-of 100``.
    """
    argument = job["options"]["factorial_of"]

    def unit():
        math.factorial(argument)

    return unit


def make_arithmetic(_job):
    """A sum of squares in a Python loop: the interpreter holds the GIL all the time."""

    def unit():
        total = 0
        for number in range(1000):
            total += number * number
        return total

    return unit


def make_hash(_job):
    """SHA-256 of 1 MiB: ``hashlib`` lets the GIL go, so threads do run in parallel."""
    block = bytes(HASH_BLOCK_BYTES)

    def unit():
        hashlib.sha256(block).digest()

    return unit


def make_json(_job):
    """``json.loads`` of some 100 kB: C code that *keeps* the GIL, however long it takes."""
    document = json.dumps([{"id": n, "name": "item-%d" % n, "tags": [n, n + 1]} for n in range(2000)])

    def unit():
        json.loads(document)

    return unit


def make_pause(job):
    """Sleep: the thread is blocked in the kernel, needs no CPU and no GIL."""
    seconds = job["options"]["pause"]

    def unit():
        time.sleep(seconds)

    return unit


def make_pause_async(job):
    """The same sleep in an event loop: a timer among many instead of a blocked thread."""
    import asyncio  # Costs 30 ms to import; workers that do not need it must not pay.

    seconds = job["options"]["pause"]

    async def unit():
        await asyncio.sleep(seconds)

    return unit


def make_request(job):
    """Like a server's request: wait, compute, wait.  Threads overlap the waits, not the computing."""
    compute = make_arithmetic(job)
    seconds = job["options"]["pause"] / 2

    def unit():
        time.sleep(seconds)
        for _ in range(10):
            compute()
        time.sleep(seconds)

    return unit


def make_request_async(job):
    """``make_request`` on an event loop: while one coroutine computes, all the others stand still."""
    import asyncio

    compute = make_arithmetic(job)
    seconds = job["options"]["pause"] / 2

    async def unit():
        await asyncio.sleep(seconds)
        for _ in range(10):
            compute()
        await asyncio.sleep(seconds)

    return unit


def make_nothing(_job):
    """No work at all: what is left is the price of having a worker."""
    return lambda: None


def make_five_workers(job):
    """The textbook's first example: each worker says that it runs, and computes ``factorial(100)``.

    There is so little to do that the run shows one thing only: what it costs to start a worker.
    Standard error takes the text; standard output belongs to the report.
    """
    index = job["index"]

    def unit():
        result = math.factorial(SMALL_FACTORIAL)
        sys.stderr.write("worker %d runs its task (%d digits)\n" % (index, len(str(result))))

    return unit


def make_print_numbers(job):
    """The textbook's second example: each worker prints 0 to 4, one number per pause."""
    index = job["index"]
    seconds = job["options"]["pause"]
    state = {"next": 0}

    def unit():
        sys.stderr.write("worker %d: %d\n" % (index, state["next"] % 5))
        state["next"] += 1
        time.sleep(seconds)

    return unit


TASKS = {
    "factorial": Task(
        "fact", "one factorial", "cpu", 5000, 0, None, make_factorial, None, None
    ),
    "arithmetic": Task(
        "arith", "sum of 1,000 squares", "cpu", 10000, 0, None, make_arithmetic, None, None
    ),
    "hash": Task("hash", "SHA-256 of 1 MiB", "cpu", 1000, 0, None, make_hash, None, None),
    "json": Task("json", "json.loads of 100 kB", "cpu", 300, 0, None, make_json, None, None),
    "regex": Task("regex", "re.findall on 100 kB", "cpu", 200, 0, None, c_code.make_regex, None, None),
    "big-int": Task("bigint", "7 to the power of 60,000", "cpu", 100, 0, None, c_code.make_big_int, None, None),
    "zlib": Task("zlib", "zlib.compress of 256 KiB", "cpu", 60, 0, None, c_code.make_zlib, None, None),
    "lzma": Task("lzma", "lzma.compress of 64 KiB", "cpu", 100, 0, None, c_code.make_lzma, None, None),
    "download": Task(
        "download",
        "one download, simulated by a sleep",
        "io",
        4,
        4,
        2.0,
        make_pause,
        make_pause_async,
        None,
    ),
    "sleep": Task("sleep", "one short sleep", "io", 64, 64, 0.01, make_pause, make_pause_async, None),
    "request": Task(
        "request",
        "wait, 10 sums of 1,000 squares, wait",
        "io",
        64,
        8,
        0.01,
        make_request,
        make_request_async,
        None,
    ),
    "fetch": Task(
        "fetch", "one HTTP GET", "io", 64, 8, 0.01, fetch.make, fetch.make_async, fetch.prepare
    ),
    "file-read": Task(
        "read",
        "one 4 KiB read at a random place",
        "io",
        8000,
        4,
        None,
        file_read.make,
        file_read.make_async,
        file_read.prepare,
    ),
    "five-workers": Task(
        "five", "one tiny task", "textbook", 5, 5, None, make_five_workers, None, None
    ),
    "print-numbers": Task(
        "print", "one number and a pause", "textbook", 10, 2, 1.0, make_print_numbers, None, None
    ),
}

# Tasks of cells about one claim; the rest about them is in ``claim_cells.py``.
ClaimTask = namedtuple("ClaimTask", ["label", "make"])
CLAIM_TASKS = {
    "startup": ClaimTask("start", make_nothing),
    "shared-memory": ClaimTask("share", shared_state.make_write),
    "lost-updates": ClaimTask("update", shared_state.make_updates),
}


def task_of(job):
    """The row of the job's task: at the least its label and how to make its unit."""
    return TASKS.get(job["task"]) or CLAIM_TASKS[job["task"]]


def unit_for(job):
    """The function that does one unit of the job's task."""
    return task_of(job).make(job)


def async_unit_for(job):
    """The coroutine function that does one unit of the job's task."""
    import asyncio

    task = TASKS[job["task"]]
    if task.make_async is not None:
        return task.make_async(job)
    plain = task.make(job)

    async def unit():
        plain()
        # Cooperative: without this the first coroutine would finish before the second begins.
        await asyncio.sleep(0)

    return unit
