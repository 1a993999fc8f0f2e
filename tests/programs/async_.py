"""Coroutines awaiting coroutines, the last of which blocks, beside suspended tasks and an idle event loop: async_.py"""

import asyncio
import os
import threading

from oracle import snapshot


async def blocking():
    os.write(1, snapshot(parking=["idle_loop"])) and os.read(0, 1)


class Awaitable:
    def __init__(self, coroutine):
        self.coroutine = coroutine

    def __await__(self):
        return (yield from self.coroutine.__await__())


class Manager:
    async def __aenter__(self):
        await Awaitable(blocking())

    async def __aexit__(self, *error):
        pass


async def ticking():
    yield 0
    async with Manager():
        yield 1


class AsyncIterator:
    def __init__(self):
        self.source = ticking()

    def __aiter__(self):
        return self

    async def __anext__(self):
        return await self.source.__anext__()


async def collecting():
    return [item async for item in AsyncIterator()]


async def looping():
    async for item in ticking_twice():
        await asyncio.sleep(0)


async def ticking_twice():
    yield 0
    yield await collecting()


async def sleeping():
    await asyncio.sleep(3600)


async def waiting_for(event):
    await event.wait()


async def waiting_deep(depth, event):
    if depth:
        return await waiting_deep(depth - 1, event)
    await waiting_for(event)


async def gathering(event):
    await asyncio.gather(waiting_for(event), sleeping())


async def main():
    event = asyncio.Event()
    coroutines = sleeping(), waiting_deep(5, event), gathering(event), asyncio.Queue().get()
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    half_consumed = ticking()
    await half_consumed.__anext__()
    for _ in range(5):
        await asyncio.sleep(0)
    await looping()
    return tasks, half_consumed


def idle_loop():
    asyncio.new_event_loop().run_forever()


threading.Thread(target=idle_loop, name="idle loop", daemon=True).start()
asyncio.run(main())
os._exit(0)
