# SPDX-License-Identifier: Apache-2.0
"""A small service for the tests: one command a line on stdin, "ok" after each.

    leak N BYTES    N objects of BYTES bytes, kept by lru_cache on a method
    small N         N small instances in a module's list
    hog MS LIBRARY  hold the GIL in C for MS milliseconds, in another thread
    cycle N         N cyclic garbage pairs of 100 kB, the collector disabled
    local N         N x 100 kB, held by a local variable of another thread
"""
import functools
import gc
import sys
import threading

kept = []


class Body:
    def __init__(self, size):
        self.data = bytearray(size)


class Handler:
    def __init__(self, size):
        self.request = Body(size)

    @functools.lru_cache(maxsize=None)
    def header_for(self, name):
        return "header " + name


class Small:
    def __init__(self, n):
        self.number = n


class Node:
    pass


def make_cycles(count):
    for _ in range(count):
        a, b = Node(), Node()
        a.other, b.other, a.payload = b, a, bytearray(100000)


def hold(count):
    mine_alone = [bytearray(100000) for _ in range(count)]
    threading.Event().wait()
    return mine_alone


def main():
    if "nogc" in sys.argv:
        gc.disable()
    for line in sys.stdin:
        words = line.split()
        if words[0] == "leak":
            for n in range(int(words[1])):
                Handler(int(words[2])).header_for("x")
        elif words[0] == "small":
            kept.extend(Small(n) for n in range(int(words[1])))
        elif words[0] == "hog":
            import ctypes	# not where libpython was opened RTLD_LOCAL
            library = ctypes.PyDLL(words[2])
            threading.Timer(0.2, library.hog, (int(words[1]),)).start()
        elif words[0] == "cycle":
            make_cycles(int(words[1]))
        elif words[0] == "local":
            threading.Thread(target=hold, args=(int(words[1]),), daemon=True, name="holder").start()
        print("ok", flush=True)


main()
