"""The first two examples of many textbooks."""

import math
import sys
import time

SMALL_FACTORIAL = 100


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
