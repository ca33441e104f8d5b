"""The fetch task: GET a page from a local server that answers after a fixed delay.

The delay is known, so the best possible time is known too: ``work / workers * delay``.
Waiting for a socket needs neither CPU nor GIL; threads, processes and asyncio all overlap it.
"""

import contextlib
import os
import subprocess
import sys
from urllib.parse import urlsplit


def make(job):
    """One GET on a connection of its own, as ``requests.get`` would do."""
    import http.client

    parts = urlsplit(job["options"]["url"])

    def unit():
        connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=30)
        try:
            connection.request("GET", parts.path or "/", headers={"Connection": "close"})
            response = connection.getresponse()
            response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise RuntimeError("%s answered %d" % (job["options"]["url"], response.status))

    return unit


def make_async(job):
    """The same GET on asyncio streams: one thread waits for all sockets at once in epoll."""
    import asyncio

    parts = urlsplit(job["options"]["url"])
    request = "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % (parts.path or "/", parts.hostname)

    async def unit():
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
        try:
            writer.write(request.encode("ascii"))
            await writer.drain()
            answer = await reader.read(-1)
        finally:
            writer.close()
        status = answer.split(b" ", 2)[1:2]
        if status != [b"200"]:
            raise RuntimeError("%s did not answer 200 but %r" % (job["options"]["url"], answer[:40]))

    return unit


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
