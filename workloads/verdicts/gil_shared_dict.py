"""Threads that count words in one dictionary under a lock. The cure has processes that count on their own and are merged."""

import threading
from collections import Counter

from common import CURED, FORK, threads

WORDS = [f"word {i * i % 977}" for i in range(200_000)]
ROUNDS = 6


def count_shared(total, lock):
    for _ in range(ROUNDS):
        for begin in range(0, len(WORDS), 1000):
            part = {}
            for word in WORDS[begin : begin + 1000]:
                part[word] = part.get(word, 0) + 1
            with lock:
                for word, count in part.items():
                    total[word] = total.get(word, 0) + count


def count_alone(results):
    total = {}
    count_shared(total, threading.Lock())
    results.put(total)


if CURED:
    results = FORK.SimpleQueue()
    workers = [FORK.Process(target=count_alone, args=(results,)) for _ in range(2)]
    for worker in workers:
        worker.start()
    total = sum((Counter(results.get()) for _ in workers), Counter())
    for worker in workers:
        worker.join()
else:
    total = {}
    lock = threading.Lock()
    threads(lambda lock: count_shared(total, lock), [lock] * 2)
assert sum(total.values()) == 2 * ROUNDS * len(WORDS)
