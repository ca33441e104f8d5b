"""Coroutines that ask a slow server through a blocking socket. The cure asks with asyncio's streams."""

import asyncio
import socket
import time

from common import CURED, FORK

listening = socket.create_server(("127.0.0.1", 0), backlog=128)


async def answer(reader, writer):
    await reader.readexactly(8)
    await asyncio.sleep(0.02)
    writer.write(b"answer")
    writer.close()


async def serve():
    async with await asyncio.start_server(answer, sock=listening) as server:
        await server.serve_forever()


async def ask(_):
    if CURED:
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        writer.write(b"question")
        await reader.readexactly(6)
        writer.close()
    else:
        await asyncio.sleep(0)
        with socket.create_connection(listening.getsockname()) as connection:
            connection.sendall(b"question")
            connection.recv(6)


async def main():
    for _ in range(4):
        await asyncio.gather(*map(ask, range(10)))


server = FORK.Process(target=lambda: asyncio.run(serve()), daemon=True)
server.start()
time.sleep(0.05)
asyncio.run(main())
server.terminate()
