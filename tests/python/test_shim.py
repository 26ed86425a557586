#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Python services under the library, on every interpreter found: what grew, who holds it, which line made it;
and what the service must not notice."""
import json
import os
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import support
from support import expect
import interpreters

HERE = os.path.dirname(os.path.abspath(__file__))
DUMP = os.path.join(support.BUILD, "python", "python_dump.so")


class Service:
    def __init__(self, python, arguments=(), script_arguments=(), **environment):
        self.folder = support.scratch("python")
        self.process = support.start([python, *arguments, os.path.join(HERE, "leak.py"), *script_arguments],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                     env=support.shim_environment(self.folder, **environment))
        self.count = 0

    def do(self, command):
        self.process.stdin.write(command.encode() + b"\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        expect(answer == b"ok\n", "%r is done: %r" % (command, answer))

    def snap(self):
        self.count += 1
        path = os.path.join(self.folder, "%d.snap" % self.count)
        done = support.leakdiff("snap", self.process.pid, "-o", path)
        expect(done.returncode == 0, "snap succeeds: %s" % done.stderr)
        return path

    def end(self, allow_stderr=False):
        self.process.stdin.close()
        status = self.process.wait(30)
        err = self.process.stderr.read().decode()
        expect(status == 0, "the service ends with status 0, not %s: %s" % (status, err[-500:]))
        if not allow_stderr:
            expect(err == "", "the service says nothing on stderr: %s" % err[-500:])
        support.stop(self.process)
        return err


def diff(*files):
    done = support.leakdiff(*files, "--json")
    expect(done.returncode in (0, 1), "diff answers: %s" % done.stderr)
    return json.loads(done.stdout)


def chain_of(suspect):
    return " ".join("%s %s" % (step["type"], step["edge"] or "") for step in suspect["chain"])


def everything(path, version, name, arguments=(), **environment):
    what = "%s %s %s" % (".".join(map(str, version)), "debug" if "dbg" in path else "", name)
    service = Service(path, arguments, **environment)
    service.do("leak 10 300000")
    first = service.snap()
    for _ in range(5):
        time.sleep(0.1)
        service.do("leak 4 300000")
    second = service.snap()
    service.end()
    answer = diff(first, second)
    row = answer["growth"][0]
    expect(row["type"] == "bytearray" and row["count"][1] - row["count"][0] == 20,
           "%s: 20 bytearrays more: %s" % (what, row))
    expect(6000000 <= row["bytes"][1] - row["bytes"][0] < 6100000, "%s: 6 MB more: %s" % (what, row["bytes"]))
    suspect = answer["suspects"][0]
    expect(suspect["verdict"] == "growing" and suspect["count"] == 20, "%s: 20 grow: %s" % (
        what, (suspect["verdict"], suspect["type"], suspect["count"])))
    expect(suspect["holder"]["kind"] == "python-module" and
           suspect["holder"]["name"] == "__main__.Handler.header_for", "%s: held by the cache: %s" % (
               what, suspect["holder"]))
    wanted = r"type .header_for functools._lru_cache_wrapper lru_cache key .*__main__.Handler .request __main__.Body .data bytearray"
    expect(re.search(wanted, chain_of(suspect)), "%s: the chain: %s" % (what, chain_of(suspect)))
    frames = [(f["function"].rsplit(".", 1)[-1], f["line"]) for site in suspect["sites"] for f in site["stack"]
              if f["language"] == "python"]
    source = open(os.path.join(HERE, "leak.py")).read().splitlines()
    lines = [n for n, text in enumerate(source, 1) if "bytearray(size)" in text] + \
            [n for n, text in enumerate(source, 1) if "Body(size)" in text]
    expect(frames[:2] == [("__init__", lines[0]), ("__init__", lines[1])] and ("main" in dict(frames)),
           "%s: allocated in Body.__init__, from Handler.__init__, from main: %s" % (what, frames[:5]))
    snapshot = answer["snapshots"][1]
    expect(snapshot["python"] == ".".join(map(str, version)), "%s: the version: %s" % (what, snapshot["python"]))
    expect(snapshot["consistent"] and not snapshot["lost_events"], "%s: consistent, nothing lost" % what)
    expect(not [n for n in snapshot["notes"] if "ython" in n], "%s: nothing is uncertain: %s" % (
        what, snapshot["notes"]))
    print("%-28s pause %.2f ms, %d blocks, %d objects" % (
        what, snapshot["pause_ms"], snapshot["blocks"], snapshot["objects"]), flush=True)


def off_and_objects(path):
    service = Service(path, LEAKDIFF_PYTHON="off")
    service.do("leak 10 300000")
    first = service.snap()
    service.do("leak 20 300000")
    second = service.snap()
    service.end()
    answer = diff(first, second)
    expect(answer["snapshots"][1]["python"] is None, "off: no Python in the snapshot")
    expect(not [r for r in answer["growth"] if r["type_source"] == "python"], "off: no Python types")
    expect(sum(r["bytes"][1] - r["bytes"][0] for r in answer["growth"]) > 5900000, "off: the growth is still seen")
    service = Service(path, LEAKDIFF_PYTHON="objects")
    service.do("leak 20 300000")
    path = service.snap()
    service.end()
    top = json.loads(support.leakdiff("top", path, "--by", "site", "--json").stdout)
    languages = {f["language"] for row in top["rows"] for f in (row.get("stack") or [])}
    expect("python" not in languages, "objects: stacks are the interpreter's own: %s" % languages)


def gil_is_not_to_be_had(path):
    service = Service(path)
    service.do("leak 5 300000")
    service.do("hog 9000 %s" % DUMP)
    time.sleep(0.5)
    first = service.snap()
    answer = diff(first, first)["snapshots"][0]
    expect(any("GIL could not be had" in note for note in answer["notes"]), "a hog is named: %s" % answer["notes"])
    expect(answer["blocks"] > 100 and answer["objects"] == 0, "the snapshot is native only: %s" % {
        k: answer[k] for k in ("blocks", "objects")})
    time.sleep(6)
    answer = diff(*[service.snap()] * 2)["snapshots"][0]
    expect(answer["objects"] > 1000, "after it the objects are there again: %s" % answer["notes"])
    service.end()


def small_objects(path):
    service = Service(path)
    service.do("small 1000")
    first = service.snap()
    service.do("small 5000")
    second = service.snap()
    service.end()
    answer = diff(first, second)
    rows = [r for r in answer["growth"] if r["type"] == "__main__.Small"]
    expect(rows and sum(r["count"][1] - r["count"][0] for r in rows) == 5000, "5000 instances more: %s" % rows)
    held = [s for s in answer["suspects"] if s["holder"]["name"] == "__main__.kept"]
    expect(held and held[0]["accumulates_in"]["type"] == "list", "they gather in the list __main__.kept: %s" % [
        (s["type"], s["holder"]["name"]) for s in answer["suspects"]])


def a_local_variable(path):
    service = Service(path)
    service.do("leak 1 1000")
    first = service.snap()
    service.do("local 40")
    time.sleep(0.3)
    second = service.snap()
    answer = diff(first, second)
    suspect = answer["suspects"][0]
    expect(suspect["holder"]["kind"] == "python-frame" and suspect["holder"]["name"].startswith("hold ("),
           "a thread's frame holds them: %s" % suspect["holder"])
    expect("local mine_alone" in chain_of(suspect), "by its local variable: %s" % chain_of(suspect))
    service.process.kill()
    support.stop(service.process)


def cycles_without_collector(path):
    service = Service(path, script_arguments=["nogc"])
    service.do("cycle 5")
    first = service.snap()
    service.do("cycle 30")
    second = service.snap()
    service.end()
    answer = diff(first, second)
    suspect = answer["suspects"][0]
    expect(suspect["verdict"] == "unreachable" and suspect["type"] == "bytearray" and suspect["count"] == 30,
           "garbage in cycles is unreachable: %s" % {k: suspect[k] for k in ("verdict", "type", "count", "reason")})
    expect(answer["snapshots"][1]["gc_enabled"] is False, "the collector is known to be disabled")
    expect("collector" in suspect["reason"] or "gc" in suspect["reason"], "and that is said: %s" % suspect["reason"])


def small_objects_with_stacks(path, version, **environment):
    what = "%s stacks" % ".".join(map(str, version))
    service = Service(path, LEAKDIFF_PYTHON="stacks", **environment)
    service.do("small 1000")
    first = service.snap()
    for _ in range(5):
        time.sleep(0.1)
        service.do("small 1000")
    second = service.snap()
    service.end()
    answer = diff(first, second)
    rows = [r for r in answer["growth"] if r["type"] == "__main__.Small"]
    expect(rows and sum(r["new_count"] for r in rows) == 5000, "%s: 5000 new instances: %s" % (what, rows))
    suspects = [s for s in answer["suspects"] if s["type"] in ("__main__.Small", "dict of __main__.Small")]	# up to 3.10
    line = [n for n, text in enumerate(open(os.path.join(HERE, "leak.py")), 1) if "Small(n) for" in text][0]
    made = [n for n, text in enumerate(open(os.path.join(HERE, "leak.py")), 1) if "self.number = n" in text][0]
    frames = [(f["language"], f["line"]) for s in suspects
              for site in s["sites"] for f in site["stack"][:1] if site["count"] > 100]
    expect(frames and set(frames) <= {("python", line), ("python", made)}, "%s: all were made in line %d: %s" % (what, line, set(frames)))
    notes = [n for n in answer["snapshots"][1]["notes"] if "ython" in n]
    expect(not notes, "%s: nothing is uncertain: %s" % (what, notes))


def stacks_that_cannot_be(path):
    service = Service(path, ["-X", "dev"], LEAKDIFF_PYTHON="stacks")
    service.do("small 1000")
    answer = diff(*[service.snap()] * 2)["snapshots"][0]
    expect(any("small Python objects have no stacks" in n for n in answer["notes"]),
           "an allocator that was replaced is said: %s" % answer["notes"])
    service.end()


def embedders():
    """Programs that link libpython or open it, and what is said where it cannot be found or entered."""
    for kind, path, version, environment in interpreters.embedders(support.scratch("embed")):
        what = ".".join(map(str, version)) + " " + kind
        if kind in ("shared", "static", "local"):
            everything(path, version, kind, **environment)
        if kind in ("shared", "static"):
            small_objects_with_stacks(path, version, **environment)
        if kind == "hidden":
            service = Service(path, **environment)
            service.do("leak 20 300000")
            answer = diff(*[service.snap()] * 2)["snapshots"][0]
            service.end()
            expect(answer["objects"] == 0 and answer["blocks"] > 100, "%s: without exported names it is a C program: %s" % (
                what, {k: answer[k] for k in ("blocks", "objects")}))
        if kind == "whole":
            service = Service(path, **environment)
            service.do("leak 20 300000")
            done = support.leakdiff("snap", service.process.pid)
            expect(done.returncode == 2 and "statically linked" in done.stderr, "%s: it is said: %s" % (what, done.stderr))
            service.end()


only = sys.argv[1:]
for path, version in interpreters.found():
    if not only or "all" in only:
        everything(path, version, "auto")
    if version[:2] in ((3, 8), (3, 13)) and (not only or "all" in only):
        everything(path, version, "malloc", PYTHONMALLOC="malloc")
        everything(path, version, "debug", PYTHONMALLOC="debug")
        everything(path, version, "dev", ["-X", "dev"])
    if "dbg" not in path and (not only or "stacks" in only):
        small_objects_with_stacks(path, version)
if not only or "embedders" in only:
    embedders()
for case in (off_and_objects, small_objects, a_local_variable, cycles_without_collector, stacks_that_cannot_be, gil_is_not_to_be_had):
    if not only or case.__name__ in only:
        case("/usr/bin/python3")
support.finish()
