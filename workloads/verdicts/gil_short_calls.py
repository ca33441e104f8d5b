"""Threads that alternate between C code without the GIL and a little Python. The cure has processes instead."""

import hashlib

from common import compute, spread

BLOCK = bytes(30_000)


def digest(rounds):
    for _ in range(rounds):
        hashlib.sha256(BLOCK).digest()
        for i in range(2_000):
            i * i % 7


spread(digest, [1_500] * 3)
