"""A thread passes small items to another through a bounded queue, one by one. The cure passes a thousand at a time."""

import queue
import threading

from common import CURED

ITEMS = 60_000
BATCH = 1000 if CURED else 1
items = queue.Queue(4)


def consume():
    total = 0
    while (part := items.get()) is not None:
        total += sum(part)
    assert total == sum(range(ITEMS))


consumer = threading.Thread(target=consume)
consumer.start()
for begin in range(0, ITEMS, BATCH):
    items.put(range(begin, begin + BATCH))
items.put(None)
consumer.join()
