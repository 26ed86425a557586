# SPDX-License-Identifier: Apache-2.0
"""Is the verdict right, for each way in which a program uses memory, and is a healthy program left in peace?

    test_verdicts.py                  every kind once, and one of the programs (the form of the regular suite)
    test_verdicts.py --long           every kind three times, in three sizes, with and without load
    test_verdicts.py --programs [S]   real programs under a steady load: five snapshots, S seconds apart (default 3)
    test_verdicts.py --table [FILE]   the long form; writes the tables of docs/VERDICTS.md between its marks
                                      (with --programs or --kinds: that table alone)
    test_verdicts.py KIND...          these alone; KEEP=1 keeps the snapshots

What the kinds do is in kinds.c. An answer is right when the verdict, the confidence, the holder and the
accumulation point are those that stand below, and nothing else is called growing above "possible"."""
import concurrent.futures
import json
import os
import re
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from support import *  # noqa: E402,F403
import programs  # noqa: E402

KINDS = os.path.join(BUILD, "verdicts", "verdicts_kinds")
LIKELY = ("certain", "likely")
PAGE = os.path.join(SOURCE, "docs", "VERDICTS.md")


class Case:
    """One kind: its steps before and between the snapshots, and what must be said.

    verdict: of the first suspect, None = no suspect but stable or possible ones; confidence: the words that
    are right; holder: regular expression of "kind name"; point: of the accumulation point's type; words: in the reason; count: what
    grew since the first snapshot, None = whatever; trend: the finer word, or None."""

    def __init__(self, name, kind, steps, verdict, confidence=(), holder=None, point=None, count=None, words=None,
                 trend=None, says=""):
        self.name, self.kind, self.steps, self.verdict, self.confidence = name, kind, steps, verdict, confidence
        self.holder, self.point, self.count, self.words, self.trend, self.says = holder, point, count, words, trend, says


CASES = [
    Case("unbounded cache", "cache", [100, 200], "growing", ("likely",), "global g_cache", "kinds.c|table", 200),
    Case("the same over five snapshots", "cache", [100, 100, 100, 100, 100], "growing", ("likely",), "global g_cache",
         "kinds.c|table", 400, "in every interval", "growing"),
    Case("bounded cache, becomes full", "bounded", [40, 120, 80, 10, 10, 10], "warming", ("likely", "possible"),
         "global g_bounded", "kinds.c|table", None, "growth is ending", "warming up"),
    Case("bounded cache, full", "bounded", [400, 300], None),
    Case("queue that drains", "queue", [50, 150, "drain", 60, 140, "drain", 50], None),
    Case("array made larger by realloc", "array", [300, 600], "growing", ("likely",), "global g_journal", None, None),
    Case("list held from a thread's stack", "stack", [50, 100], "growing", ("likely",), r"stack work\(\) local sessions$", None, 100,
         "only a local variable holds it"),
    Case("list held from a stack's word without a name", "slot", [50, 100], "growing", ("likely",), r"stack work_unnamed\(\) unnamed slot",
         None, 100, "none of its variables covers"),
    Case("objects at the end of a chain of ten", "chain", [50, 100], "growing", ("likely",), "global g_server",
         "524288 B|link", 100),
    Case("objects that two variables hold", "shared", [50, 100], "growing", ("likely",), "global g_(list|index)", None, 100,
         "alone frees nothing"),
    Case("lost blocks", "lost", [20, 100], "unreachable", ("certain",), "none", None, 100),
    Case("unreachable cycle", "cycle", [20, 50], "unreachable", ("certain",), "none", None, 100, "cycle"),
    Case("pointers hidden by design", "hidden", [60, "drain", 60], "unreachable", ("possible",), "none", None, None,
         "hides its pointers"),
    Case("fragmentation, live bytes as before", "fragments", [1, 1], "allocator", ("likely",), "none"),
    Case("freed memory that the allocator keeps", "kept", [0, 1], "allocator", ("likely",), "none"),
    Case("arenas of its own", "arena", [2000, 6000], "growing", ("likely",), "global g_arenas", None, None),
    Case("growth in a forked worker", "worker", [100, 200], "growing", ("likely",), "global g_cache", "kinds.c|table", 200),
    Case("a new process for each snapshot, growing", "restarts", [100, 200, 300, 400], "growing", ("likely",), "global g_cache",
         "kinds.c|table", 300, "in every interval", "growing"),
    Case("a new process for each snapshot, ending", "restarts", [300, 500, 510, 512], "warming", ("likely",), "global g_cache",
         "kinds.c|table", None, "growth is ending", "warming up"),
    Case("nothing but load", "clean", [0, 0], None),
]
# Kinds of which one size alone makes sense: what the allocator keeps must be more than its threshold.
SIZES = {"fragments": (4096, 8192), "kept": (1024, 4096), "arena": (1024, 4096)}

