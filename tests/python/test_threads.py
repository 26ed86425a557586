#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`leakdiff threads` says where Python's threads, asyncio tasks and greenlets stand, on every interpreter."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import support
from support import expect
import interpreters

HERE = os.path.dirname(os.path.abspath(__file__))


def threads_of(python, arguments=(), **environment):
    folder = support.scratch("stand")
    process = support.start([python, os.path.join(HERE, "stand.py"), *arguments], stdout=subprocess.PIPE,
                            env=support.shim_environment(folder, **environment))
    expect(process.stdout.readline() == b"ready\n", "%s: it stands" % python)
    path = os.path.join(folder, "1.snap")
    done = support.leakdiff("snap", process.pid, "-o", path)
    expect(done.returncode == 0, "%s: snap succeeds: %s" % (python, done.stderr))
    support.stop(process)
    support.of_mode(path)
    text = support.leakdiff("threads", path)
    expect(text.returncode == 0 and "thread " in text.stdout, "%s: the text is printed" % python)
    return json.loads(support.leakdiff("threads", path, "--json").stdout)["threads"]


def names(entry):
    return [f["function"].rsplit(".", 1)[-1] for f in entry["stack"] if f["language"] == "python"]


def line_of(text):
    with open(os.path.join(HERE, "stand.py")) as source:
        return [n for n, line in enumerate(source, 1) if text in line][0]


for python, version in interpreters.found():
    what = ".".join(map(str, version))
    values = version[:2] == (3, 11)
    found = threads_of(python, LEAKDIFF_VALUES="1") if values else threads_of(python)
    worker = [t for t in found if t["name"] == "the worker"]
    expect(worker and worker[0]["kind"] == "thread" and worker[0]["tid"], "%s: the thread has its name: %s" % (
        what, [t["name"] for t in found]))
    expect(worker and names(worker[0])[:3] == ["inner", "outer", "run"], "%s: its stack: %s" % (
        what, worker and names(worker[0])))
    top = worker[0]["stack"][0] if worker else {}
    expect(top.get("line") == line_of("time.sleep(60)") and top.get("file", "").endswith("stand.py"),
           "%s: file and line: %s" % (what, top))
    expect(top.get("locals") == ("argument='x', secret=42" if values else "argument, secret"),
           "%s: locals: %s" % (what, top.get("locals")))
    tasks = {t["name"]: t for t in found if t["kind"] == "task"}
    expect(len(tasks) == 4 and "first task" in tasks, "%s: four tasks: %s" % (what, list(tasks)))
    if "first task" in tasks:
        expect(names(tasks["first task"])[:3] == ["sleep", "leaf", "middle"], "%s: what a task awaits: %s" % (
            what, names(tasks["first task"])))
        expect("awaits" in tasks["first task"]["state"], "%s: its state: %s" % (what, tasks["first task"]["state"]))
    expect(any(names(t)[:3] == ["sleep", "numbers", "over"] for t in tasks.values()),
           "%s: through an asynchronous generator: %s" % (what, [names(t) for t in tasks.values()]))
    expect(any(names(t)[:1] == ["main"] for t in tasks.values()), "%s: the main task" % what)

if support.run(["/usr/bin/python3", "-c", "import gevent"]).returncode == 0:
    greenlets = [t for t in threads_of("/usr/bin/python3", ["gevent"]) if t["kind"] == "greenlet"]
    standing = [t for t in greenlets if "green" in names(t)]
    expect(len(standing) == 3, "three greenlets stand in green(): %s" % [names(t) for t in greenlets])
    expect(standing and any("mine" in (f["locals"] or "") for f in standing[0]["stack"]), "with their locals")
support.finish()
