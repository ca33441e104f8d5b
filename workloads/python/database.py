"""The database task: a query of an SQLite database, by ``sqlite3`` of the standard library.

There is no server: SQLite is C code in the worker's own process, so a query on a small database,
which is in memory after the first time, is computing and not waiting.

``sqlite3`` lets the GIL go while SQLite looks for the next row of the result, and takes it back to
make Python objects of that row.  So what counts is how much the query does for each row that it
returns.  Expect: this one reads 20,000 rows and returns 8, and threads run in parallel, like processes.
With ``SELECT *`` they would ask for the GIL 20,000 times, between two Python objects each.

Each worker has a connection of its own.  Workers that share one wait for each other whatever the GIL
does: SQLite takes a lock for each step.
"""

import contextlib
import os
import random
import sqlite3

import directories

ORDERS = 20000
REGIONS = 8
SMALLEST = 2000
QUERY = "SELECT region, COUNT(*), SUM(amount) FROM orders WHERE amount >= ? GROUP BY region ORDER BY region"


def make(job):
    """Run the query on a connection of its own; the answer must be what Python computed from the same rows."""
    answers = query_again_and_again(job["options"])
    next(answers)

    def unit():
        next(answers)

    return unit


def query_again_and_again(options):
    """Open the database; then one query for each further step.  It is closed when nobody wants another."""
    expected = [tuple(row) for row in options["answer"]]
    try:
        # No argument by its name: sub-interpreters of Python 3.12.1 would crash of it when they end.
        with contextlib.closing(sqlite3.connect(options["path"])) as connection:
            while True:
                yield
                if connection.execute(QUERY, (SMALLEST,)).fetchall() != expected:
                    raise RuntimeError("the query gave another answer than it should")
    except sqlite3.Error as error:
        raise RuntimeError("cannot query %s: %s" % (options["path"], error)) from error


def orders():
    """The rows of the table: region and amount."""
    chance = random.Random(0)
    return [(chance.randrange(REGIONS), chance.randrange(10000)) for _ in range(ORDERS)]


def answer_to_query(rows):
    """What the query must give, computed without a database."""
    large = [(region, amount) for region, amount in rows if amount >= SMALLEST]
    amounts = [[amount for where, amount in large if where == region] for region in range(REGIONS)]
    return [(region, len(found), sum(found)) for region, found in enumerate(amounts)]


@contextlib.contextmanager
def prepare(options):
    """Make the database in ``--directory`` or the temporary one, and remove it afterwards."""
    rows = orders()
    with directories.scratch(options.get("directory")) as directory:
        path = os.path.join(directory, "orders.sqlite")
        try:
            with contextlib.closing(sqlite3.connect(path)) as connection, connection:
                connection.execute("CREATE TABLE orders (region INTEGER, amount INTEGER)")
                connection.executemany("INSERT INTO orders VALUES (?, ?)", rows)
        except sqlite3.Error as error:
            raise RuntimeError("cannot make the database %s: %s" % (path, error)) from error
        yield {"path": path, "answer": answer_to_query(rows)}
