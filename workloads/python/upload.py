"""The upload task: POST 64 KiB to a server that takes it and answers after a fixed delay.

The answer is the SHA-256 of what arrived, so ``--url`` is for servers that answer with that.

Expect: as with fetch.  To the scheduler, sending is copying to a socket, and what takes its time is
waiting for the answer.
"""

import hashlib
import os

import web

BODY_BYTES = 64 << 10


def make(job):
    """One POST; what arrived must be what was sent."""
    url, body = job["options"]["url"], os.urandom(BODY_BYTES)
    checksum = hashlib.sha256(body).hexdigest()

    def unit():
        check(url, web.request(url, body), checksum)

    return unit


def make_async(job):
    """The same POST on an event loop."""
    url, body = job["options"]["url"], os.urandom(BODY_BYTES)
    checksum = hashlib.sha256(body).hexdigest()

    async def unit():
        check(url, await web.request_async(url, body), checksum)

    return unit


def check(url, answer, checksum):
    """Fail unless the server answered with the checksum."""
    if answer.decode("ascii", "replace").strip() != checksum:
        raise RuntimeError("%s did not answer with the SHA-256 of the upload, but %r" % (url, answer[:80]))
