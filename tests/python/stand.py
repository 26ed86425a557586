# SPDX-License-Identifier: Apache-2.0
"""Stands still in known places: a thread, asyncio tasks, and greenlets where gevent is installed."""
import asyncio
import sys
import threading
import time


def inner(argument):
    secret = 42
    time.sleep(60)
    return secret


def outer():
    inner("x")


async def leaf(number):
    name = "leaf %d" % number
    await asyncio.sleep(60)
    return name


async def numbers():
    for i in range(3):
        await asyncio.sleep(60)
        yield i


async def middle(number):
    await leaf(number)


async def over():
    async for _ in numbers():
        pass


async def main():
    tasks = [asyncio.ensure_future(middle(n)) for n in range(2)] + [asyncio.ensure_future(over())]
    tasks[0].set_name("first task")
    await asyncio.sleep(0.05)
    print("ready", flush=True)
    await asyncio.gather(*tasks)


def green(number):
    import gevent
    mine = [number]
    gevent.sleep(60)
    return mine


if "gevent" in sys.argv:
    import gevent
    jobs = [gevent.spawn(green, n) for n in range(3)]
    gevent.sleep(0.05)
    print("ready", flush=True)
    gevent.joinall(jobs)
else:
    threading.Thread(target=outer, name="the worker", daemon=True).start()
    asyncio.run(main())
