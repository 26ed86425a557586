#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Broken objects cost themselves, never the snapshot or the service; what C holds is found; a library that is
opened RTLD_LOCAL is found; starting and ending interpreters are left in peace."""
import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import support
from support import expect
import interpreters

DUMP = os.path.join(support.BUILD, "python", "python_dump.so")
HEAD = "import ctypes, sys, time\nlib = ctypes.PyDLL(%r)\n" % DUMP
WAIT = "print('ready', flush=True)\nsys.stdin.readline()\n"


def snapshot_of(python, program, what, arguments=(), **environment):
    """Run a program up to 'ready', take a snapshot; its path and the answer of diff about it."""
    folder = support.scratch("broken")
    process = support.start([python, *arguments, "-c", HEAD + program + WAIT], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, env=support.shim_environment(folder, **environment))
    ready = process.stdout.readline() == b"ready\n"
    expect(ready, "%s: the program starts" % what)
    path = os.path.join(folder, "1.snap")
    begin = time.monotonic()
    done = support.leakdiff("snap", process.pid, "-o", path)
    took = time.monotonic() - begin
    expect(done.returncode == 0, "%s: snap succeeds: %s" % (what, done.stderr))
    process.stdin.close()
    expect(process.wait(20) == 0, "%s: the program ends well, not with %s" % (what, process.returncode))
    support.stop(process)
    if done.returncode:
        return None, None, took
    answer = support.leakdiff(path, path, "--json")
    return path, json.loads(answer.stdout)["snapshots"][0], took


def fact(path, key):
    out = support.leakdiff("sql", path, "select value from meta where key = '%s'" % key).stdout.splitlines()
    return out[1] if len(out) > 1 else None


def broken_traversals(python, version):
    for how, name in enumerate(("fault", "loop", "visits", "wild", "abort")):
        program = ("lib.broken_type.restype = ctypes.py_object\n"
                   "kept = [lib.broken_type(%d)() for _ in range(2)]\n"
                   "class Fine: pass\nfine = [Fine() for _ in range(100)]\n" % how)
        what = "%s %s" % (".".join(map(str, version)), name)
        path, answer, took = snapshot_of(python, program, what)
        if not path:
            continue
        expect(answer["objects"] > 5000, "%s: the other objects are there: %s" % (what, answer["objects"]))
        expect(int(fact(path, "python_faults") or 0) >= 1, "%s: what was lost is counted: %s" % (
            what, fact(path, "python_faults")))
        first = fact(path, "python_first_fault") or ""
        # which of the two is met first depends on their addresses
        wanted = "discover of broken.%s at 0x" % name.capitalize()
        ending = {"fault": ": signal 11 at 0x8 in 0x", "wild": ": signal 11 at 0xdeadbee", "abort": ": signal 6 in 0x"}
        expect(first.startswith(wanted) and ending.get(name, ": no end") in first,
               "%s: the first fault is named: %s" % (what, first))
        for command in (("check", path), ("diff", path, path)):
            said = support.leakdiff(*command)
            expect(first and "the first was " + first in said.stdout + said.stderr,
                   "%s: %s says what was lost: %s" % (what, command[0], (said.stdout + said.stderr)[-600:]))
        chain = support.leakdiff("chain", path, "--type", "__main__.Fine", "--json")
        chains = json.loads(chain.stdout)["chains"]
        expect(chains and chains[0]["state"] == "referenced", "%s: and their chains" % what)
        print("%-16s %.1f s" % (what, took), flush=True)


def held_from_c(python):
    program = ("class A: pass\nclass B: pass\nclass C: pass\n"
               "lib.keep.argtypes = [ctypes.py_object, ctypes.c_int]\n"
               "lib.keep(A(), 0); lib.keep(B(), 1)\n"
               "c = C(); ctypes.pythonapi.Py_IncRef(ctypes.py_object(c)); del c\n")
    path, _, _ = snapshot_of(python, program, "held from C")
    # what nothing in memory explains is held from C, or by a word that the interpreter's state still has
    for name, kinds, words in (("A", "global", "held_by_array"), ("B", "global", "held_by_block"),
                               ("C", "python-c global", "")):
        out = json.loads(support.leakdiff("chain", path, "--type", "__main__." + name, "--json").stdout)["chains"]
        holder = out[0]["holder"] if out else None
        expect(holder and holder["kind"] in kinds and words in holder["name"],
               "%s is held by %s %s: %s" % (name, kinds, words, holder))


EMBED = r'''
#include <dlfcn.h>
#include <stdio.h>
int main(int argc, char **argv)
{
	void *python = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
	void (*initialise)(void) = (void (*)(void))dlsym(python, "Py_Initialize");
	int (*run)(const char *) = (int (*)(const char *))dlsym(python, "PyRun_SimpleString");
	initialise();
	return run("class Kept: pass\nkept = [Kept() for _ in range(50)]\nblob = bytearray(1 << 20)\n"
		   "import sys\nprint('ready', flush=True)\nsys.stdin.readline()\n");
}
'''


def embedded_locally(python, version):
    root = os.path.dirname(os.path.dirname(os.path.realpath(python)))
    library = os.path.join(root, "lib", "libpython%d.%d.so.1.0" % version[:2])
    if not os.path.exists(library):
        return
    folder = support.scratch("embed")
    source, program = os.path.join(folder, "embed.c"), os.path.join(folder, "embed")
    with open(source, "w") as out:
        out.write(EMBED)
    if support.run(["gcc", "-o", program, source]).returncode:
        return
    process = support.start([program, library], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            env=support.shim_environment(folder, PYTHONHOME=root))
    expect(process.stdout.readline() == b"ready\n", "an embedder starts")
    path = os.path.join(folder, "1.snap")
    done = support.leakdiff("snap", process.pid, "-o", path)
    expect(done.returncode == 0, "an embedder is snapshotted: %s" % done.stderr)
    out = json.loads(support.leakdiff("chain", path, "--type", "__main__.Kept", "--json").stdout)["chains"]
    expect(out and out[0]["holder"]["kind"] == "python-module", "%s opened RTLD_LOCAL is found: %s" % (library, out[:1]))
    process.stdin.close()
    expect(process.wait(20) == 0, "the embedder ends well")
    support.stop(process)


def start_and_end(python, version):
    """Snapshots all the time while short interpreters start and end."""
    folder = support.scratch("hammer")
    env = support.shim_environment(folder)

    def work():
        for program in ("pass", "import threading, time\nt = threading.Thread(target=time.sleep, args=(0.02,)); t.start()",
                        "import subprocess; subprocess.run(['true'])",
                        "import gc\nclass A: pass\nfor i in range(2000):\n a = A(); a.a = a\ngc.collect()"):
            done = support.run([python, "-c", program], 60, env=env)
            expect(done.returncode == 0 and not done.stderr, "%s: a short program ends well: %s %s" % (
                ".".join(map(str, version)), done.returncode, done.stderr[-300:]))
    snapper = support.Snapper(folder, wanted=4)
    snapper.start()
    begin = time.monotonic()
    while not snapper.enough() and time.monotonic() - begin < 12:
        work()
    snapper.end()
    snapper.failed = [f for f in snapper.failed if "before it answered" not in f]
    snapper.report("%s starting and ending" % ".".join(map(str, version)))


found = interpreters.found()
if not os.path.exists(DUMP) or not found:
    support.skip("nothing to test with")
only = sys.argv[1:]
for python, version in found:
    if (not only or "broken" in only) and version[:2] in ((3, 8), (3, 11), (3, 13)):
        broken_traversals(python, version)
    if not only or "embed" in only:
        embedded_locally(python, version)
    if "hammer" in only or (not only and version[:2] in ((3, 8), (3, 11), (3, 12), (3, 13))):
        start_and_end(python, version)
if not only or "held" in only:
    held_from_c("/usr/bin/python3")
support.finish()
