"""A server in a process of its own that answers each request after 20 ms, as many at a time as there are."""

import asyncio
import socket

from common import FORK

listening = socket.create_server(("127.0.0.1", 0), backlog=128)
ADDRESS = listening.getsockname()


async def answer(reader, writer):
    await reader.readexactly(8)
    await asyncio.sleep(0.02)
    writer.write(b"answer")
    writer.close()


async def serve():
    async with await asyncio.start_server(answer, sock=listening) as server:
        await server.serve_forever()


def start():
    server = FORK.Process(target=lambda: asyncio.run(serve()), daemon=True)
    server.start()
    return server


def ask():
    """Asks through a blocking socket, and waits for the answer."""
    with socket.create_connection(ADDRESS) as connection:
        connection.sendall(b"question")
        connection.recv(6)
