"""A client that waits for one answer after another. The cure waits for eight at a time."""

from concurrent.futures import ThreadPoolExecutor

import slow_server
from common import CURED

server = slow_server.start()
with ThreadPoolExecutor(8 if CURED else 1) as pool:
    list(pool.map(lambda _: slow_server.ask(), range(40)))
server.terminate()
