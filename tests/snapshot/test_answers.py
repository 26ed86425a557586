# SPDX-License-Identifier: Apache-2.0
"""What comes after a snapshot: suppressions and baselines that a CI job relies on, `watch`, and the page of
`report`, with a Python service whose names are made to be obeyed by whoever prints them."""
import base64
import fcntl
import hashlib
import html.parser
import json
import os
import re
import signal
import struct
import sys
import termios
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from support import *  # noqa: E402,F403

SERVICE = r'''
import ctypes, sys
malloc = ctypes.CDLL(None).malloc
malloc.restype = None      # the address is nowhere but in the processor for a moment
malloc.argtypes = [ctypes.c_size_t]
NAME = "<script>alert(1)</script>"
KEY = "\"'><img src=x onerror=alert(2)>\x1b[31m&amp;"
class Holder: pass
Evil = type("</td><b onclick='x'>", (), {})
globals()[NAME] = holder = Holder()
holder.cache = {KEY: []}
print("ready", flush=True)
for line in sys.stdin:
    for i in range(40):
        evil = Evil()
        evil.body = bytearray(20000)
        holder.cache[KEY].append(evil)
        if line.strip() == "lose":
            malloc(5000)
    print("done", flush=True)
'''


class Page(html.parser.HTMLParser):
    """What a browser would make of the page: tags, attributes, text."""
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.text, self.scripts, self.now = {}, [], [], [], None

    def handle_starttag(self, tag, attrs):
        self.tags[tag] = self.tags.get(tag, 0) + 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.now = tag

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.now = None

    def handle_endtag(self, tag):
        self.now = None

    def handle_data(self, data):
        (self.scripts if self.now == "script" else self.text).append(data)


ALLOWED = set("""html head meta title style script body header h1 h2 h3 p ol ul li a span nav section article dl dt dd strong
    details summary figure svg g polygon polyline path ellipse text div table thead tbody tr th td i rect circle""".split())


def read_page(path):
    with open(path, encoding="utf-8") as f:
        source = f.read()
    page = Page()
    page.feed(source)
    strange = {tag for tag in page.tags if tag not in ALLOWED}
    expect(not strange, "%s: tags that no page of ours has: %s" % (path, strange))
    expect(page.tags.get("script") == 1, "the page should have its own script alone, not %s" % page.tags.get("script"))
    active = [x for x in page.attributes if x[1].startswith("on") or "javascript:" in x[2].lower()]
    expect(not active, "attributes that run something: %s" % active)
    loaded = [x for x in page.attributes if x[1] in ("src", "srcset", "data", "action", "xlink:href") or
              (x[1] == "href" and not x[2].startswith("#"))]
    expect(not loaded, "the page should load nothing: %s" % loaded)
    expect(not re.search(r"@import|url\((?!#)", source), "the page's style should load nothing")
    policy = [value for tag, name, value in page.attributes if tag == "meta" and "default-src" in value]
    digest = base64.b64encode(hashlib.sha256("".join(page.scripts).encode()).digest()).decode()
    expect(policy and "default-src 'none'" in policy[0] and "script-src 'sha256-%s'" % digest in policy[0],
           "the policy should allow the page's script and no other: sha256-%s, not %s" % (digest, policy))
    ids = [value for tag, name, value in page.attributes if name == "id"]
    expect(len(ids) == len(set(ids)), "ids should be unique")
    expect("\x1b" not in source, "no control character should be in the page")
    return page


def suspects_of(*words, status):
    done = leakdiff(first, second, "--json", *words)
    expect(done.returncode == status, "leakdiff %s: expected status %d, got %s %s" % (words, status, done.returncode, done.stderr))
    return json.loads(done.stdout)


folder = scratch("answers")
service = start([sys.executable, "-c", SERVICE], env=shim_environment(folder), stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, text=True, bufsize=1)
service.stdout.readline()


def work(what="keep"):
    service.stdin.write(what + "\n")
    return service.stdout.readline()


work()
first, second = os.path.join(folder, "first.snap"), os.path.join(folder, "second.snap")
expect(leakdiff("snap", service.pid, "-o", first).returncode == 0, "a first snapshot")
work()
work("lose")
expect(leakdiff("snap", service.pid, "-o", second).returncode == 0, "a second snapshot")

# -- suppressions, baselines, a limit
plain = suspects_of(status=1)
expect(plain["unaccepted_bytes"] >= 80 * 20000 and plain["suppressed"] == [] and plain["accepted"] == [],
       "without files nothing is accepted: %s" % plain["unaccepted_bytes"])
