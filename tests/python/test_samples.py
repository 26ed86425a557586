#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The Python samples, driven by real clients: asyncio tasks, greenlets, a disabled collector, Django under gunicorn
with its prefork workers."""
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import support
from support import expect

SAMPLES = os.path.join(support.SOURCE, "samples")
SIZE = 300000


def importable(module):
    return support.run(["/usr/bin/python3", "-c", "import " + module]).returncode == 0


class Lines:
    """A sample that speaks in lines."""

    def __init__(self, name):
        self.folder = support.scratch(name)
        self.process = support.start(["/usr/bin/python3", os.path.join(SAMPLES, name, "app.py")],
                                     stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                     env=support.shim_environment(self.folder))
        found = re.match(r"listening on (\d+)", self.process.stdout.readline().decode())
        expect(found, "%s: it listens" % name)
        self.connection = socket.create_connection(("127.0.0.1", int(found.group(1))), 20)
        self.file = self.connection.makefile("rwb")
        self.name = name

    def put(self, count):
        for _ in range(count):
            self.file.write(b"%d\n" % SIZE)
            self.file.flush()
            if self.file.readline() != b"ok\n":
                expect(False, "%s: an upload is answered" % self.name)
            time.sleep(0.02)

    def snap(self, number):
        path = os.path.join(self.folder, "%d.snap" % number)
        done = support.leakdiff("snap", self.process.pid, "-o", path)
        expect(done.returncode == 0, "%s: snap succeeds: %s" % (self.name, done.stderr))
        return path

    def between(self):
        """Snapshots before and after 20 uploads, and the diff's answer."""
        self.put(10)
        first = self.snap(1)
        self.put(20)
        second = self.snap(2)
        self.connection.close()
        status = support.stop(self.process)
        expect(status == 0, "%s: ends with 0, not %s" % (self.name, status))
        support.silent_about_itself(self.name, self.process.stderr.read().decode())
        return second, json.loads(support.leakdiff(first, second, "--json").stdout)


def first_of(answer, what, kind="bytes"):
    row = answer["growth"][0]
    expect(row["type"] == kind and row["count"][1] - row["count"][0] == 20, "%s: 20 %s more: %s" % (what, kind, row))
    suspects = [s for s in answer["suspects"] if s["type"] == kind]
    expect(suspects and suspects[0]["bytes"] >= 20 * SIZE, "%s: they are a suspect: %s" % (
        what, [(s["type"], s["count"], s["verdict"]) for s in answer["suspects"]]))
    return suspects[0] if suspects else answer["suspects"][0]


def chain_of(suspect):
    return " ".join("%s %s" % (step["type"], step["edge"] or "") for step in suspect["chain"])


def asyncio_tasks():
    path, answer = Lines("asyncio_tasks").between()
    suspect = first_of(answer, "asyncio")
    text = chain_of(suspect)
    expect("_asyncio.Task" in text and "coroutine" in text and "local body" in text, "asyncio: the chain: %s" % text)
    expect("asyncio task" in suspect["reason"], "asyncio: in words: %s" % suspect["reason"])
    threads = json.loads(support.leakdiff("threads", path, "--json").stdout)["threads"]
    standing = [t for t in threads if t["kind"] == "task" and any(f["function"].endswith("notify") for f in t["stack"])]
    expect(len(standing) == 30, "asyncio: 30 tasks stand in notify(): %d" % len(standing))
    text = support.leakdiff("threads", path).stdout
    expect(re.search(r"^30 tasks: \S+, \S+, \S+, \S+ and 26 more \(--json names all\)", text, re.M) and text.count("notify") == 1,
           "asyncio: those in one place stand together: %s" % text[:600])


def greenlets():
    if not importable("gevent"):
        return
    path, answer = Lines("gevent_greenlets").between()
    suspect = first_of(answer, "gevent")
    text = chain_of(suspect)
    expect(suspect["holder"]["kind"] == "python-module" and "reenlet local body" in text, "gevent: the chain: %s" % text)
    threads = json.loads(support.leakdiff("threads", path, "--json").stdout)["threads"]
    standing = [t for t in threads if t["kind"] == "greenlet" and any(f["function"] == "notify" for f in t["stack"])]
    expect(len(standing) == 30, "gevent: 30 greenlets stand in notify(): %d" % len(standing))


def collector_off():
    _, answer = Lines("gc_disabled").between()
    suspect = first_of(answer, "gc")
    expect(suspect["verdict"] == "unreachable" and "gc.disable()" in suspect["reason"],
           "gc: garbage that nobody collects: %s %s" % (suspect["verdict"], suspect["reason"]))


def django_under_gunicorn():
    if not importable("django") or not importable("gunicorn"):
        return
    folder = support.scratch("django")
    port = support.free_port()
    process = support.start(["/usr/bin/python3", "-m", "gunicorn", "-k", "gthread", "-w", "2", "--threads", "4",
                             "-b", "127.0.0.1:%d" % port, "app:application"],
                            cwd=os.path.join(SAMPLES, "django_context"), stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE, env=support.shim_environment(folder))
    expect(support.wait_for_port(port, process), "gunicorn listens")

    def put(count):
        good = 0
        for _ in range(count):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            connection.request("POST", "/", os.urandom(SIZE))
            good += connection.getresponse().read() == b"%d\n" % SIZE
            connection.close()
        expect(good == count, "gunicorn: %d of %d requests succeed" % (good, count))

    def snap(number):
        out = os.path.join(folder, "out%d" % number)
        os.mkdir(out)
        done = support.leakdiff("snap", process.pid, "--children", "-o", out)
        files = sorted(os.path.join(out, f) for f in os.listdir(out))
        expect(done.returncode == 0 and len(files) == 3, "the master and both workers: %s %s" % (files, done.stderr))
        return {re.search(r"\.(\d+)\.", os.path.basename(f)).group(1): f for f in files}

    put(20)
    first = snap(1)
    put(60)
    second = snap(2)
    grown, keepers = 0, []
    for pid in second:
        if int(pid) == process.pid or pid not in first:
            continue
        answer = json.loads(support.leakdiff(first[pid], second[pid], "--json").stdout)
        for s in answer["suspects"]:
            if s["type"] == "bytes" and s["bytes"] > SIZE:
                grown += s["count"]
                keepers.append(chain_of(s))
    expect(grown >= 55, "the workers keep nearly all 60 bodies: %d" % grown)
    expect(any("ContextVar 'requests_seen'" in k for k in keepers), "a context variable keeps them: %s" % keepers[:2])
    process.send_signal(signal.SIGHUP)		# a reload: new workers
    time.sleep(1.5)
    put(8)
    expect(len(snap(3)) == 3, "the new workers are snapshotted, too")
    expect(support.stop(process) == 0, "gunicorn ends with 0")


for case in (asyncio_tasks, greenlets, collector_off, django_under_gunicorn):
    if not sys.argv[1:] or case.__name__ in sys.argv[1:]:
        case()
support.finish()