RESTARTED = {"restarts": "cache"}	# a new process of this kind for each snapshot


class Program:
    def __init__(self, case, size, load, folder):
        self.process = start([KINDS, RESTARTED.get(case.kind, case.kind), str(size), str(load)], env=shim_environment(folder), text=True,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=1)
        words = self.process.stdout.readline().split()
        self.parent = self.process.pid
        if words[:1] == ["worker"]:
            words = self.process.stdout.readline().split()
        self.pid = int(words[1])

    def do(self, step):
        self.process.stdin.write("%s\n" % step)
        self.process.stdin.flush()
        if self.process.stdout.readline() != "done\n":
            raise RuntimeError("the program of this kind ended")

    def end(self):
        self.process.stdin.close()
        stop(self.process)


def snapshot(pid, path):
    snap = leakdiff("snap", pid, "-o", path)
    if snap.returncode:
        raise RuntimeError("snap: %s" % snap.stderr.strip())
    return path


def account_of(pid, path):
    """What is wrong with the account: its parts sum to RSS, which is the kernel's within 1 MiB and 1 % (the program waits)."""
    account = json.loads(leakdiff("rss", path, "--json").stdout)["rss"][0]
    total, kernel = account["total_bytes"], 0
    parts = sum(v for k, v in account.items() if k.endswith("_bytes") and k != "total_bytes")

    def agrees():
        nonlocal kernel
        with open("/proc/%d/smaps_rollup" % pid) as rollup:
            kernel = next(int(line.split()[1]) << 10 for line in rollup if line.startswith("Rss:"))
        return abs(total - kernel) <= (1 << 20) + 0.01 * kernel

    wrong = [] if wait_until(agrees) else ["%d bytes are resident, the kernel says %d" % (total, kernel)]
    return wrong + (["the parts sum to %d, not to %d" % (parts, total)] if parts != total else [])


def differs(files, *options):
    answer = leakdiff(*files, "--json", *options)
    return json.loads(answer.stdout), answer.returncode


def loud(suspects):
    """What would wake somebody up."""
    return [s for s in suspects if s["verdict"] not in ("stable", "warming") and s["confidence"] in LIKELY]


def told(suspect):
    holder = suspect["holder"]
    return "%s (%s), %s %s, %d in %s" % (suspect["verdict"], suspect["confidence"], holder["kind"], holder["name"],
                                         suspect["count"], (suspect["accumulates_in"] or {}).get("type"))


def judge(case, answer, status):
    """What is not right, one sentence each."""
    suspects, wrong = answer["suspects"], []
    if case.verdict is None:
        freed = [s for s in loud(suspects) if s["verdict"] == "allocator"]	# what was freed and kept is told, and is so
        return ["said %s" % told(s) for s in loud(suspects) if s not in freed] + (["exit %d" % status] if status and not freed else [])
    if not suspects:
        return ["no suspect"]
    s = suspects[0]
    holder = "%s %s" % (s["holder"]["kind"], s["holder"]["name"] or "")
    if s["verdict"] != case.verdict or s["confidence"] not in case.confidence:
        wrong.append("verdict: %s" % told(s))
    if case.holder and not re.match(case.holder, holder):
        wrong.append("holder: %s" % told(s))
    if case.point and not re.search(case.point, (s["accumulates_in"] or {}).get("type", "")):
        wrong.append("point: %s" % told(s))
    if case.count is not None and s["count"] != case.count:
        wrong.append("count is not %d: %s" % (case.count, told(s)))
    if case.words and case.words not in s["reason"]:
        wrong.append("no '%s' in: %s" % (case.words, s["reason"]))
    if case.trend and s.get("trend") != case.trend:
        wrong.append("trend: %s" % s.get("trend"))
    wrong += ["said besides: %s" % told(o) for o in loud(suspects)[0 if case.verdict == "warming" else 1:]
              if o is not s]
    return wrong


