#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Python's graph from the forked child is what the interpreter itself says: objects, sizes, edges, labels,
roots; on every interpreter found, with every allocator, in programs that embed it, frozen or not, and when an object is broken."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import support
from support import expect
import interpreters

HERE = os.path.dirname(os.path.abspath(__file__))
LIBRARY = os.path.join(support.BUILD, "python", "python_dump.so")

if not os.path.exists(LIBRARY):
    support.skip("%s is not built" % LIBRARY)
folder = support.scratch("graph")
found = interpreters.found()
if not found:
    support.skip("no CPython 3.8 to 3.13 was found")


def compare(path, version, name, arguments=(), **environment):
    out = os.path.join(folder, "%s.%s.txt" % (".".join(map(str, version)), name))
    done = support.run([path, *arguments, os.path.join(HERE, "inside.py"), LIBRARY, out] +
                       {"freeze": ["freeze"], "plain": ["paste"]}.get(name, []), 120,
                       env=support.clean_environment(**environment))
    summary = [line for line in done.stdout.splitlines() if " held, " in line]
    expect(done.returncode == 0 and summary, "%s %s: the graph agrees with gc and sys: %s" % (
        path, name, (done.stdout + done.stderr)[-1500:]))
    if summary:
        print("%-9s %s" % (name, summary[0].split(", facts")[0]), flush=True)


for path, version in found:
    compare(path, version, "plain")
for path, version in found:
    if version[:2] in ((3, 8), (3, 11), (3, 13)):
        compare(path, version, "freeze")
        compare(path, version, "malloc", PYTHONMALLOC="malloc")
        compare(path, version, "debug", PYTHONMALLOC="debug")
        compare(path, version, "dev", ["-X", "dev"])
for kind, path, version, environment in interpreters.embedders(folder):
    if kind in ("shared", "static"):	# the others cannot load the library that compares
        compare(path, version, kind, **environment)
support.finish()
