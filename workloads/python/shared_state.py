"""What workers share: a list, a counter, and the ways to write to them.

This is the workers' side; ``sharing.py`` has the cells that run it and what to expect of them.

An update is "read, compute, write", and it computes in a function of its own.  Where a function is
called, CPython may take the GIL away, so a thread that comes back writes what it computed from a
value that is long out of date: it wipes out what the others did meanwhile.
"""

import threading

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
