#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Python stacks of blocks, on every interpreter found: exactly what sys._getframe said when they were allocated."""
import json
import os
import sqlite3
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import support
from support import expect
import interpreters

HERE = os.path.dirname(os.path.abspath(__file__))
DEPTH = 64				# LEAKDIFF_DEPTH's default
SMALL_MOST = 512			# larger ones come from malloc
DEBUG_HEADS = 32			# in front of a block of malloc's, of a debug build's two allocators


def snapshot_of(path, arguments=(), **environment):
    """What the program says of its blocks, and the path of a snapshot of it."""
    folder = support.scratch("stacks")
    said, snap = os.path.join(folder, "said"), os.path.join(folder, "1.snap")
    service = support.start([path, *arguments, os.path.join(HERE, "stacks.py"), said], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            env=support.shim_environment(folder, **environment))
    ready = service.stdout.readline()
    expect(ready == b"ok\n", "the program comes to its end: %r, %s" % (ready, b"" if ready else service.stderr.read()[-600:]))
    done = support.leakdiff("snap", service.pid, "-o", snap)
    expect(done.returncode == 0, "snap succeeds: %s" % done.stderr)
    service.stdin.close()
    expect(service.wait(30) == 0, "the program ends with 0, not %s" % service.returncode)
    err = service.stderr.read().decode()
    expect(err == "", "and says nothing: %s" % err[-300:])
    support.stop(service)
    with open(said) as f:
        blocks = [line.split(" ", 2) for line in f]
    return {int(a): (int(size), json.loads(stack)) for a, size, stack in blocks}, snap


def stacks_in(snap):
    """address -> (frames as [function, file, line], cut, thread)"""
    db = sqlite3.connect("file:%s?mode=ro" % snap, uri=True)
    frames = {i: ((function, file, line) if language == "python" else None) for i, function, file, line, language in
              db.execute("SELECT id, function, file, line, language FROM frames")}
    stacks = {i: ([list(frames[f]) for f in json.loads(ids) if frames[f]], bool(cut))
              for i, cut, ids in db.execute("SELECT id, truncated, frames FROM stacks")}
    db.close()
    done = support.leakdiff("sql", snap, "SELECT 'node ' || addr || ' ' || stack FROM nodes WHERE stack IS NOT NULL")
    expect(done.returncode == 0, "sql answers: %s" % done.stderr)
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("node ")]
    return {int(addr): stacks[int(stack)] for _, addr, stack in rows if int(stack) in stacks}


def compare(what, blocks, found, wanted, least):
    right = absent = wrong = 0
    for address, (size, stack) in blocks.items():
        if not wanted(size):
            continue
        if address not in found and size > SMALL_MOST:
            address -= DEBUG_HEADS
        if address not in found:
            absent += 1
            expect(absent > 3, "%s: a block of %d bytes made at %s has a stack" % (what, size, stack[:2]))
            continue
        frames, cut = found[address]
        if frames == stack[:DEPTH] and cut == (len(stack) > DEPTH):
            right += 1
            continue
        wrong += 1
        where = next((n for n, (a, b) in enumerate(zip(frames, stack)) if a != b), min(len(frames), len(stack)))
        expect(wrong > 5, "%s: %d bytes: frame %d should be %s, is %s (%d frames, %d expected, cut %s)" % (
            what, size, where, stack[where:where + 1], frames[where:where + 1], len(frames), len(stack), cut))
    expect(not wrong and not absent and right >= least, "%s: %d stacks are right, %d wrong, %d absent" % (
        what, right, wrong, absent))
    return right


only = sys.argv[1:]
for path, version in interpreters.found():
    name = "%s%s" % (".".join(map(str, version)), " debug" if "dbg" in path else "")
    if only and name not in only:
        continue
    blocks, snap = snapshot_of(path, LEAKDIFF_PYTHON="stacks")
    every = compare(name + " stacks", blocks, stacks_in(snap), lambda size: True, 3000)
    line = "%-14s %d stacks are right" % (name, every)
    if path.startswith("/usr/bin") or version[:2] in ((3, 8), (3, 13)):
        blocks, snap = snapshot_of(path)
        line += ", %d in the default mode" % compare(name + " auto", blocks, stacks_in(snap),
                                                      lambda size: size > SMALL_MOST, 1000)
    if path == "/usr/bin/python3":
        blocks, snap = snapshot_of(path, LEAKDIFF_PYTHON="stacks", LEAKDIFF_MODE="lite")
        found = stacks_in(snap)
        sample = {address: block for address, block in blocks.items() if address in found}
        line += ", %d of a sample" % compare(name + " lite", sample, found, lambda size: True, 1)
    print(line, flush=True)
support.finish()
