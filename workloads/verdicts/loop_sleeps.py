"""Coroutines of which each makes a call that blocks, such as a request by a library that knows no event loops. The cure awaits."""

import asyncio
import time

from common import CURED, compute


async def handle(_):
    await asyncio.sleep(0.001)
    if CURED:
        await asyncio.sleep(0.02)
    else:
        time.sleep(0.02)
    compute(1)
    await asyncio.sleep(0.001)


async def main():
    for _ in range(3):
        await asyncio.gather(*map(handle, range(15)))


asyncio.run(main())
