# SPDX-License-Identifier: Apache-2.0
"""A service that obeys (tests/shim/snap_service.c) under the library in the mode under test, and what a snapshot of
it says. Each snapshot must say that it is of that mode."""
import json
import os
import re
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from support import *  # noqa: E402,F403

PROGRAM = os.path.join(BUILD, "shim", "shim_snap_service")


def size_class(size):
    """The size that jemalloc has for it: four classes in each doubling, 16 bytes apart below 128."""
    step = max(16, 1 << max(0, (size - 1).bit_length() - 3))
    return (size + step - 1) // step * step


class Service:
    def __init__(self, program=PROGRAM, arguments=(), folder=None, wrapper=(), env=None, **settings):
        self.folder = folder or scratch("snap")
        self.own_mode = modes.is_own(settings)
        self.process = start(list(wrapper) + [program] + list(arguments), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True, bufsize=1,
                             env=env or shim_environment(self.folder, **settings))
        self.pid = self.process.pid
        expect(self.answer() == "ready", "the service should begin")

    def answer(self):
        return self.process.stdout.readline().strip()

    def tell(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def ask(self, line):
        self.tell(line)
        return self.answer()

    def snap(self, *words, seconds=120):
        done = leakdiff("snap", self.pid, *words, seconds=seconds)
        path = done.stdout.strip()
        if not expect(done.returncode == 0 and os.path.isfile(path), "snap should succeed: %s %r" % (done.returncode, done.stderr)):
            finish()
        return Snapshot(path, done.stderr, self.own_mode)

    def quit(self):
        """End it; whatever it said on standard error."""
        self.tell("quit")
        _, error = self.process.communicate(timeout=60)
        expect(self.process.returncode == 9, "the service should end with its own status 9, not %s" % self.process.returncode)
        return error


class Snapshot:
    def __init__(self, path, said="", own_mode=False):
        self.path, self.said = path, said
        self.meta = dict(self.rows("select key, value from meta"))
        wrong = None if own_mode else modes.wrong_snapshot(self.meta, self.notes())
        expect(not wrong, "the snapshot should be of mode %s: %s" % (MODE.name, wrong))
        self.pause_ms = float(self.meta["pause_ns"]) / 1e6

    def rows(self, query):
        done = leakdiff("sql", self.path, query)
        if not expect(done.returncode == 0, "sql should answer %r: %s" % (query, done.stderr[-300:])):
            finish()
        return [tuple(line.split("\t")) for line in done.stdout.splitlines()[1:]]

    def number(self, query):
        return int(self.rows(query)[0][0])

    def live(self, *sizes):
        """How many blocks of these sizes are live. jemalloc's profile has its own sizes, and of stacks with several their
        mean; there the stacks count that lead to snap_service.c."""
        if MODE.live_table:
            return self.number("select count(*) from nodes where size in (%s)" % ",".join(map(str, sizes)))
        return self.number("select coalesce(sum(n.weight), 0) from nodes n join v_stacks s on s.id = n.stack where n.size in (%s) "
                           "and s.text like '%%snap_service.c%%'" % ",".join(str(size_class(size)) for size in sizes))

    @property
    def consistent(self):
        return self.meta["consistent"] == "1"

    def notes(self):
        return "\n".join(row[0] for row in self.rows("select note from notes"))
