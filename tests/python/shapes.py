# SPDX-License-Identifier: Apache-2.0
"""Ways to leak that are known by name, all in one program, each with bytes of its own size. Reads lines: a
number lets that way grow by 40, "use" does the same work and lets go of it, "end" ends. Driven by test_shapes.py."""
import abc
import asyncio
import contextvars
import functools
import logging
import os
import sys
import threading


def body(size):
    return os.urandom(size)


class Session:
    registry = []			# a class attribute


module_list = []
module_dict = {}
errors = []
local = threading.local()
variable = contextvars.ContextVar("seen_requests")
logger = logging.getLogger("piling")
loop = asyncio.new_event_loop()
tasks = set()


class Handler:
    def __init__(self, data):
        self.data = data

    @functools.lru_cache(maxsize=None)
    def title(self):
        return "title"


class View(abc.ABC):
    seen = {}

    def __init__(self, data):
        self.data = data

    @functools.lru_cache(maxsize=None)
    def tax(self):
        return 1

    def on_order(self):
        return self


class Filter(logging.Filter):
    def __init__(self, data):
        super().__init__()
        self.data = data


class Signal:
    def __init__(self):
        self.receivers = []


signal = Signal()
finished = []


class Keeping(logging.Handler):
    def __init__(self, data):
        super().__init__()
        self.data = data


def fail(data):
    raise ValueError("kept")


async def wait(data, event):
    await event.wait()
    return data


def kept_error(n):
    try:
        fail(body(34000))
    except ValueError as error:
        errors.append(error)


def task(n):
    tasks.add(loop.create_task(wait(body(39000), asyncio.Event())))
    loop.run_until_complete(asyncio.sleep(0))


async def answer(data):
    return data


def result(n):
    finished.append(loop.create_task(answer(body(45000))))
    loop.run_until_complete(asyncio.sleep(0))


WAYS = {
    "31": lambda n: Session.registry.append(body(31000)),
    "32": lambda n: module_list.append(body(32000)),
    "33": lambda n: module_dict.update({n: body(33000)}),
    "34": kept_error,
    "35": lambda n: local.__dict__.setdefault("requests", []).append(body(35000)),
    "36": lambda n: variable.set(variable.get(()) + (body(36000),)),
    "37": lambda n: logger.addHandler(Keeping(body(37000))),
    "38": lambda n: Handler(body(38000)).title(),
    "39": task,
    "40": lambda n: View.seen.update({n: body(40000)}),
    "41": lambda n: View(body(41000)).tax(),
    "42": lambda n: logger.addFilter(Filter(body(42000))),
    "43": lambda n: signal.receivers.append(View(body(43000)).on_order),
    "44": lambda n: loop.call_later(86400, print, body(44000)),
    "45": result,
}


def use(n):
    """The same ways, and nothing stays."""
    Session.registry.append(body(31000))
    Session.registry.pop()
    module_list.append(body(32000))
    module_list.pop()
    module_dict[n] = body(33000)
    del module_dict[n]
    try:
        fail(body(34000))
    except ValueError as error:
        errors.append(error)
    errors.clear()
    handler = Keeping(body(37000))
    logger.addHandler(handler)
    logger.removeHandler(handler)
    Handler(body(38000)).title()
    Handler.title.cache_clear()


WAYS["use"] = use
count = 0
for line in sys.stdin:
    if line.strip() not in WAYS:
        break
    for _ in range(40):
        count += 1
        WAYS[line.strip()](count)
    print("ok", flush=True)
os._exit(0)
