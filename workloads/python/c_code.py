"""Tasks that spend their time in C code, with and without the GIL.

For the interpreter a call into C is one step.  Some functions let the GIL go before they start to
compute; while the others compute, no other thread runs, be it for much longer than the switch
interval.
"""

import random
import re


def make_regex(_job):
    """``re.findall`` on some 100 kB of text: keeps the GIL from the first byte to the last."""
    text = " ".join("word%d=%d;" % (number % 97, number) for number in range(8000))
    pattern = re.compile(r"(\w+)=(\d+);")

    def unit():
        pattern.findall(text)

    return unit


def make_big_int(_job):
    """A power with some 50,000 digits: one multiplication of Python's takes milliseconds, with the GIL."""

    def unit():
        return 7 ** 60000

    return unit


def make_zlib(_job):
    """``zlib.compress`` of 256 KiB: lets the GIL go."""
    import zlib

    block = compressible(1 << 18)

    def unit():
        zlib.compress(block)

    return unit


def make_lzma(_job):
    """``lzma.compress`` of 64 KiB at the lowest level: lets the GIL go, too.

    Higher levels need up to 700 MB of memory for each worker; this one needs a few.
    """
    import lzma

    block = compressible(1 << 16)

    def unit():
        lzma.compress(block, preset=0)

    return unit


def compressible(size):
    """Bytes that look like text: the same ones every time, and neither trivial nor hopeless to compress."""
    words = [b"%x" % random.Random(seed).getrandbits(40) for seed in range(500)]
    chosen = random.Random(0)
    text = b" ".join(chosen.choice(words) for _ in range(size // 8))
    return text[:size]
