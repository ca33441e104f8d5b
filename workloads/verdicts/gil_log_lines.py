"""Threads that write lines to an unbuffered log: each write lets the GIL go and has to wait for it. The cure has processes instead."""

from common import spread


def write_lines(count):
    with open("/dev/null", "w", buffering=1) as log:
        for i in range(count):
            log.write("request %d took %d us\n" % (i, i % 977))


spread(write_lines, [80_000] * 3)
