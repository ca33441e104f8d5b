"""The scraping task: fetch a page and find the links in it, with ``html.parser``.

A mixture: the server answers after a fixed delay, which is waiting, and the parser is written in
Python, which is computing with the GIL.

Expect: threads and asyncio overlap the waiting and not the parsing, so they gain until one core is
busy with parsing, however many workers there are.  Processes go on to gain from there, and so does
the hybrid, with one event loop on each core.
"""

from html.parser import HTMLParser
from urllib.parse import urljoin

import web

LINKS = 100


class Links(HTMLParser):
    """Collects where the links of a page lead."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        if tag == "a":
            self.found += [value for name, value in attrs if name == "href"]


def make(job):
    """One page, fetched and parsed."""
    url = urljoin(job["options"]["url"], "links/%d" % LINKS)

    def unit():
        parse(url, web.request(url))

    return unit


def make_async(job):
    """The same on an event loop; while it parses one page, all the others stand still."""
    url = urljoin(job["options"]["url"], "links/%d" % LINKS)

    async def unit():
        parse(url, await web.request_async(url))

    return unit


def parse(url, page):
    """Find the links; they must be those that the server puts into a page of so many."""
    parser = Links()
    parser.feed(page.decode("utf-8", "replace"))
    parser.close()
    if parser.found != ["/item/%d" % number for number in range(LINKS)]:
        raise RuntimeError("%s has %d links and not the %d that it should" % (url, len(parser.found), LINKS))
