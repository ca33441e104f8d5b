"""HTTP as the fetch, upload and scrape tasks need it: one request on a connection of its own.

The local server answers after a fixed delay that is known, so the best possible time is known too.
Waiting for a socket needs neither CPU nor GIL; threads, processes and asyncio all overlap it.
"""

import contextlib
import http.client
import os
import subprocess
import sys
from urllib.parse import urlsplit


def request(url, body=None):
    """GET, or POST if there is a body, as ``requests`` would do; returns the body of the answer."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=30)
    try:
        connection.request(method_for(body), parts.path or "/", body, {"Connection": "close"})
        response = connection.getresponse()
        answer = response.read()
    finally:
        connection.close()
    if response.status != 200:
        raise RuntimeError("%s answered %d" % (url, response.status))
    return answer


async def request_async(url, body=None):
    """The same on asyncio streams: one thread waits for all sockets at once in epoll."""
    import asyncio

    parts = urlsplit(url)
    # 1.0, as this reads the body up to the end of the connection and no chunks.
    head = "%s %s HTTP/1.0\r\nHost: %s\r\n" % (method_for(body), parts.path or "/", parts.hostname)
    if body is not None:
        head += "Content-Length: %d\r\n" % len(body)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
    try:
        writer.write(head.encode("ascii") + b"\r\n" + (body or b""))
        await writer.drain()
        answer = await reader.read(-1)
    finally:
        writer.close()
    if answer.split(b" ", 2)[1:2] != [b"200"]:
        raise RuntimeError("%s did not answer 200 but %r" % (url, answer[:40]))
    return answer.partition(b"\r\n\r\n")[2]


def method_for(body):
    """What to ask for."""
    return "GET" if body is None else "POST"


@contextlib.contextmanager
def prepare(options):
    """Use ``--url``, or start a server of our own for the length of the run.

    A server of our own is a further process in the traced tree.  A lab that wants the client
    alone starts one beforehand and passes its address.
    """
    if options.get("url"):
        yield {}
        return
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "server.py")
    server = subprocess.Popen(
        [sys.executable, script, "--delay-seconds", str(options["pause"])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        universal_newlines=True,
    )
    try:
        url = server.stdout.readline().strip()
        if not url:
            raise RuntimeError("the local HTTP server did not start; pass --url of a running one")
        yield {"url": url}
    finally:
        server.stdin.close()  # The server ends with its standard input, even if we are killed.
        server.wait()
        server.stdout.close()
