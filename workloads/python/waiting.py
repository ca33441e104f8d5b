"""Tasks that wait for nothing but time, and a mixture of waiting and computing."""

import time

import computing


def make_pause(job):
    """Sleep: the thread is blocked in the kernel, needs no CPU and no GIL."""
    seconds = job["options"]["pause"]

    def unit():
        time.sleep(seconds)

    return unit


def make_pause_async(job):
    """The same sleep in an event loop: a timer among many instead of a blocked thread."""
    import asyncio  # Costs 30 ms to import; workers that do not need it must not pay.

    seconds = job["options"]["pause"]

    async def unit():
        await asyncio.sleep(seconds)

    return unit


def make_request(job):
    """Like a server's request: wait, compute, wait.  Threads overlap the waits, not the computing."""
    compute = computing.make_arithmetic(job)
    seconds = job["options"]["pause"] / 2

    def unit():
        time.sleep(seconds)
        for _ in range(10):
            compute()
        time.sleep(seconds)

    return unit


def make_request_async(job):
    """``make_request`` on an event loop: while one coroutine computes, all the others stand still."""
    import asyncio

    compute = computing.make_arithmetic(job)
    seconds = job["options"]["pause"] / 2

    async def unit():
        await asyncio.sleep(seconds)
        for _ in range(10):
            compute()
        await asyncio.sleep(seconds)

    return unit
