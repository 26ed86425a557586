# SPDX-License-Identifier: Apache-2.0
"""Makes objects of Python 20 calls deep, and drops them: about six allocator calls for each.

    churn.py short OBJECTS          each is dropped at once
    churn.py batch OBJECTS          2000 are kept in a list, then dropped together
    churn.py window OBJECTS         each takes the place of one of 1024

Prints "cpu_ns_per_object=F", processor time of the whole process while it works."""
import sys
import time

BATCH, DEPTH = 2000, 18		# below main, above Item.__init__


class Item:
    def __init__(self, number):
        self.number = number + 1000
        self.name = str(number)
        self.tags = [number]


def short(count):
    for number in range(count):
        Item(number)


def batch(count):
    return [Item(number) for number in range(count)]


def window(count, items=[None] * 1024):
    for number in range(count):
        items[number * 7919 & 1023] = Item(number)


def deep(work, count, depth):
    if depth:
        return deep(work, count, depth - 1)
    return work(count)


def main():
    work = {"short": short, "batch": batch, "window": window}[sys.argv[1]]
    rounds = max(1, int(sys.argv[2]) // BATCH)
    deep(work, BATCH, DEPTH)
    begin = time.process_time_ns()
    for _ in range(rounds):
        deep(work, BATCH, DEPTH)
    print("cpu_ns_per_object=%.1f" % ((time.process_time_ns() - begin) / rounds / BATCH))


main()
