#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Ways to leak that are known by name are named in the reason, and only they; a program that works in the same
ways and lets go is not accused. Django's connection.queries under DEBUG, where Django is installed."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import support
from support import expect

HERE = os.path.dirname(os.path.abspath(__file__))
WORDS = {
    31000: "the class attribute registry is one list for all instances, and it is only added to",
    32000: "the module-level list module_list is only added to",
    33000: "the module-level dict module_dict is only added to",
    34000: "an exception that is kept keeps its traceback",
    35000: "a thread-local variable keeps it",
    36000: "a context variable keeps it",
    37000: "logging handlers pile up",
    38000: "functools.lru_cache on the method title keeps self alive",
    39000: "an asyncio task that does not finish holds it",
}
MORE = {
    40000: "the class attribute seen is one dict for all instances",
    41000: "functools.lru_cache on the method tax keeps self alive: each of its keys holds a __main__.View",
    42000: "logging filters pile up",
    43000: "callbacks pile up",
    44000: "a timer of asyncio that is not due yet keeps it",
    45000: "an asyncio task that has finished is kept",
}
DJANGO = """
import sys
import django
from django.conf import settings
settings.configure(DEBUG=True, DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}})
django.setup()
from django.db import connection
import os
for line in sys.stdin:
    if line.strip() == "end":
        break
    for n in range(150):
        connection.cursor().execute("SELECT %s", ["x%d" % n * 4000])
    print("ok", flush=True)
os._exit(0)
"""


class Program:
    def __init__(self, *arguments):
        self.folder = support.scratch("shapes")
        self.process = support.start(["/usr/bin/python3", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     stderr=subprocess.PIPE, env=support.shim_environment(self.folder))
        self.files = []

    def do(self, word):
        self.process.stdin.write(word.encode() + b"\n")
        self.process.stdin.flush()
        expect(self.process.stdout.readline() == b"ok\n", "%s is done" % word)

    def snap(self):
        self.files.append(os.path.join(self.folder, "%d.snap" % len(self.files)))
        done = support.leakdiff("snap", self.process.pid, "-o", self.files[-1])
        expect(done.returncode == 0, "snap succeeds: %s" % done.stderr)

    def end(self):
        self.process.stdin.write(b"end\n")
        self.process.stdin.flush()
        self.process.wait(20)
        support.silent_about_itself("shapes", self.process.stderr.read().decode())


def suspects(*files):
    return json.loads(support.leakdiff(*files, "--json").stdout)["suspects"]


def known_ways_are_named():
    program = Program(os.path.join(HERE, "shapes.py"))
    program.do("use")
    program.snap()
    for size in WORDS:
        program.do(str(size // 1000))
        program.snap()
    program.do("use")
    program.snap()
    program.end()
    for number, (size, words) in enumerate(WORDS.items()):
        found = [s for s in suspects(*program.files[number:number + 2]) if s["type"] == "bytes" and s["bytes"] > 40 * size]
        reason = found[0]["reason"] if found else "no suspect"
        expect(words in reason, "%d: %s: %s %s" % (size, words, reason, [x["edge"] for s in found for x in s["chain"]]))
        for other in set(WORDS.values()) - {words}:
            expect(other not in reason, "%d is not %s: %s" % (size, other, reason))
    said = [s["reason"] for s in suspects(*program.files[-2:])
            if s["bytes"] > 100000 or any(words in s["reason"] for words in WORDS.values())]
    expect(not said, "what lets go is not accused: %s" % said)


def forms_that_services_have():
    """Classes with a metaclass, callbacks, timers, finished tasks; all in one interval."""
    program = Program(os.path.join(HERE, "shapes.py"))
    program.do("use")
    program.snap()
    for size in MORE:
        program.do(str(size // 1000))
    program.snap()
    program.end()
    all_of_them = suspects(*program.files)
    for size, words in MORE.items():
        found = [s for s in all_of_them if s["type"] == "bytes" and 40 * size < s["bytes"] < 40 * size + 4000]
        reason = found[0]["reason"] if found else "no suspect"
        expect(words in reason, "%d: %s: %s %s" % (size, words, reason, [x["edge"] for s in found for x in s["chain"]]))


def queries_of_django_under_debug():
    if support.run(["/usr/bin/python3", "-c", "import django"]).returncode != 0:
        return
    program = Program("-c", DJANGO)
    program.do("query")
    program.snap()
    program.do("query")
    program.snap()
    program.end()
    found = suspects(*program.files)
    expect(any("Django keeps every SQL query while DEBUG is on" in s["reason"] for s in found),
           "connection.queries is named: %s" % [(s["type"], s["bytes"], s["reason"],
                                                 [x["edge"] for x in s["chain"]]) for s in found])


for case in (known_ways_are_named, forms_that_services_have, queries_of_django_under_debug):
    if not sys.argv[1:] or case.__name__ in sys.argv[1:]:
        case()
support.finish()
