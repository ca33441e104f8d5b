"""Threads that compute, in a program with large imports. The cure spawns processes, and each has to import everything again."""

import asyncio  # noqa: F401
import decimal  # noqa: F401
import email.message  # noqa: F401
import http.server  # noqa: F401
import multiprocessing
import sqlite3  # noqa: F401
import xml.dom.minidom  # noqa: F401

from common import CURED, compute, threads

if __name__ == "__main__":
    if CURED:
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            pool.map(compute, [450] * 2, chunksize=1)
    else:
        threads(compute, [450] * 2)
