#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Where the memory of a Python service is, against the interpreter's own statistics; and how much a snapshot
takes beside it."""
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import support
from support import expect
import interpreters

SERVICE = """
import gc, os, sys
class Thing:
    def __init__(self, n):
        self.name, self.pair, self.list = "thing %d" % n, (n + 1000, n * 0.5), [n + 2000, str(n)]
things = []
print("ready", flush=True)
for line in iter(sys.stdin.readline, ""):
    word, n = line.split()
    if word == "make":
        things = [Thing(i) for i in range(int(n))]
        gc.collect()
    elif word == "thin":
        things = things[::int(n)]
        gc.collect()
    elif word == "stats":
        sys._debugmallocstats()
        sys.stderr.write("end of statistics\\n")
    print("done", flush=True)
"""


class Service:
    def __init__(self, python, **environment):
        self.folder = support.scratch("ld")
        self.process = support.start([python, "-S", "-c", SERVICE], env=support.shim_environment(self.folder, **environment),
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.line()

    def line(self):
        return self.process.stdout.readline().strip()

    def ask(self, word, number=0):
        self.process.stdin.write("%s %d\n" % (word, number))
        self.process.stdin.flush()
        return self.line()

    def stats(self):
        """What the interpreter says: arenas, bytes of an arena, bytes in allocated blocks."""
        self.ask("stats")
        text = ""
        while "end of statistics" not in text:
            text += self.process.stderr.readline()
        count, size = re.search(r"^(\d+) arenas \* (\d+) bytes/arena", text, re.MULTILINE).groups()
        used = re.search(r"# bytes in allocated blocks\s+=\s+([\d,]+)", text).group(1)
        return int(count), int(size), int(used.replace(",", ""))

    def snap(self):
        path = os.path.join(self.folder, "x.snap")
        done = support.leakdiff("snap", self.process.pid, "-o", path)
        expect(done.returncode == 0, "the snapshot should succeed: %s" % done.stderr)
        rows = support.leakdiff("sql", path, "SELECT key || '=' || value FROM meta UNION ALL "
                                "SELECT 'account_' || part || '=' || bytes FROM account UNION ALL "
                                "SELECT 'maps_python=' || coalesce(sum(rss_bytes), 0) FROM maps WHERE kind = 'python'").stdout
        return {key: int(value) for key, value in re.findall(r"^(\w+)=(\d+)$", rows, re.MULTILINE)}

    def end(self):
        self.process.stdin.close()
        support.stop(self.process)


def agrees(service, name):
    """The snapshot's arenas are the interpreter's: within one arena, and 1 % of what is in use."""
    facts = service.snap()
    count, size, used = service.stats()
    expect(abs(facts["python_arena_bytes"] - count * size) <= size and abs(facts["python_arenas"] - count) <= 1,
           "%s: %d arenas of %d bytes, the snapshot says %d with %d bytes" % (
               name, count, size, facts["python_arenas"], facts["python_arena_bytes"]))
    expect(abs(facts["python_arena_used_bytes"] - used) <= used * 0.01,
           "%s: %d bytes in use, the snapshot says %d" % (name, used, facts["python_arena_used_bytes"]))
    expect(facts["maps_python"] <= facts["python_arena_bytes"], "%s: no more is resident than was mapped: %s" % (name, facts))
    parts = sum(value for key, value in facts.items() if key.startswith("account_") and key != "account_total")
    expect(parts == facts["account_total"] == facts["rss_bytes"], "%s: each byte is counted once: %s" % (name, facts))
    expect(facts["account_python"] == facts["maps_python"] - min(facts["maps_python"], facts["python_arena_used_bytes"]),
           "%s: what is not in use in resident arenas is Python's: %s" % (name, facts))
    expect(facts["account_live"] >= min(facts["maps_python"], facts["python_arena_used_bytes"]),
           "%s: what is in use is live: %s" % (name, facts))
    return facts


found = [(path, version) for path, version in interpreters.found() if version[:2] in ((3, 8), (3, 11), (3, 13))]
if not found:
    support.skip("no CPython 3.8, 3.11 or 3.13 was found")
for path, version in found:
    name = ".".join(map(str, version))
    service = Service(path)
    service.ask("make", 20000)
    full = agrees(service, name + " full")
    expect(full["account_python"] < full["python_arena_bytes"] * 0.1, "%s: nearly all is in use: %s" % (name, full))
    service.ask("thin", 50)			# every 50th object keeps its pool
    thin = agrees(service, name + " thin")
    expect(thin["account_python"] > thin["python_arena_bytes"] * 0.3, "%s: much is free, but kept: %s" % (name, thin))
    expect(thin["account_live"] < full["account_live"], "%s: and it is not live: %s" % (name, thin))
    service.end()

path = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else found[0][0]
service = Service(path, PYTHONMALLOC="malloc")
service.ask("make", 5000)
facts = service.snap()
expect(facts["python_arenas"] == 0 and facts["account_python"] == 0 and facts["maps_python"] == 0,
       "without Python's own allocator there are no arenas: %s" % facts)
service.end()

service = Service(path)
service.ask("make", 150000)
facts = service.snap()
heap = facts["rss_anon_bytes"] - facts["own_bytes"]
share = facts["child_peak_bytes"] / heap
print("%.2f M objects, %.0f MiB: the snapshot's child took %.2f of it" % (facts["python_objects"] / 1e6, heap / 2**20, share))
expect(facts["python_objects"] > 1000000, "more than a million objects: %d" % facts["python_objects"])
expect(0.05 < share < 0.5, "the child's memory is below half of the heap: %.2f" % share)
service.end()
support.finish()
