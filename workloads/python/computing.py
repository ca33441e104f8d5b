"""Tasks that do nothing but compute.

What decides how such a task scales is not what it computes but whether it holds the global
interpreter lock (GIL) meanwhile: pure Python and most C functions hold it, ``hashlib`` on large
buffers lets it go.  More of both are in ``c_code.py``, ``encryption.py``, ``blur.py`` and others.
"""

import hashlib
import json
import math

HASH_BLOCK_BYTES = 1 << 20


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
