# SPDX-License-Identifier: Apache-2.0
"""Run a sample under the library, drive it with a real client, take two snapshots while it serves,
and compare leakdiff's answer with the EXPECT lines in the sample's own first comment.

    test_samples.py NAME       one sample (without a name: all)
    test_samples.py -d NAME    only start, drive and end it, without the library

The grammar of DRIVE and EXPECT is in samples/README.md. KEEP=1 keeps the snapshots."""
import http.client
import json
import os
import re
import socket
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support import *  # noqa: E402,F403
import exports  # noqa: E402
import face  # noqa: E402


MODULES = os.path.join(BUILD, "samples", "python")


# -- clients -----------------------------------------------------------------

class LineClient:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 30)
        self.file = self.socket.makefile("rb")

    def send(self, template, number):
        """One request (or several, with ';'). Returns the last reply; OSError when it is not OK."""
        reply = ""
        for request in template.split(";"):
            self.socket.sendall(request.strip().replace("{n}", str(number)).encode() + b"\n")
            reply = self.file.readline().decode().strip()
            if not reply.startswith("OK"):
                raise OSError("%s was answered with %r" % (request.strip(), reply))
        return reply

    def close(self):
        self.file.close()
        self.socket.close()


class HttpClient:
    """METHOD PATH [BODY BYTES]; a GET's body must be what was PUT."""
    def __init__(self, port):
        self.http = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    @staticmethod
    def body(path, size):
        return (path.encode() + b" ") * (size // (len(path) + 1)) + b"." * (size % (len(path) + 1))

    def send(self, template, number):
        method, path, *size = template.replace("{n}", str(number)).split()
        self.http.request(method, path, self.body(path, int(size[0])) if size else None)
        answer = self.http.getresponse()
        got = answer.read()
        if answer.status not in (200, 201):
            raise OSError("%s %s was answered with %d" % (method, path, answer.status))
        if method == "GET" and got != self.body(path, len(got)):
            raise OSError("GET %s gave back another body" % path)
        return "OK %d" % len(got)

    def close(self):
        self.http.close()


class Background(threading.Thread):
    """Sends requests on a connection of its own while it is not paused."""
    def __init__(self, client, template):
        super().__init__(daemon=True)
        self.client, self.template = client, template
        self.sent, self.errors = 0, []
        self.may_send, self.idle, self.ends = threading.Event(), threading.Event(), False
        self.idle.set()

    def run(self):
        while True:
            self.may_send.wait()
            if self.ends:
                return
            self.idle.clear()
            while self.may_send.is_set() and not self.errors:
                try:
                    self.client.send(self.template, self.sent)
                    self.sent += 1
                except (OSError, http.client.HTTPException) as e:
                    self.errors.append(str(e) or repr(e))
            self.idle.set()
            if self.errors:
                return

    def pause(self):
        self.may_send.clear()
        self.idle.wait(30)

    def end(self):
        self.ends = True
        self.may_send.set()
        self.join(30)
        self.client.close()


# -- what a sample says about itself -------------------------------------------

class Sample:
    def __init__(self, name):
        folder = os.path.join(SOURCE, "samples", name)
        source = [f for f in (name + ".c", name + ".cc", "app.py") if os.path.exists(os.path.join(folder, f))]
        if not source:
            sys.exit("no sample %s" % name)
        self.name = name
        self.program = [os.path.join(BUILD, "samples", "sample_" + name)]
        if source == ["app.py"]:		# its extension modules lie in the build folder
            self.program = ["/usr/bin/python3", os.path.join(folder, "app.py")]
        self.protocol, self.phases, self.during, self.expected = "line", {"before": [], "between": []}, None, []
        self.workers, self.rest = [], 0
        with open(os.path.join(folder, source[0]), encoding="utf-8") as f:
            text = f.read()
        for line in re.findall(r"^(?: ?(?:\*|//) )?((?:DRIVE|EXPECT) .*?)(?: \*/)?$", text, re.M):
            verb, what, rest = (line.split(None, 2) + [""])[:3]
            rest = rest.strip()
            for worker in re.findall(r"@worker=([\d,]+)", rest):
                self.workers = sorted(set(self.workers) | set(map(int, worker.split(","))))
            rest = re.sub(r"\s*@worker=[\d,]+", "", rest)
            if verb == "EXPECT":
                self.expected.append((what, rest))
            elif what == "protocol":
                self.protocol = rest
            elif what == "during":
                self.during = rest
            elif what == "rest":
                self.rest = float(rest)
            else:
                count, template = rest.split(None, 1)
                self.phases[what].append((int(count), template))
        if not self.expected or not self.during:
            sys.exit("%s states no expectation" % source[0])


class Running:
    """A started sample, its clients, and for each process that is looked at its snapshots."""
    def __init__(self, sample, folder):
        self.sample, self.folder = sample, folder
        env = shim_environment(folder) if folder else clean_environment()
        env["PYTHONPATH"] = MODULES
        self.process = start(sample.program, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        first = self.process.stdout.readline()
        if not first.startswith("listening on "):
            self.process.wait(10)
            sys.exit("%s did not start: %r %s" % (sample.name, first, self.process.stderr.read()))
        self.port = int(first.split()[2])
        self.pids = {None: self.process.pid}
        if sample.workers:
            self.pids = {}
            while not set(sample.workers) <= set(self.pids):
                words = self.process.stdout.readline().split()
                self.pids[int(words[1])] = int(words[3])
            self.pids = {w: p for w, p in self.pids.items() if w in sample.workers}
        self.clients = {w: self.connect(p) for w, p in self.pids.items()}
        self.background = {w: Background(self.connect(p), sample.during) for w, p in self.pids.items()}
        for thread in self.background.values():
            thread.start()
        self.snapshots = {w: [] for w in self.pids}

    def connect(self, pid):
        """A connection to the process; of a prefork server whichever worker accepts is asked for its id."""
        kind = HttpClient if self.sample.protocol == "http" else LineClient
        for _ in range(2000):
            client = kind(self.port)
            if not self.sample.workers or client.send("PING", 0) == "OK %d" % pid:
                return client
            client.close()
        sys.exit("%s: worker %d never accepted" % (self.sample.name, pid))

    def drive(self, phase):
        for count, template in self.sample.phases[phase]:
            for number in range(1, count + 1):
                for client in self.clients.values():
                    client.send(template, number)

    def compare_resident(self, pid, path):
        """The account's total against the kernel's: within 1 MiB and 1 %, but for what requests in flight change."""
        total = int(leakdiff("sql", path, "select bytes from account where part = 'total'").stdout.split()[1])
        until = time.monotonic() + 2
        while True:
            with open("/proc/%d/smaps_rollup" % pid) as rollup:
                kernel = next(int(line.split()[1]) << 10 for line in rollup if line.startswith("Rss:"))
            if abs(total - kernel) <= (1 << 20) + 0.01 * kernel or time.monotonic() > until:
                break
            time.sleep(0.05)
        check("%d bytes are resident, the kernel says %d" % (total, kernel), abs(total - kernel) <= (2 << 20) + 0.05 * kernel)

    def snapshot(self, which):
        for worker, pid in self.pids.items():
            busy = self.background[worker]
            before = busy.sent
            busy.may_send.set()
            wait_until(lambda: busy.sent >= before + 5 or busy.errors)
            if self.folder:
                path = os.path.join(self.folder, "%s.%s.%s.snap" % (self.sample.name, worker, which))
                snap = leakdiff("snap", pid, "-o", path)
                expect(snap.returncode == 0, "snap %d ends with %s: %s" % (pid, snap.returncode, snap.stderr.strip()))
                expect(snap.stdout.strip() == path, "snap prints the path alone on stdout, it printed %r" % snap.stdout)
                if snap.returncode != 0:
                    finish()
                self.compare_resident(pid, path)
                self.snapshots[worker].append(path)
                said("snapshot %s%s: %s" % (which, "" if worker is None else " of worker %d" % worker,
                                            " ".join(snap.stderr.split())))
            at_end = busy.sent
            wait_until(lambda: busy.sent >= at_end + 5 or busy.errors)
            busy.pause()
            if check("%d requests while snapshot %s was taken, none failed" % (busy.sent - before, which),
                     not busy.errors and busy.sent > at_end, busy.errors):
                continue
            finish()

    def end(self):
        for thread in self.background.values():
            thread.end()
        for client in self.clients.values():
            client.close()
        self.process.send_signal(signal.SIGTERM)
        try:
            _, errors = self.process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            errors = "still running"
        status = stop(self.process)
        check("SIGTERM ends it with status 0 and nothing on stderr", status == 0 and not errors.strip(),
              "status %s, stderr: %s" % (status, errors.strip()[-500:]))


# -- expectations --------------------------------------------------------------

def said(sentence):
    print("     %s" % sentence, flush=True)


def check(sentence, good, otherwise=""):
    print("%s %s" % ("yes " if good else "NO  ", sentence), flush=True)
    return expect(good, "%s%s" % (sentence, ": %s" % (otherwise,) if otherwise else ""))


def conditions(text):
    """'size=3 count>=+5 direct' -> [('size', '=', '3'), ('count', '>=', '+5'), ('direct', '', '')]"""
    return [re.match(r"([\w]+)(?:(>=|<=|=|~)(.*))?$", word).groups("") for word in text.split()]


def holds(value, relation, wanted):
    if relation == "~":
        return re.search(wanted, str(value or "")) is not None
    if relation == "=" and wanted == "none":
        return value in (None, "none")
    if isinstance(value, int) and not isinstance(value, bool):
        wanted = int(wanted)
        return value >= wanted if relation == ">=" else value <= wanted if relation == "<=" else value == wanted
    return value == wanted


def stack_has(stack, function):
    """A frame's function, without arguments and namespace; only near the allocation, not main()."""
    return any(re.search(r"(^|::)%s$" % function, re.sub(r"\(.*", "", f["function"] or "")) for f in stack[:6])


def short(things):
    return json.dumps(things)[:1500]


class Answer:
    """What leakdiff says about one process of a sample."""
    def __init__(self, running, worker):
        self.paths = running.snapshots[worker]
        self.diff, self.status = self.ask(*self.paths)
        self.by_site, status = self.ask(*self.paths, "--by", "site")
        check("--by site changes no exit status", status == self.status, "%s, %s" % (self.status, status))
        self.leaks, status = self.ask("leaks", self.paths[-1])
        check("leaks ends with 1 if there is one", status == (1 if self.leaks["leaks"] else 0), status)
        self.top, _ = self.ask("top", self.paths[-1])
        self.rss, status = self.ask("rss", *self.paths)
        check("rss ends with 0", status == 0, status)
        for what, errors in (("diff", face.check_diff(self.diff)),
                             ("diff by site", face.check_diff(self.by_site, by_site=True)),
                             ("leaks", face.check_leaks(self.leaks)), ("top", face.check_top(self.top)),
                             ("rss", face.check_rss(self.rss, self.diff))):
            check("the JSON of %s keeps its promises" % what, not errors, "; ".join(errors[:6]))
        rows = self.ask("top", self.paths[-1], "--by", "site")[0]["rows"]
        errors = exports.check(lambda *words: self.export(self.paths[-1:], words), rows, exports.of_top, exports.KINDS[:2])
        check("the exports of a snapshot are top --by site, stack by stack", not errors, "; ".join(errors[:6]))
        errors = exports.check(lambda *words: self.export(self.paths, words), self.by_site["growth"], exports.of_growth,
                               exports.KINDS)
        check("the exports of two snapshots are the diff --by site, stack by stack", not errors, "; ".join(errors[:6]))
        held = [x for x in self.diff["suspects"] if x["verdict"] == "growing"][:1]
        for suspect in held:
            answer, _ = self.ask("chain", self.paths[-1], "--type", suspect["type"], "--all")
            errors = face.check_chain(answer)
            if not errors and len(answer["chains"]) < suspect["count"]:
                errors = ["%d chains for %d blocks" % (len(answer["chains"]), suspect["count"])]
            check("the JSON of chain keeps its promises, one chain for each block", not errors, "; ".join(errors[:6]))
        for i, shot in enumerate(self.diff["snapshots"]):
            check("snapshot %d is consistent and lost nothing" % (i + 1),
                  shot["consistent"] and shot["lost_events"] == 0, short(shot))
        self.suspect = None

    @staticmethod
    def ask(*words):
        answer = leakdiff(*words, "--json")
        try:
            return json.loads(answer.stdout), answer.returncode
        except ValueError:
            check("leakdiff %s prints JSON" % " ".join(words), False,
                  "status %s: %s%s" % (answer.returncode, answer.stdout[:300], answer.stderr))
            finish()

    @staticmethod
    def export(paths, words):
        done = run([COMMAND, "export", *paths, *words], text=False, env=clean_environment())
        if done.returncode != 0:
            raise ValueError("export %s ended with %s: %s" % (" ".join(words), done.returncode, done.stderr[-300:]))
        return done.stdout

    def expect_grow(self, wanted):
        wanted = conditions(wanted)
        site = [v for k, _, v in wanted if k == "site"]
        table = (self.by_site if site else self.diff)["growth"]
        rows = [(i, r) for i, r in enumerate(table)
                if all(holds(r[k], rel, v) for k, rel, v in wanted if k in ("type", "size"))
                and all(stack_has(r["stack"], s) for s in site)]
        value = {"count": sum(r["count"][-1] - r["count"][0] for _, r in rows),
                 "bytes": sum(r["bytes"][-1] - r["bytes"][0] for _, r in rows),
                 "new": sum(r["new_count"] for _, r in rows), "row": min([i + 1 for i, _ in rows], default=0)}
        return bool(rows) and all(holds(value[k], rel, v) for k, rel, v in wanted if k in value), \
            "%d rows: %s" % (len(rows), value) + ("" if rows else "; the table begins with " + short(table[:8]))

    def fits_suspect(self, s, wanted):
        for key, relation, value in wanted:
            if key in ("kind", "thread", "holder"):
                met = s["holder"]["name" if key == "holder" else key]
            elif key == "site":
                if not any(stack_has(site["stack"], value) for site in s["sites"]):
                    return False
                continue
            else:
                met = s[key]
            if not holds(met, relation, value):
                return False
        return True

    def expect_suspect(self, wanted):
        wanted = conditions(wanted)
        found = [s for s in self.diff["suspects"] if self.fits_suspect(s, wanted)]
        self.suspect = found[0] if found else None
        return bool(found), "suspects are " + short([
            {"rank": s["rank"], "verdict": s["verdict"], "type": s["type"], "count": s["count"], "bytes": s["bytes"],
             "holder": s["holder"], "sites": [[f["function"] for f in x["stack"][:3]] for x in s["sites"]][:3]}
            for s in self.diff["suspects"]])

    def expect_accumulates(self, wanted):
        point = (self.suspect or {}).get("accumulates_in")
        return bool(point) and all(holds(point[k], rel, v) for k, rel, v in conditions(wanted)), \
            "it is %s" % short(point)

    def expect_chain(self, wanted):
        chain = (self.suspect or {}).get("chain") or []
        steps = iter([" ".join(str(s[k]) for k in ("name", "type", "edge") if s[k]) for s in chain])
        words = [word.strip().lstrip("~") for word in wanted.split("->")]
        return bool(chain) and all(any(re.search(word, step) for step in steps) for word in words), \
            "it is %s" % short(chain)

    def expect_site(self, wanted):
        function, *rest = wanted.split(None, 1)
        sites = [s for s in (self.suspect or {"sites": []})["sites"] if stack_has(s["stack"], function)]
        value = {"count": sum(s["count"] for s in sites), "bytes": sum(s["bytes"] for s in sites)}
        return bool(sites) and all(holds(value[k], rel, v) for k, rel, v in conditions("".join(rest))), \
            "it is %s" % value

    def expect_type_source(self, wanted):
        name, source = wanted.split()
        rows = [r for r in self.diff["growth"] if re.search(name, r["type"])]
        return bool(rows) and all(r["type_source"] == source for r in rows), short(rows)

    def expect_leaks(self, wanted):
        if wanted == "none":
            return not self.leaks["leaks"], short(self.leaks["leaks"])
        wanted = conditions(wanted)
        found = [x for x in self.leaks["leaks"]
                 if all(stack_has(x["stack"], v) for k, _, v in wanted if k == "site")
                 and all(holds(x["size"], rel, v) for k, rel, v in wanted if k == "size")
                 and all(x["direct"] for k, _, _ in wanted if k == "direct")]
        value = {"count": sum(x["count"] for x in found), "bytes": sum(x["bytes"] for x in found)}
        return bool(found) and all(holds(value[k], rel, v) for k, rel, v in wanted if k in value), \
            "it is %s of %s" % (value, short([[x["type"], x["count"], x["direct"]] for x in self.leaks["leaks"]]))

    def expect_quiet(self, _):
        bad = [s for s in self.diff["suspects"] if s["verdict"] != "stable"]
        return not bad, short(bad)

    def expect_exit(self, wanted):
        return self.status == int(wanted), "it ended with %s" % self.status

    def text_names(self, words):
        text = leakdiff(*self.paths)
        check("the text without --json ends with the same status", text.returncode == self.status, text.stderr)
        for word in words:
            check("the text names %s" % word, word in text.stdout, text.stdout[:2000])


def try_sample(name, only_drive):
    sample = Sample(name)
    print("-- %s" % name, flush=True)
    if not os.path.exists(sample.program[0]):
        sys.exit("%s is not built" % sample.program[0])
    if not only_drive and not (os.path.exists(COMMAND) and os.path.exists(LIBRARY)):
        skip("leakdiff is not built")
    running = Running(sample, None if only_drive else scratch("sample"))
    running.drive("before")
    running.snapshot("A")
    running.drive("between")
    time.sleep(sample.rest)
    running.snapshot("B")
    running.end()
    if only_drive:
        return

    answers = {worker: Answer(running, worker) for worker in running.pids}
    names = {worker: set() for worker in answers}
    for what, wanted in sample.expected:
        match = re.search(r"worker=(\d+)\s*", wanted)
        worker = int(match.group(1)) if match else None
        rest = wanted.replace(match.group(0), "").strip() if match else wanted
        good, otherwise = getattr(answers[worker], "expect_" + what)(rest)
        check(" ".join(("EXPECT", what, wanted)).strip(), good, otherwise)
        if what == "suspect":
            names[worker] |= {v for k, rel, v in conditions(rest) if k == "holder" and rel == "="}
    for worker, answer in answers.items():
        answer.text_names(sorted(names[worker]))


def main():
    words = sys.argv[1:]
    only_drive = "-d" in words
    names = [w for w in words if w != "-d"] or sorted(
        name for name in os.listdir(os.path.join(SOURCE, "samples"))
        if os.path.exists(os.path.join(BUILD, "samples", "sample_" + name)) or
        name == "c_extension" and os.path.exists(os.path.join(MODULES, "spool.so")))
    for name in names:
        try_sample(name, only_drive)
    finish()


main()