def try_case(case, size, load):
    folder = scratch("verdicts")
    program = Program(case, size, load, folder)
    files, wrong = [], []
    try:
        for number, step in enumerate(case.steps):
            if number and case.kind in RESTARTED:
                program.end()
                program = Program(case, size, load, folder)
            program.do(step)
            files.append(snapshot(program.pid, os.path.join(folder, "%d.snap" % number)))
            wrong += account_of(program.pid, files[-1])
            if program.pid != program.parent and number in (0, len(case.steps) - 1):
                snapshot(program.parent, os.path.join(folder, "parent%d.snap" % number))
        answer, status = differs(files)
        wrong += judge(case, answer, status)
        if program.pid != program.parent:	# the parent of a worker that grows has not grown
            parent, status = differs([os.path.join(folder, "parent%d.snap" % n) for n in (0, len(case.steps) - 1)])
            wrong += ["of the parent: %s" % told(s) for s in loud(parent["suspects"])]
        case.says = told(answer["suspects"][0]) if case.verdict and answer["suspects"] else "no suspect"
    except (RuntimeError, ValueError, OSError) as e:
        wrong.append(str(e))
    finally:
        program.end()
    return wrong


def run_cases(cases, runs, sizes, loads):
    """[(case, right, all)] with every wrong answer stated."""
    result = []
    for case in cases:
        right = total = 0
        for size in [s for s in sizes if s in SIZES.get(case.kind, sizes)] or SIZES[case.kind][:1]:
            for load in loads:
                for _ in range(runs):
                    wrong = try_case(case, size, load)
                    expect(not wrong, "%s, %d bytes, %d threads of load: %s" % (case.name, size, load, "; ".join(wrong)))
                    right += not wrong
                    total += 1
        print("%-42s %2d of %2d   %s" % (case.name, right, total, case.says), flush=True)
        result.append((case, right, total))
    return result


def run_programs(names, seconds):
    """[(name, snapshots, right, the loudest that was said)]; two at a time"""
    result = []

    def answer_of(name):
        try:
            return programs.under_load(name, seconds)
        except (OSError, ValueError) as e:
            return e

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        answers = list(zip(names, pool.map(answer_of, names)))
    for name, answer in answers:
        said = "nothing"
        if isinstance(answer, Exception):
            expect(False, "%s: %s" % (name, answer))
            continue
        if answer is None:
            print("%-42s not on this machine" % name, flush=True)
            continue
        suspects, status, count = answer
        growing = [s for s in suspects if s["verdict"] in ("growing", "unreachable") and s["confidence"] in LIKELY]
        if suspects:
            said = "; ".join(sorted({"%s (%s)" % (s["verdict"], s["confidence"]) for s in suspects}))
        expect(not growing, "%s under a steady load: %s" % (name, "; ".join("%s: %s" % (told(s), s["reason"]) for s in growing)))
        print("%-42s %s   %s" % (name, "right" if not growing else "WRONG", said), flush=True)
        result.append((name, count, not growing, said))
    return result


def write_table(path, cases, healthy, seconds):
    """What was not run keeps its lines."""
    with open(path, encoding="utf-8") as f:
        text = f.read()
    begin, end = "<!-- made by tests/verdicts/test_verdicts.py --table -->\n", "\n<!-- end -->"
    head, rest = text.split(begin)
    of_kinds, of_programs = rest.split(end)[0].split("\n\n")
    if cases:
        of_kinds = "\n".join(["| kind | runs | right | said |", "|---|---|---|---|"] + [
            "| %s | %d | %d | %s |" % (c.name, total, right, c.says) for c, right, total in cases])
    if healthy:
        of_programs = "\n".join(["| program | snapshots, %d s apart | right | said |" % seconds, "|---|---|---|---|"] + [
            "| %s | %d | %s | %s |" % (name, count, "yes" if right else "no", said) for name, count, right, said in healthy])
    with open(path, "w", encoding="utf-8") as f:
        f.write(head + begin + of_kinds + "\n\n" + of_programs + end + rest.split(end)[1])


def main(words):
    long = "--long" in words or "--table" in words
    chosen = [w for w in words if not w.startswith("-") and not w.isdigit() and not w.endswith(".md")]
    seconds = next((int(w) for w in words if w.isdigit()), 3 if long or "--programs" in words else 1)
    cases = [c for c in CASES if not chosen or c.kind in chosen or c.name in chosen]
    kinds, healthy = [], []
    if "--programs" not in words:
        kinds = run_cases(cases, 3, (256, 1024, 8192), (0, 2)) if long else run_cases(cases, 1, (1024,), (1,))
    if "--kinds" not in words and (not chosen or [c for c in chosen if c in programs.PROGRAMS]):
        names = [c for c in chosen if c in programs.PROGRAMS] or (
            list(programs.PROGRAMS) if long or "--programs" in words else programs.SHORT)
        healthy = run_programs(names, seconds)
    if "--table" in words:
        write_table(next((w for w in words if w.endswith(".md")), PAGE), kinds, healthy, seconds)
    finish()


main(sys.argv[1:])