lost = [s for s in plain["suspects"] if s["verdict"] == "unreachable"]
expect(lost and lost[0]["bytes"] >= 30 * 5000, "the blocks that ctypes lost should be a suspect: %s"
       % [(s["verdict"], s["confidence"], s["type"], s["count"], s["holder"]["name"], s["reason"]) for s in plain["suspects"]])
suppressions = os.path.join(folder, "leaks.supp")
with open(suppressions, "w") as f:
    f.write("# foreign memory\nleak:libffi\n\n  leak:^no_such_function$\n")
answer = suspects_of("--suppressions", suppressions, status=1)
expect(not any(s["verdict"] == "unreachable" for s in answer["suspects"]), "leak:libffi should suppress what ctypes lost")
expect([s["pattern"] for s in answer["suppressed"]] == ["libffi", "^no_such_function$"] and
       answer["suppressed"][0]["bytes"] >= 30 * 5000 and answer["suppressed"][1]["count"] == 0,
       "what was suppressed should be counted: %s" % answer["suppressed"])
done = leakdiff("leaks", second, "--suppressions", suppressions, "--unused")
expect("by leak:libffi" in done.stdout and "leak:^no_such_function$ matched nothing" in done.stdout and
       "5000" not in done.stdout, "leaks should leave out what is suppressed and say so: %s" % done.stdout)

baseline = os.path.join(folder, "baseline.json")
expect(leakdiff(first, second, "--suppressions", suppressions, "--write-baseline", baseline).returncode == 0,
       "--write-baseline should accept what grew")
with open(baseline) as f:
    written = f.read()
expect(json.loads(written)["leakdiff_baseline"] == 1 and written.isascii(), "a baseline is plain JSON: %r" % written[:200])
answer = suspects_of("--suppressions", suppressions, "--baseline", baseline, status=0)
expect(answer["unaccepted_bytes"] == 0 and answer["accepted"], "a run that repeats the baseline should be accepted: %s"
       % answer["unaccepted_bytes"])
again = os.path.join(folder, "again.json")
leakdiff(first, second, "--suppressions", suppressions, "--baseline", baseline, "--write-baseline", again)
with open(again) as f:
    expect(f.read() == written, "a baseline that is written again from the same growth should be the same")
suspects_of("--baseline", baseline, status=1)
suspects_of("--fail-above", "1GiB", status=0)
suspects_of("--fail-above", plain["unaccepted_bytes"], status=0)
suspects_of("--fail-above", plain["unaccepted_bytes"] - 1, status=1)
done = leakdiff(first, second, "--suppressions", suppressions, "--baseline", baseline, "--unused", "--fail-above", "10MiB")
expect(done.returncode == 0 and "accepted: " in done.stdout and "suppressed: " in done.stdout and
       "limit: 0 B of growth that is not accepted, within the 10 MiB" in done.stdout, "the report should end with what was accepted: %s" % done.stdout[-600:])
for name, text in (("text", "hello"), ("list", "[]"), ("newer", '{"leakdiff_baseline": 2, "accepted": []}'),
                   ("empty entry", '{"leakdiff_baseline": 1, "accepted": [{}]}'),
                   ("no amount", '{"leakdiff_baseline": 1, "accepted": [{"type": "x"}]}'),
                   ("negative", '{"leakdiff_baseline": 1, "accepted": [{"type": "x", "bytes": -1}]}')):
    with open(again, "w") as f:
        f.write(text)
    done = leakdiff(first, second, "--baseline", again)
    expect(done.returncode == 2 and len(done.stderr.splitlines()) == 1 and again in done.stderr,
           "a baseline that is none (%s): expected 2 and one sentence, got %s %r" % (name, done.returncode, done.stderr))

# -- named in another order: compared in that of time
turned = json.loads(leakdiff(second, first, "--json").stdout)
expect([s["path"] for s in turned["snapshots"]] == [first, second] and any("order" in note for note in turned["notes"]) and
       [s["bytes"] for s in turned["suspects"]] == [s["bytes"] for s in plain["suspects"]],
       "snapshots in the wrong order should be put right, and that said: %s" % turned["notes"])
expect(not any("order" in note for note in plain["notes"]), "nothing was put right where nothing was wrong: %s" % plain["notes"])

# -- the page
page_path = os.path.join(folder, "page.html")
for snapshots in ((first, second), (second,)):
    done = leakdiff("report", *snapshots, "-o", page_path)
    expect(done.returncode == 0 and not done.stdout and not done.stderr, "report of %d: %s" % (len(snapshots), done))
    page = read_page(page_path)
    text = "".join(page.text)
    expect("</td><b onclick='x'>" in text, "hostile names should be shown as they are, as text")
    if len(snapshots) == 2:
        expect("<script>alert(1)</script>" in text and page.tags.get("svg", 0) >= 1 and page.tags.get("figure", 0) >= 1,
               "the holder's name and a picture should be on the page")
        expect(page.tags["article"] == len(plain["suspects"]), "each suspect should have its article")
