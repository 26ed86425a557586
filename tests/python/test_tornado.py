#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The motivating case: a tornado service with lru_cache on a method keeps every upload. Two snapshots and
one command say what grew, who holds it and which Python line made it."""
import http.client
import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import support
from support import expect

try:
    import tornado
except ImportError:
    support.skip("python3-tornado is not installed for %s" % sys.executable)

APP = os.path.join(support.SOURCE, "samples", "tornado_cache", "app.py")
MIB = 1 << 20


class Service:
    def __init__(self, **environment):
        self.folder = support.scratch("tornado")
        self.process = support.start([sys.executable, APP], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                     env=support.shim_environment(self.folder, **environment))
        line = self.process.stdout.readline().decode()
        found = re.match(r"listening on (\d+)", line)
        if not found:
            support.stop(self.process)
            print(self.process.stderr.read().decode())
            raise SystemExit("the service did not start: %r" % line)
        self.port = int(found.group(1))
        self.files = 0

    def put(self, count, size=MIB):
        ok = 0
        for n in range(count):
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
            connection.request("PUT", "/name-%d" % n, os.urandom(size))
            answer = connection.getresponse()
            ok += answer.status == 200 and answer.read() == b"%d\n" % size
            connection.close()
        expect(ok == count, "%d of %d uploads succeeded" % (ok, count))

    def snap(self):
        self.files += 1
        path = os.path.join(self.folder, "%d.snap" % self.files)
        snap = support.leakdiff("snap", self.process.pid, "-o", path)
        expect(snap.returncode == 0, "snap succeeds: %s" % snap.stderr)
        return path

    def stop(self):
        status = support.stop(self.process)
        expect(status == 0, "the service ends with status 0 on SIGTERM, not %s" % status)
        err = self.process.stderr.read().decode()
        support.silent_about_itself("tornado", err)


def diff(*files):
    answer = support.leakdiff(*files, "--json")
    expect(answer.returncode in (0, 1), "diff answers: %s" % answer.stderr)
    return answer.returncode, json.loads(answer.stdout)


def chain_text(suspect):
    """type and edge of each step: 'python-module __main__ | module .ApiHandler ...'."""
    return " ".join("%s %s" % (step["type"], step["edge"] or "") for step in suspect["chain"])


def no_false_leak(path, what):
    answer = support.leakdiff("leaks", path, "--json")
    expect(answer.returncode == 0 and not json.loads(answer.stdout)["leaks"],
           "%s: nothing is called lost: %s" % (what, [(x["type"], x["bytes"], x["stack"][:2])
                                                      for x in json.loads(answer.stdout)["leaks"]]))


def the_leak(cache):
    service = Service(CACHE=cache)
    service.put(20)
    first = service.snap()
    service.put(30)
    second = service.snap()
    status, answer = diff(first, second)
    what = "cache %s" % cache
    expect(status == 1, "%s: growth is found" % what)
    row = answer["growth"][0]
    expect(row["type"] == "bytes" and row["type_source"] == "python", "%s: the first row is bytes: %s" % (what, row))
    expect(row["count"][1] - row["count"][0] in (30, 31), "%s: 30 bytes objects more: %s" % (what, row))
    expect(30 * MIB <= row["bytes"][1] - row["bytes"][0] < 31.5 * MIB, "%s: 30 MiB more: %s" % (what, row))
    expect(row["new_count"] in (30, 31), "%s: 30 are new: %s" % (what, row))
    suspect = answer["suspects"][0]
    expect(suspect["verdict"] == "growing" and suspect["type"] == "bytes" and suspect["count"] == 30,
           "%s: the first suspect is 30 bytes objects that grow: %s" % (what, {k: suspect[k] for k in (
               "verdict", "type", "count", "bytes")}))
    expect(suspect["holder"]["kind"] == "python-module" and
           suspect["holder"]["name"] == "__main__.ApiHandler.header_for",
           "%s: held by __main__.ApiHandler.header_for: %s" % (what, suspect["holder"]))
    text = chain_text(suspect)
    wanted = [r"python-module ", r"module .ApiHandler", r"type .header_for",
              r"functools._lru_cache_wrapper lru_cache key", r"tuple \[0\]", r"__main__.ApiHandler .request",
              r"tornado.httputil.HTTPServerRequest .body", r"bytes $"]
    expect(re.search(r"\s*".join(wanted), text), "%s: the chain reads as Python: %s" % (what, text))
    expect(suspect["accumulates_in"]["type"] == "functools._lru_cache_wrapper",
           "%s: it gathers in the cache: %s" % (what, suspect["accumulates_in"]))
    limit = {"bounded": "lru_cache, 50 of 128 entries", "unbounded": "lru_cache, unbounded"}[cache]
    expect(suspect["accumulates_in"]["detail"] == limit, "%s: %s: %s" % (what, limit, suspect["accumulates_in"]))
    expect({"bounded": "50 of 128 entries and stops growing when it is full, at about 1",
            "unbounded": "50 entries and no bound (maxsize=None)"}[cache] in suspect["reason"],
           "%s: what its bound means: %s" % (what, suspect["reason"]))
    expect(sum(site["count"] for site in suspect["sites"]) == 30, "%s: the sites are complete" % what)
    frames = suspect["sites"][0]["stack"]
    python = [f for f in frames if f["language"] == "python"]
    names = [f["function"].rsplit(".", 1)[-1] for f in python]
    expect("_read_fixed_body" in " ".join(names) or "_read_body" in " ".join(names) or
           "_on_request_body" in " ".join(names) or "data_received" in " ".join(names) or
           "finish" in " ".join(names) or "_execute" in " ".join(names),
           "%s: the stack goes down to where the body is read: %s" % (what, names))
    expect(any("tornado/" in (f["file"] or "") and f["line"] for f in python),
           "%s: frames have files and lines: %s" % (what, python[:2]))
    for s in answer["snapshots"]:
        expect(s["python"] == "%d.%d.%d" % sys.version_info[:3], "%s: the Python version is known" % what)
        expect(s["consistent"], "%s: the snapshot is consistent" % what)
    with open(os.path.join(service.folder, "text"), "w") as out:
        out.write(support.leakdiff(first, second).stdout)
    said = " ".join(open(out.name).read().split())
    expect("-> .header_for (%s)" % limit in said and "ApiHandler.header_for (%s)," % limit in said,
           "%s: the text says how full the cache is: %s" % (what, said))
    no_false_leak(second, what)
    if os.environ.get("VERBOSE"):
        print(open(out.name).read())
    picture = os.path.join(service.folder, "leak.png")
    drawn = support.leakdiff(first, second, "--png", picture)
    expect(drawn.returncode == 1 and os.path.getsize(picture) > 1000, "%s: the picture is drawn: %s" % (
        what, drawn.stderr))
    service.stop()


def a_full_cache_is_no_leak():
    service = Service(CACHE="bounded")
    service.put(150, 1 << 16)
    first = service.snap()
    service.put(60, 1 << 16)
    second = service.snap()
    service.put(60, 1 << 16)
    third = service.snap()
    _, answer = diff(first, second, third)
    rows = [r for r in answer["growth"] if r["type"] == "bytes"]
    grown = sum(r["bytes"][-1] - r["bytes"][0] for r in rows)
    expect(abs(grown) < 4 << 16, "a full cache does not grow: %d bytes" % grown)
    growing = [s for s in answer["suspects"] if s["verdict"] == "growing" and s["bytes"] > 1 << 20]
    expect(not growing, "nothing large is called growing: %s" % [(s["type"], s["bytes"], s["reason"]) for s in growing])
    no_false_leak(third, "full")
    chain = json.loads(support.leakdiff("chain", third, "--type", "__main__.ApiHandler", "--json").stdout)["chains"][0]
    details = [step["detail"] for step in chain["chain"]]
    expect("lru_cache, 128 of 128 entries: full" in details, "the chain says that the cache is full: %s" % details)
    service.stop()


def a_cache_that_becomes_full_has_stopped():
    service = Service(CACHE="bounded")
    service.put(80, 1 << 18)
    first = service.snap()
    service.put(60, 1 << 18)
    second = service.snap()
    _, answer = diff(first, second)
    held = [s for s in answer["suspects"] if s["type"] == "bytes" and s["bytes"] > 1 << 20]
    expect(not [s for s in held if s["verdict"] == "growing"] and
           any("it will not hold more" in s["reason"] for s in held),
           "a cache that has become full is not growing: %s" % [(s["verdict"], s["reason"]) for s in held])
    service.stop()


def without_the_cache_nothing_is_kept():
    service = Service(CACHE="none")
    service.put(20)
    first = service.snap()
    service.put(30)
    second = service.snap()
    _, answer = diff(first, second)
    grown = sum(r["bytes"][1] - r["bytes"][0] for r in answer["growth"] if r["type"] == "bytes")
    expect(grown < 2 * MIB, "bytes grew by %d without the cache" % grown)
    service.stop()


for name in sys.argv[1:] or ["bounded", "unbounded", "full", "fills", "none"]:
    if name == "full":
        a_full_cache_is_no_leak()
    elif name == "fills":
        a_cache_that_becomes_full_has_stopped()
    elif name == "none":
        without_the_cache_nothing_is_kept()
    else:
        the_leak(name)
support.finish()
