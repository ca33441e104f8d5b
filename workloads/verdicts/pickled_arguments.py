"""A pool whose tasks are given large lists: the parent does little but pickle. In the cure the workers have the data since the fork."""

from common import CURED, FORK

LISTS = [list(range(i, i + 60_000)) for i in range(4)]


def total(numbers):
    return sum(numbers)


def total_of(index):
    return sum(LISTS[index])


with FORK.Pool(2) as pool:
    if CURED:
        answers = pool.map(total_of, [i % 4 for i in range(400)], chunksize=50)
    else:
        answers = pool.map(total, [LISTS[i % 4] for i in range(400)], chunksize=1)
assert sum(answers) == 100 * sum(map(sum, LISTS))
