"""A server that nobody asks: threads that wait for connections and for jobs, and one that looks at the clock twice a second."""

import queue
import select
import socket
import threading
import time

listening = socket.create_server(("127.0.0.1", 0))
jobs = queue.Queue()
poll = select.epoll()
poll.register(listening, select.EPOLLIN)
for wait in [listening.accept, poll.poll] + [jobs.get] * 4:
    threading.Thread(target=wait, daemon=True).start()
for _ in range(3):
    time.sleep(0.5)
