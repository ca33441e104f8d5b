"""Threads that share one database connection and wait for its answers while they hold it. The cure has a pool of as many as threads."""

import queue
import time

from common import CURED, threads

connections = queue.Queue()
for number in range(6 if CURED else 1):
    connections.put(number)


def handle_requests(count):
    for _ in range(count):
        connection = connections.get()
        time.sleep(0.01)
        connections.put(connection)


threads(handle_requests, [25] * 6)
