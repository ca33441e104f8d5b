"""An event loop whose handlers compute: one thread does all the work. In the cure processes do."""

import asyncio
from concurrent.futures import ProcessPoolExecutor

from common import CPUS, CURED, FORK, compute


async def handle(pool):
    await asyncio.sleep(0.001)
    if CURED:
        await asyncio.get_running_loop().run_in_executor(pool, compute, 20)
    else:
        compute(20)


async def main():
    with ProcessPoolExecutor(CPUS, FORK) as pool:
        for _ in range(4):
            await asyncio.gather(*(handle(pool) for _ in range(16)))


asyncio.run(main())
