"""The simulation task: pi from random points.

Points are thrown at a square; the part that hits the quarter circle in it is a quarter of pi.
Nobody needs what another one threw, so this is the textbook's example of work that splits well.

Expect: it splits well among processes and sub-interpreters.  Among threads it does not: the loop is
bytecode and ``random()`` is C code that keeps the GIL.

Every worker has a generator of its own.  With the one behind ``random.random()``, free-threaded
workers would wait for each other's numbers.  It is seeded anew for each unit, with one of a few
seeds: so how many points hit is known beforehand, and a unit with another number of hits fails.
"""

import random

POINTS = 5000
# By seed; ``random()`` gives the same numbers for a seed in all versions of Python.
HITS = [3931, 3949, 3949, 3941, 3932, 3867, 3917, 3938]


def make(job):
    """Throw some thousand points and count the hits."""
    generator = random.Random()
    state = {"next": job["index"]}

    def unit():
        seed = state["next"] % len(HITS)
        state["next"] += 1
        generator.seed(seed)
        hits = count_hits(generator, POINTS)
        if hits != HITS[seed]:
            raise RuntimeError("%d points hit with seed %d, and not %d" % (hits, seed, HITS[seed]))

    return unit


def count_hits(generator, points):
    """How many of so many random points of the unit square lie in the quarter circle."""
    hits = 0
    for _ in range(points):
        x, y = generator.random(), generator.random()
        if x * x + y * y <= 1:
            hits += 1
    return hits
