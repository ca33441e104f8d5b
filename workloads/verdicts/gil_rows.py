"""Threads that read many rows from SQLite, which takes the GIL back for each. The cure has processes instead."""

import sqlite3

from common import spread


def read_rows(rounds):
    with sqlite3.connect(":memory:") as database:
        numbers = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 5000) select i, i * i % 7 from n"
        for _ in range(rounds):
            sum(square for _, square in database.execute(numbers))


spread(read_rows, [25] * 3)
