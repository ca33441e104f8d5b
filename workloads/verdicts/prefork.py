"""A pre-fork server under load, by clients that ask again as soon as they have an answer.

sick: one worker answers. cure, healthy: one for each CPU."""

import select
import socket
import sys

from common import CPUS, FORK, compute

REQUESTS, CLIENTS = 240, 6
WORKERS = 1 if sys.argv[1] == "sick" else CPUS

listening = socket.create_server(("127.0.0.1", 0), backlog=128)
listening.setblocking(False)


def serve():
    poll = select.epoll()
    poll.register(listening, select.EPOLLIN)
    connections = {}
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == listening.fileno():
                try:
                    connection, _ = listening.accept()
                except BlockingIOError:
                    continue
                poll.register(connection, select.EPOLLIN)
                connections[connection.fileno()] = connection
            elif connections[descriptor].recv(100):
                compute(4)
                connections[descriptor].sendall(b"answer")
            else:
                poll.unregister(descriptor)
                connections.pop(descriptor).close()


def ask():
    for _ in range(REQUESTS // CLIENTS // 4):
        with socket.create_connection(listening.getsockname()) as connection:
            for _ in range(4):
                connection.sendall(b"question")
                connection.recv(100)


workers = [FORK.Process(target=serve, daemon=True) for _ in range(WORKERS)]
clients = [FORK.Process(target=ask) for _ in range(CLIENTS)]
for process in workers + clients:
    process.start()
for client in clients:
    client.join()
for worker in workers:
    worker.terminate()
