# SPDX-License-Identifier: Apache-2.0
"""Runs under the library with LEAKDIFF_PYTHON=stacks: keeps blocks that were allocated in every manner of call
and writes where, as sys._getframe says it. Then waits for a line on stdin, so that a snapshot can be taken.

    python stacks.py OUTPUT         a line a block: address, size, JSON of [function, file, line], innermost first
"""
import functools
import json
import random
import signal
import sys
import threading

try:
    import greenlet
except ImportError:
    greenlet = None

SMALL, LARGE = 40, 3000
kept = []


def name_of(code):
    return getattr(code, "co_qualname", code.co_name)


def keep(block, frame):
    """Called on the line that made the block."""
    stack = []
    while frame:
        stack.append((name_of(frame.f_code), frame.f_code.co_filename, frame.f_lineno))
        frame = frame.f_back
    kept.append((block, stack))
    return 0


def both():
    keep(bytes(SMALL), sys._getframe()), keep(bytes(LARGE), sys._getframe())
    keep(b"x" * SMALL, sys._getframe())
    keep(b"x" * LARGE, sys._getframe())
    return 0


def generator(count):
    for n in range(count):
        keep(bytes(SMALL), sys._getframe())
        yield n
        keep(bytes(LARGE), sys._getframe())
        yield from inner_generator(n)


def inner_generator(n):
    keep(bytes(SMALL), sys._getframe())
    yield n


class Wait:
    def __await__(self):
        keep(bytes(SMALL), sys._getframe())
        yield both()


async def coroutine(depth):
    both()
    if depth:
        await coroutine(depth - 1)
    await Wait()
    async for n in async_generator():
        keep(bytes(SMALL), sys._getframe())
    both()


async def async_generator():
    for n in range(3):
        keep(bytes(LARGE), sys._getframe())
        yield n


def drive(one):
    try:
        while True:
            one.send(None)
    except StopIteration:
        pass


def recursion(depth):
    if depth % 7 == 0:
        both()
    if depth:
        recursion(depth - 1)
    if depth % 5 == 0:
        keep(bytes(SMALL), sys._getframe())


def callbacks(depth):
    """Python -> C -> Python, again and again."""
    def key(n):
        both()
        return callbacks(depth - 1) if depth else n
    sorted([2, 1], key=key)
    list(map(lambda n: keep(bytes(SMALL), sys._getframe()), range(2)))
    functools.reduce(lambda a, b: both(), [1, 2, 3])
    [keep(bytes(LARGE), sys._getframe()) for _ in range(2)]
    max([1, 2], key=functools.partial(lambda one, n: both(), 1))
    return 0


class Meta(type):
    def __call__(cls, *arguments):
        keep(bytes(SMALL), sys._getframe())
        return super().__call__(*arguments)


class Thing(metaclass=Meta):
    def __new__(cls, n):
        both()
        return super().__new__(cls)

    def __init__(self, n):
        both()

    def __del__(self):
        both()

    @property
    def value(self):
        return both()

    def __getattr__(self, name):
        return both()

    def __enter__(self):
        return both()

    def __exit__(self, *what):
        both()

    def __lt__(self, other):
        return both()


def classes():
    thing = Thing(1)
    thing.value, thing.other
    with thing:
        both()
    sorted([thing, thing])
    del thing
    try:
        raise KeyError(both())
    except KeyError:
        both()
    finally:
        both()


def lines():
    """The same inner frames below other lines of an outer one."""
    for _ in range(3):
        middle()
        middle()
        (middle(),
         middle(),
         middle())


def middle():
    both()


def made_code():
    """Code objects that come to lie where others of the same shape were."""
    for n in range(200):
        text = "\n" * (n % 5) + "def made():\n" + "  0\n" * (n % 3) + \
               "  keep(bytes(%d), sys._getframe())\n" % (SMALL if n % 2 else LARGE) + "made()\n"
        exec(compile(text, "made %d.py" % (n % 11), "exec"), {"keep": keep, "sys": sys})
        eval("both()")


def handled():
    signal.signal(signal.SIGUSR1, lambda *_: both())
    for _ in range(5):
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        both()


def greenlets():
    def run(n):
        for _ in range(4):
            both()
            greenlet.getcurrent().parent.switch()
        recursion(3)
    several = [greenlet.greenlet(run) for n in range(5)]
    for _ in range(5):
        for one in several:
            one.switch(1)
            both()


FUNCTION = """
def f%d(depth, chance, size=%d):
    for _ in range(chance.randrange(1, 3)):
        what = chance.randrange(9)
        if what == 0:
            keep(bytes(%d), sys._getframe())
        elif what == 1:
            keep(b"y" * size, sys._getframe())
        elif depth == 0 or len(kept) >= most:
            return 0
        elif what < 4:
            functions[chance.randrange(30)](depth - 1, chance)
        elif what < 6:
            functions[chance.randrange(30)](depth - 1, chance), functions[chance.randrange(30)](
                depth - 1, chance)
        elif what == 6:
            sorted([1, 2], key=lambda n: functions[chance.randrange(30)](depth - 1, chance))
        elif what == 7:
            for n in g%d(depth, chance):
                keep(bytes(%d), sys._getframe())
        else:
            recursion(chance.randrange(9))
    return 0


def g%d(depth, chance):
    yield functions[chance.randrange(30)](depth - 1, chance)
    yield keep(bytes(%d), sys._getframe())
"""


def at_random(seed, count):
    chance = random.Random(seed)
    functions = []
    names = {"functions": functions, "most": len(kept) + count}
    names.update((name, globals()[name]) for name in ("keep", "kept", "sys", "recursion"))
    for n in range(30):
        exec(compile(FUNCTION % (n, LARGE + n, SMALL + n, n, SMALL, n, LARGE), "random %d" % n, "exec"), names)
        functions.append(names["f%d" % n])
    while len(kept) < names["most"]:
        chance.choice(functions)(chance.randrange(40), chance)


def threads():
    sys.setswitchinterval(1e-5)
    several = [threading.Thread(target=at_random, args=(n, 200)) for n in range(4)]
    several.append(threading.Thread(target=lines))
    for thread in several:
        thread.start()
    at_random(9, 200)
    for thread in several:
        thread.join()


def main():
    both()
    for _ in generator(4):
        both()
    drive(coroutine(6))
    recursion(150)
    callbacks(4)
    classes()
    lines()
    made_code()
    handled()
    if greenlet:
        greenlets()
    at_random(1, 1500)
    threads()
    lines()
    with open(sys.argv[1], "w") as out:
        for block, stack in kept:
            out.write("%d %d %s\n" % (id(block), sys.getsizeof(block), json.dumps(stack)))
    print("ok", flush=True)
    sys.stdin.readline()


main()
