#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Python programs that make children, under the library and under snapshots: no warning, no signal, no late end of
file, no failing child because of us; and each child that stays can be snapshotted and has right stacks."""
import json
import os
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import support
from support import expect
import interpreters

HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAM = os.path.join(HERE, "forks.py")
METHODS = ("fork", "mp-fork", "mp-spawn", "mp-forkserver")


def line_of(text):
    with open(PROGRAM) as source:
        return [n for n, line in enumerate(source, 1) if text in line][0]


class Program:
    def __init__(self, python, shim=True, **environment):
        self.folder = support.scratch("forks")
        env = support.shim_environment(self.folder, **environment) if shim else support.clean_environment(**environment)
        self.errors = open(os.path.join(self.folder, "stderr"), "w+")
        self.process = support.start([python, PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     stderr=self.errors, env=env)

    def tell(self, command):
        self.process.stdin.write(command.encode() + b"\n")
        self.process.stdin.flush()

    def answer(self):
        return self.process.stdout.readline().decode().strip()

    def do(self, command):
        self.tell(command)
        return self.answer()

    def snap(self, name, pid=None):
        path = os.path.join(self.folder, name)
        done = support.leakdiff("snap", pid or self.process.pid, "-o", path)
        expect(done.returncode == 0, "snap %s succeeds: %s" % (name, done.stderr))
        return path

    def end(self, what):
        self.process.stdin.close()
        status = self.process.wait(30)
        self.errors.seek(0)
        said = self.errors.read()
        self.errors.close()
        expect(status == 0 and not said, "%s: it ends well and silently, not with %s: %s" % (what, status, said[-500:]))
        support.stop(self.process)


def everything(python, version):
    """All kinds of children while snapshots of all processes are taken."""
    for mode in {(3, 11): ("auto",), (3, 13): ("auto", "stacks")}.get(version[:2], ("stacks",)):
        what = "%s %s" % (".".join(map(str, version)), mode)
        program = Program(python, LEAKDIFF_PYTHON=mode)
        snapper = support.Snapper(program.folder, wanted=6, gap=0.02)
        snapper.start()
        begin, good, rounds = time.monotonic(), True, 0
        while good and (rounds == 0 or len(snapper.taken) < 4 and not snapper.failed and time.monotonic() - begin < 30):
            rounds += 1
            for command in ("fork 3", "subprocess 2"):
                got = program.do(command)
                good = good and expect(got == "ok", "%s: %s under snapshots: %r" % (what, command, got))
        report = json.loads(program.do("report") or "{}")
        expect(report.get("warnings") == [], "%s: no warning because of us: %s" % (what, report.get("warnings")))
        expect(report.get("children") == 12 * rounds and 0 < report["sigchld"] <= 12 * rounds,
               "%s: their signals alone, in %d rounds: %s" % (what, rounds, report))
        for command in ("pool fork", "pool spawn", "pool forkserver"):
            got = good and program.do(command)
            good = good and expect(got == "ok", "%s: %s under snapshots: %r" % (what, command, got))
        while good and not snapper.enough() and time.monotonic() - begin < 60:
            time.sleep(0.05)
        snapper.end()
        program.end(what)
        snapper.report(what)


def signals(python, version):
    """A snapshot alone raises no SIGCHLD, and is no child that a wait finds; a fork after it is not warned about."""
    what = ".".join(map(str, version))
    program = Program(python)
    expect(program.do("fork 1") == "ok", "%s: it forks" % what)
    for n in range(2):
        program.snap("%d.snap" % n)
        expect(program.do("fork 1") == "ok", "%s: a fork after a snapshot" % what)
    report = json.loads(program.do("report"))
    expect(report == {"warnings": [], "sigchld": 6, "children": 6}, "%s: six children, six signals: %s" % (what, report))
    program.end(what)


def unwarned(python, version):
    """Whatever is recorded or not: CPython counts the service's threads. And with a thread of its own it warns."""
    if version < (3, 12):
        return
    what = ".".join(map(str, version))
    text = ("import os, sys, threading\nif 'thread' in sys.argv: threading.Thread(target=input, daemon=True).start()\n"
            "for f in os.fork, os.forkpty:\n pid = f()\n pid = pid if type(pid) is int else pid[0]\n"
            " if pid == 0: os._exit(0)\n os.waitpid(pid, 0)\nos._exit(len(os.listdir('/proc/self/task')))")
    programs = [(python, {}), (python, {"LEAKDIFF_START": "off"}), (python, {"LEAKDIFF_PYTHON": "off"})]
    programs += [(path, environment) for kind, path, v, environment in interpreters.embedders(support.scratch("embed"))
                 if v == version and kind in ("shared", "local")]
    for program, more in programs:
        env = support.shim_environment(support.scratch("forks"), **more)
        done = support.run([program, "-W", "always", "-c", text], env=env)
        expect(done.returncode == 2 and not done.stderr, "%s %s: our thread is there and not warned about: %s %s" % (
            what, more, done.returncode, done.stderr))
        out, into = os.pipe()
        done = support.run([program, "-W", "always", "-c", text, "thread"], env=env, stdin=out)
        os.close(out)
        os.close(into)
        expect(done.returncode == 3 and done.stderr.count("is multi-threaded") == 2, "%s %s: its own is: %s %s" % (
            what, more, done.returncode, done.stderr))


