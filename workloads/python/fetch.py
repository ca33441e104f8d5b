"""The fetch task: GET a page from a server that answers after a fixed delay.

Expect: all waiting, so everything that overlaps it comes near the best possible time, which is
``work / workers * delay``.
"""

import web


def make(job):
    """One GET."""
    url = job["options"]["url"]
    return lambda: web.request(url)


def make_async(job):
    """The same GET on an event loop."""
    url = job["options"]["url"]
    return lambda: web.request_async(url)
