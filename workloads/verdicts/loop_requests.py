"""Coroutines that ask a slow server through a blocking socket. The cure asks with asyncio's streams."""

import asyncio

import slow_server
from common import CURED


async def ask(_):
    if CURED:
        reader, writer = await asyncio.open_connection(*slow_server.ADDRESS)
        writer.write(b"question")
        await reader.readexactly(6)
        writer.close()
    else:
        await asyncio.sleep(0)
        slow_server.ask()


async def main():
    for _ in range(4):
        await asyncio.gather(*map(ask, range(10)))


server = slow_server.start()
asyncio.run(main())
server.terminate()
