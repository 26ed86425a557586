#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A Python process with many objects of ordinary kinds, which answers lines on its standard input.

    objects.py COUNT        about COUNT objects in all; prints "ready objects=N tracked=N tool=NAME"

    get         ns that gc.get_objects() takes
    growth      ns that objgraph.show_growth() takes; without objgraph a Counter over the types of gc.get_objects()
    more        make the leak larger by 1000 requests
    answer      ns from looking for the growth to a chain that holds one of the objects: show_growth(), by_type() and
                find_backref_chain(); without objgraph a Counter and a search through gc.get_referrers()
    watch       run until the next line comes; ns of the longest moment in which nothing ran
"""
import gc
import io
import random
import select
import sys
import time
from collections import Counter

try:
    import objgraph
except ImportError:
    objgraph = None

PER_RECORD = 13


class User:
    def __init__(self, number):
        self.name = "user %d" % number
        self.mail = "user.%d@example.org" % number
        self.visits = [number + 1000000, number * 1.5]


class Point:
    __slots__ = ("x", "y", "label")

    def __init__(self, x, label):
        self.x, self.y, self.label = x + 2000000, x * 0.5, label


class Request:
    def __init__(self, number):
        self.path = "/item/%d" % number
        self.body = bytes(64)


def record(n):
    """A dict, a list, a tuple, two instances, three strings, three ints and two floats."""
    user = User(n)
    return {"id": n, "user": user, "point": Point(n, user.name), "pair": (user.mail, "tag %d" % n)}


KEPT, CACHE = [], {}


def grow():
    for _ in range(1000):
        CACHE[len(CACHE)] = Request(len(CACHE))


def timed(call):
    begin = time.perf_counter_ns()
    call()
    return time.perf_counter_ns() - begin


def get():
    gc.get_objects()


def growth():
    if objgraph:
        objgraph.show_growth(file=io.StringIO())
    else:
        Counter(type(o).__name__ for o in gc.get_objects())


def answer():
    growth()
    if objgraph:
        chain = objgraph.find_backref_chain(random.choice(objgraph.by_type("Request")), objgraph.is_proper_module)
    else:
        chain = [random.choice([o for o in gc.get_objects() if type(o).__name__ == "Request"])]
        while chain[0] is not globals() and len(chain) < 20:
            holders = [o for o in gc.get_referrers(chain[0]) if o is not chain and type(o).__name__ in ("dict", "Request")]
            chain.insert(0, holders[0])
    if len(chain) < 3:
        sys.exit("no chain was found: %r" % chain[0])


def watch():
    longest, last, turn = 0, time.perf_counter_ns(), 0
    while True:
        now = time.perf_counter_ns()
        longest, last, turn = max(longest, now - last), now, turn + 1
        if turn % 1000 == 0 and select.select([sys.stdin], [], [], 0)[0]:
            sys.stdin.readline()
            return longest


def main():
    for n in range(int(sys.argv[1]) // PER_RECORD):
        KEPT.append(record(n))
    grow()
    gc.collect()
    print("ready objects=%d tracked=%d tool=%s" % (
        len(KEPT) * PER_RECORD, len(gc.get_objects()), "objgraph-" + objgraph.__version__ if objgraph else "gc"), flush=True)
    for line in iter(sys.stdin.readline, ""):
        word = line.strip()
        if word == "more":
            grow()
            print("done", flush=True)
        elif word == "watch":
            print("ns=%d" % watch(), flush=True)
        else:
            print("ns=%d" % timed({"get": get, "growth": growth, "answer": answer}[word]), flush=True)


if __name__ == "__main__":
    main()
