"""A log handler that waits for a slow disk under the lock of all handlers. In the cure each thread has a handler of its own."""

import logging
import time

from common import CURED, compute, threads


class Slow(logging.Handler):
    def emit(self, record):
        time.sleep(0.002)


def handle_requests(number):
    log = logging.getLogger(f"worker {number}" if CURED else "all")
    for i in range(50):
        compute(1)
        log.warning("request %d", i)


for name in ["all"] + [f"worker {number}" for number in range(8)]:
    logging.getLogger(name).addHandler(Slow())
threads(handle_requests, range(8))