expect(sorted(x for x in os.listdir(folder) if "html" in x) == ["page.html"], "nothing else should be left beside the page")
refused = leakdiff("report", first, os.path.join(folder, "none.snap"), "-o", page_path)
expect(refused.returncode == 2 and os.path.getsize(page_path) > 1000, "a report that fails should leave the older page")

# -- watch: keeps what it says, deletes only its own, survives a process that cannot answer
kept = os.path.join(folder, "kept")
os.mkdir(kept)
open(os.path.join(kept, "other.snap"), "w").close()
work()
watch = start([COMMAND, "watch", str(service.pid), "--every", "100ms", "--keep", "2", "-o", kept, "--json"], env=clean_environment(),
              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
events = []
while len(events) < 400 and sum(e["event"] == "deleted" for e in events) < 2:
    events.append(json.loads(watch.stdout.readline()))
os.kill(service.pid, signal.SIGSTOP)
while len(events) < 400 and not any(e["event"] == "trouble" for e in events):
    events.append(json.loads(watch.stdout.readline()))
os.kill(service.pid, signal.SIGCONT)
work()
count = len(events)
while len(events) < 800 and not any(e["event"] == "snapshot" for e in events[count:]):
    events.append(json.loads(watch.stdout.readline()))
watch.send_signal(signal.SIGINT)
rest, errors = watch.communicate(timeout=60)
events += [json.loads(line) for line in rest.splitlines()]
end = events[-1]
expect(watch.returncode == 0 and not errors, "watch ended by SIGINT: status %s, %r" % (watch.returncode, errors))
expect(end["event"] == "end" and end["reason"] == "interrupted" and end["refused"] >= 1 and len(end["kept"]) == 2,
       "the end should say why and what is kept: %s" % end)
expect(sorted(os.listdir(kept)) == sorted([os.path.basename(path) for path in end["kept"]] + ["other.snap"]),
       "the folder should hold what is kept and what was there: %s" % os.listdir(kept))
grown = [e for e in events if e["event"] == "snapshot"][-1]
expect(grown["snapshots"][0]["path"] == end["kept"][0] and grown["growth"] and "suspects" in grown and grown["rss"],
       "a round should say what a diff says: %s" % sorted(grown))
expect(leakdiff(*end["kept"]).returncode in (0, 1), "what is kept should be good to be compared")

# -- on a terminal: the whole screen, given back at the end
ours, theirs = os.openpty()
fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
before = termios.tcgetattr(theirs)
watch = start([COMMAND, "watch", str(service.pid), "--every", "60s", "-o", kept], stdin=theirs, stdout=theirs, stderr=theirs,
              env=clean_environment(TERM="xterm"))
shown = b""


def read_until(wanted, seconds=30):
    global shown
    until = time.monotonic() + seconds
    os.set_blocking(ours, False)
    while wanted not in shown and time.monotonic() < until:
        try:
            shown += os.read(ours, 65536)
        except OSError:
            time.sleep(0.02)
    return expect(wanted in shown, "the screen should show %r, not %r" % (wanted, shown[-500:]))


read_until(b"next in ")
work()
shown = shown[:100]
os.write(ours, b" ")
read_until(b"2 snapshots")
read_until(b"next in ")
os.write(ours, b"q")
status = watch.wait(60)
read_until(b"asked to: 2 snapshots were taken")
expect(status == 0, "q should end watch well, not with %s" % status)
expect(b"\x1b[?1049h" in shown and b"\x1b[?1049l" in shown and shown.index(b"\x1b[?1049h") < shown.index(b"\x1b[?1049l"),
       "the screen should be taken and given back")
expect(b"<script>alert(1)</script>" in shown and b"\x1b[31m" not in shown, "names should reach the terminal escaped")
after = termios.tcgetattr(theirs)
expect(after[3] == before[3], "the terminal's settings should be as before")

# -- the process ends while it is watched
watch = start([COMMAND, "watch", str(service.pid), "--every", "60s", "-o", kept], env=clean_environment(), stdout=subprocess.PIPE,
              stderr=subprocess.PIPE, text=True)
line = watch.stdout.readline()
service.stdin.close()
out, errors = watch.communicate(timeout=60)
expect(watch.returncode == 0 and "the process has ended: 1 snapshots were taken" in out and not errors,
       "watch of a process that ends: status %s, %r %r" % (watch.returncode, out[-300:], errors))
done = leakdiff("watch", service.pid)
expect(done.returncode == 2 and len(done.stderr.splitlines()) == 1, "watch of a process that is gone: %s" % done)
finish()