def walking_child(pid):
    for child in support.children_of(pid):
        try:
            with open("/proc/%d/comm" % child) as f:
                if f.read().strip() == "leakdiff-snap":
                    return child
        except OSError:
            pass
    return None


def end_of_file(python, version):
    """While a snapshot's process stands still with its copy of everything, a closed socket is closed."""
    what = ".".join(map(str, version))
    program = Program(python)
    expect(program.do("heap 150000") == "ok" and program.do("pair") == "ok", "%s: a heap and a pair" % what)
    caught = None
    for n in range(10):
        taker = threading.Thread(target=program.snap, args=("%d.snap" % n,))
        taker.start()
        while taker.is_alive() and not caught:
            caught = walking_child(program.process.pid)
        if caught:
            os.kill(caught, signal.SIGSTOP)
            program.tell("close")
            got = []
            reader = threading.Thread(target=lambda: got.append(program.answer()), daemon=True)
            reader.start()
            reader.join(20)
            expect(got == ["end of file"], "%s: the end of the file comes while the copy stands: %s" % (what, got))
            expect(program.do("fork 1") == "ok", "%s: and forks are as ever" % what)
            os.kill(caught, signal.SIGCONT)
            reader.join()
        taker.join()
        if caught:
            break
    expect(caught, "%s: a walking child was met" % what)
    report = json.loads(program.do("report"))
    expect(report["warnings"] == [] and report["children"] == 3 and
           report["sigchld"] <= 5, "%s: nothing was seen of it but that we stopped and continued it: %s" % (what, report))
    program.end(what)


def stacks_of(path, line):
    """(count, innermost frames) of instances of Small whose stack begins in this line."""
    top = json.loads(support.leakdiff("top", path, "--by", "site", "--json").stdout)
    rows = [r for r in top["rows"] if r.get("stack") and r["stack"][0]["language"] == "python" and
            r["stack"][0]["line"] == line]
    return sum(r["count"] for r in rows), [[f["function"] for f in r["stack"]] for r in rows]


def workers(python, version):
    """Children that stay, recorded with the stack of each small object."""
    what = ".".join(map(str, version))
    program = Program(python, LEAKDIFF_PYTHON="stacks")
    pids = {}
    for method in METHODS:
        pids[method] = int(program.do("worker " + method))
    expect(program.do("work 100") == "ok", "%s: they work" % what)
    first = {m: program.snap(m + ".1.snap", pid) for m, pid in pids.items()}
    expect(program.do("work 4000") == "ok", "%s: they work" % what)
    second = {m: program.snap(m + ".2.snap", pid) for m, pid in pids.items()}
    made = {line_of("the worker's line"), line_of("self.number = n")}
    for method in METHODS:
        answer = json.loads(support.leakdiff(first[method], second[method], "--json").stdout)
        rows = [r for r in answer["growth"] if r["type"] in ("__main__.Small", "__mp_main__.Small")]
        expect(rows and sum(r["new_count"] for r in rows) == 4000, "%s %s: 4000 new instances: %s" % (what, method, rows))
        sites = [site for s in answer["suspects"] for site in s["sites"] if site["count"] > 100 and site["stack"]]
        tops = {(f["language"], f["line"]) for site in sites for f in site["stack"][:1]}
        expect(tops and tops <= {("python", line) for line in made}, "%s %s: made in the worker's line: %s" % (
            what, method, tops))
        names = {f["function"].rsplit(".", 1)[-1] for site in sites for f in site["stack"]}
        expect("serve" in names, "%s %s: in serve(): %s" % (what, method, names))
        notes = [n for n in answer["snapshots"][1]["notes"] if "ython" in n]
        expect(not notes, "%s %s: nothing is uncertain: %s" % (what, method, notes))
        if method in ("fork", "mp-fork"):
            count, stacks = stacks_of(second[method], line_of("the parent's line"))
            expect(count >= 3000, "%s %s: the parent's objects have the parent's stacks: %d %s" % (
                what, method, count, stacks[:3]))
    done = support.leakdiff("snap", program.process.pid, "--children", "-o", support.scratch("family"))
    taken = [int(path.rsplit(".", 3)[1]) for path in done.stdout.split()]
    expect(done.returncode == 0 and {program.process.pid, *pids.values()} <= set(taken),
           "%s: --children takes all: %s %s" % (what, taken, done.stderr))
    program.end(what)


only = sys.argv[1:]
wanted = {(3, 8), (3, 11), (3, 12), (3, 13)}
for python, version in interpreters.found():
    if version[:2] not in wanted or "dbg" in python:
        continue
    wanted.discard(version[:2])		# one of each
    for case in (everything, signals, unwarned, end_of_file, workers):
        if case is end_of_file and version[:2] not in ((3, 8), (3, 13)):
            continue
        if not only or case.__name__ in only:
            case(python, version)
support.finish()
