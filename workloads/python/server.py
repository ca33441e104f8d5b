"""A local HTTP server that answers every GET after a fixed delay.

It prints its address, and ends when its standard input does.
"""

import argparse
import asyncio
import sys

BODY = b"hello from the lab\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(BODY), BODY)


async def serve(delay_seconds):
    """Serve on a free port of the loopback interface until standard input closes."""

    async def answer(reader, writer):
        try:
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(delay_seconds)
            writer.write(ANSWER)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # The client went away; the next one is another matter.
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=1024)
    print("http://127.0.0.1:%d/" % server.sockets[0].getsockname()[1], flush=True)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), ended.set)
    await ended.wait()
    server.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--delay-seconds", type=float, default=0.01)
    asyncio.run(serve(parser.parse_args().delay_seconds))
