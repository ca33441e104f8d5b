"""A local HTTP server that answers every request after a fixed delay.

It prints its address, and ends when its standard input does.

================  =======================================================
request           answer
================  =======================================================
GET /links/N      a page with N links, to /item/0, /item/1 and so on
any other GET     a line of text
POST              the SHA-256 of the body, in hexadecimal
================  =======================================================
"""

import argparse
import asyncio
import hashlib
import re
import sys

LINKS_MAX = 100000


def answer_to(head, body):
    """The body of the answer to a request."""
    if head.startswith(b"POST "):
        return hashlib.sha256(body).hexdigest().encode("ascii") + b"\n"
    wanted = re.match(rb"GET /links/(\d{1,6}) ", head)
    if wanted and int(wanted.group(1)) <= LINKS_MAX:
        return page_with(int(wanted.group(1)))
    return b"hello from the lab\n"


def page_with(links):
    """A page with that many links."""
    item = '<li class="item"><a href="/item/%d">Item %d</a> &ndash; one of <b>many</b></li>\n'
    items = "".join(item % (number, number) for number in range(links))
    page = "<!doctype html>\n<html><head><title>The lab</title></head>\n<body>\n<ul>\n%s</ul>\n</body></html>\n"
    return (page % items).encode("ascii")


def length_of_body(head):
    """What the request says that follows its head."""
    length = re.search(rb"\r\ncontent-length: *(\d+)\r\n", head, re.IGNORECASE)
    return int(length.group(1)) if length else 0


async def serve(delay_seconds):
    """Serve on a free port of the loopback interface until standard input closes."""

    async def answer(reader, writer):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            body = answer_to(head, await reader.readexactly(length_of_body(head)))
            await asyncio.sleep(delay_seconds)
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body)
            writer.write(head + body)
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--delay-seconds", type=float, default=0.01)
    asyncio.run(serve(parser.parse_args().delay_seconds))
