#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What leakdiff costs, against nothing and against others, measured in one interleaved run.

    tests/bench/run.py [--quick] [--json FILE] [PART ...]      parts: pairs churn pause scan blocks scale objects
                                                             symbols start threads memory programs redis tornado
                                                             python

Every round runs each configuration once, in order (servers: each round begins with the next one); a ratio is
taken against the plain run of the same round; medians are printed, with the smallest and largest. Times of a
shared machine move: quote ratios.
Configurations whose program is not installed are left out, and that is said.

  pairs   added time per malloc+free pair, stack depth 20: tight loop, churn of 100 000 blocks from 200
          stacks, the same in four threads with frees by other threads. Those that take microseconds do a
          share of the work, all others the same
  churn   the second of these alone (not again where no part is named)
  pause   how long a service stands still for a snapshot, against a bare fork of the same process
  scan    words of memory walked per second by the snapshot child
  blocks  a heap of a million blocks: snapshot, ingest and diff
  scale   synthetic snapshots of 1, 3, 10 and 30 million nodes (--nodes 1e6,3e6: those; --quick: 1 and 3), the
          first with a tenth less: diff, leaks and top, and bytes a node in the file. The largest need
          2.5 GB of disk and 6 GiB of memory
  objects a Python heap of 1 and 5 million objects: pause, whole answer, memory and file size, against
          gc.get_objects() and objgraph
  symbols a C++ program with 200 MiB of debug information: its first snapshot, when nothing is known of it, and
          its second, when the answers have been kept; needs a minute and 600 MB of disk to make the program
  start   start-up of /bin/true and of python3
  threads churn by 1, 2 and 4 threads: how the throughput scales, and how without the library
  memory  what the library holds for many sizes, a million distinct stacks, ten million live blocks
  programs C++ containers, gcc compiling a file
  redis   redis-server under redis-benchmark: requests a second, and the server's processor time a request, which
          moves less where client and server share the processors
  tornado the same of a tornado server under wrk
  python  a program that makes and drops Python objects 20 calls deep, in each mode, against tracemalloc
"""
import argparse
import json
import os
import platform
import re
import resource
import shlex
import statistics
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from support import *  # noqa: E402,F403
from support import BUILD, LIBRARY  # noqa: E402

MULTIARCH = "/usr/lib/%s-linux-gnu" % platform.machine()
HEAPTRACK = "/usr/lib/heaptrack/libheaptrack_preload.so"
JEMALLOC, TCMALLOC = MULTIARCH + "/libjemalloc.so.2", MULTIARCH + "/libtcmalloc.so.4"
COUNTING = os.path.join(BUILD, "bench", "bench_spin.so")
RESULTS = {}
OPTIONS = argparse.Namespace(nodes=None, other=None, other_library=None)


def program(name):
    path = os.path.join(BUILD, "bench", "bench_" + name)
    if not os.path.exists(path):
        sys.exit("%s is not built: build first, or set TEST_BUILD" % path)
    return path


class Configuration:
    """How to run a program: environment, a wrapper, and how much of the work (heavy ones do less)."""

    def __init__(self, name, share=1.0, needs=(), wrapper=(), **env):
        self.name, self.share, self.needs, self.wrapper, self.env = name, share, needs, wrapper, env

    def missing(self):
        return [path for path in self.needs if not (shutil.which(path) or os.path.exists(path))]

    def run(self, argv, out):
        env = clean_environment()
        for key, value in self.env.items():
            env[key] = value.replace("@", out)
        for name in os.listdir(out):
            path = os.path.join(out, name)
            shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
        return run([word.replace("@", out) for word in self.wrapper] + argv, 300, env=env, cwd=out)


PLAIN = Configuration("no profiler")
SHIM = Configuration("leakdiff full", needs=(LIBRARY,), LD_PRELOAD=LIBRARY, LEAKDIFF_DIR="@")
LITE = Configuration("leakdiff lite", needs=(LIBRARY,), LD_PRELOAD=LIBRARY, LEAKDIFF_DIR="@", LEAKDIFF_MODE="lite")
OFF = Configuration("leakdiff off", needs=(LIBRARY,), LD_PRELOAD=LIBRARY, LEAKDIFF_DIR="@", LEAKDIFF_START="off")
OTHER_SHIM, OTHER_LITE = Configuration("other library, full"), Configuration("other library, lite")  # see --other-library
SPIN = Configuration("shim that counts to 40 twice", needs=(COUNTING,), LD_PRELOAD=COUNTING)
HEAPTRACK_LIBRARY = Configuration("heaptrack library, raw file", needs=(HEAPTRACK,), LD_PRELOAD=HEAPTRACK,
                                  DUMP_HEAPTRACK_OUTPUT="@/heaptrack.raw")
HEAPTRACK_COMMAND = Configuration("heaptrack", needs=("heaptrack",), wrapper=("heaptrack", "-o", "@/heaptrack"))
HEAPTRACK_WHOLE = Configuration("heaptrack and its interpreter")  # the same run, all its processes
JEMALLOC_PLAIN = Configuration("jemalloc, no profile", 1.0, (JEMALLOC,), LD_PRELOAD=JEMALLOC)
JEMALLOC_SAMPLE = Configuration("jemalloc profile, 1 in 512 KiB", 1.0, (JEMALLOC,), LD_PRELOAD=JEMALLOC,
                                MALLOC_CONF="prof:true,lg_prof_sample:19,prof_prefix:@/jeprof")
JEMALLOC_ALL = Configuration("jemalloc profile, every block", 0.03, (JEMALLOC,), LD_PRELOAD=JEMALLOC,
                             MALLOC_CONF="prof:true,lg_prof_sample:0,prof_prefix:@/jeprof")
TCMALLOC_ALL = Configuration("tcmalloc HEAPPROFILE", 0.01, (TCMALLOC,), LD_PRELOAD=TCMALLOC, HEAPPROFILE="@/heap")


def spread(values, form="%.2f"):
    values = sorted(values)
    return (form + " (" + form + "-" + form + ")") % (statistics.median(values), values[0], values[-1])


def table(title, head, rows):
    widths = [max(len(str(row[i])) for row in [head] + rows) for i in range(len(head))]
    print("\n%s\n" % title)
    for number, row in enumerate([head] + rows):
        print("  " + "  ".join(str(cell).ljust(widths[0]) if i == 0 else str(cell).rjust(widths[i]) for i, cell in enumerate(row)))
        if number == 0:
            print("  " + "  ".join("-" * width for width in widths))
    sys.stdout.flush()


def with_other(configurations):
    """The same, and the modes of the library of --other-library."""
    if OPTIONS.other_library:
        for other, ours in ((OTHER_SHIM, SHIM), (OTHER_LITE, LITE)):
            other.env = dict(ours.env, LD_PRELOAD=OPTIONS.other_library)
        return configurations + [OTHER_LITE, OTHER_SHIM]
    return configurations


def usable(configurations):
    for configuration in configurations:
        for path in configuration.missing():
            print("left out: %s (%s is not installed)" % (configuration.name, path))
    return [c for c in configurations if not c.missing()]


def with_children(work):
    """What work() returns, and the processor seconds of all processes that it started and waited for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return result, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


# -- pairs ---------------------------------------------------------------------

def measure_pairs(quick, only=None):
    suites = [suite for suite in (
        ("pairs", 11, "one malloc(64) + free in a tight loop, stack depth 20", 2000000 if quick else 4000000),
        # here one round differs most from the next, with a profiler or without
        ("churn", 31, "churn: 100 000 live blocks of 16 to 1024 bytes, 200 stacks, depth 17 to 21", 1000000 if quick else 2000000),
        ("threads", 11, "the same in four threads, one free in four by another thread", 1000000 if quick else 2000000),
    ) if only in (None, suite[0])]
    configurations = usable(with_other([PLAIN, SPIN, OFF, LITE, SHIM]) + [
        HEAPTRACK_LIBRARY, HEAPTRACK_COMMAND, JEMALLOC_PLAIN, JEMALLOC_SAMPLE, JEMALLOC_ALL, TCMALLOC_ALL])
    for kind, rounds, title, ops in suites:
        rounds = 2 if quick else rounds
        wall, cpu, failed = {}, {}, {}
        for order in orders(configurations, rounds):
            for configuration in order:
                share, out, start = configuration.share, scratch("bench"), 0
                if configuration is HEAPTRACK_COMMAND:
                    start = with_children(lambda: configuration.run([program("pairs"), kind, "1"], out))[1]
                done, seconds = with_children(lambda: configuration.run([program("pairs"), kind, str(int(ops * share))], out))
                match = re.search(r"^ns_per_pair=([\d.]+) cpu_ns_per_pair=([\d.]+)", done.stdout, re.MULTILINE)
                if done.returncode or not match:
                    failed[configuration.name] = "status %s" % done.returncode
                else:
                    wall.setdefault(configuration.name, []).append(float(match.group(1)))
                cpu.setdefault(configuration.name, []).append(None if configuration.name in failed else float(match.group(2)))
                if configuration is HEAPTRACK_COMMAND:
                    wall.setdefault(HEAPTRACK_WHOLE.name, []).append(wall[configuration.name][-1] if match else 0)
                    cpu.setdefault(HEAPTRACK_WHOLE.name, []).append((seconds - start) * 1e9 / int(ops * share) if match else None)
                shutil.rmtree(out, ignore_errors=True)
        plain, rows = cpu[PLAIN.name], []
        for name in cpu:
            pairs = [(value, base) for value, base in zip(cpu[name], plain) if value and base]
            if not pairs:
                rows.append((name, failed.get(name, "-"), "", "", ""))
                continue
            RESULTS.setdefault(kind, {})[name] = {
                "ns": statistics.median(v for v, _ in pairs), "added_ns": statistics.median(v - b for v, b in pairs),
                "each_added_ns": [v - b for v, b in pairs],
                "ratio": statistics.median(v / b for v, b in pairs)}
            rows.append((name, spread(wall[name], "%.0f"), spread([v for v, _ in pairs], "%.0f"),
                         spread([v - b for v, b in pairs], "%.0f"), spread([v / b for v, b in pairs])))
        table("%s; %d rounds" % (title, rounds), ("", "ns a pair", "CPU ns a pair", "added CPU ns", "CPU ratio"), rows)
        for ours in (SHIM, LITE):
            compare_with_heaptrack(RESULTS[kind], ours)


def rounds_apart(mine, theirs):
    """ (least-most) of the rounds, where both did the work in each."""
    mine, theirs = mine.get("each_added_ns", ()), theirs.get("each_added_ns", ())
    if not mine or len(mine) != len(theirs) or min(theirs) <= 0:
        return ""
    ratios = [a / b for a, b in zip(mine, theirs)]
    return " (%.2f-%.2f)" % (min(ratios), max(ratios))


def compare_with_heaptrack(results, ours):
    parts = []
    for peer, what in ((HEAPTRACK_LIBRARY, "heaptrack's library adds"), (HEAPTRACK_COMMAND, "heaptrack adds to the program"),
                       (HEAPTRACK_WHOLE, "heaptrack adds as its users run it")):
        if ours.name in results and peer.name in results and results[peer.name]["added_ns"]:
            mine, theirs = results[ours.name], results[peer.name]
            parts.append("%.2f%s of what %s" % (mine["added_ns"] / theirs["added_ns"], rounds_apart(mine, theirs), what))
    if parts:
        print("  %s adds %s" % (ours.name, ", ".join(parts)))


# -- threads: does it scale? -------------------------------------------------------

def measure_threads(quick):
    rounds, ops = 3 if quick else 5, 1500000 if quick else 4000000
    counts, taken = (1, 2, 4), {}
    configurations = usable([PLAIN, OFF, LITE, SHIM, HEAPTRACK_LIBRARY])
    for _ in range(rounds):
        for configuration in configurations:
            for count in counts:
                out = scratch("bench")
                done = configuration.run([program("pairs"), "threads", str(int(ops * configuration.share)), str(count)], out)
                match = re.search(r"^ns_per_pair=([\d.]+)", done.stdout, re.MULTILINE)
                taken.setdefault((configuration.name, count), []).append(float(match.group(1)) if match else float("nan"))
                shutil.rmtree(out, ignore_errors=True)
    rows = []
    for configuration in configurations:
        row, name = [configuration.name], configuration.name
        for count in counts[1:]:
            own = [a / b for a, b in zip(taken[name, 1], taken[name, count])]
            plain = [a / b for a, b in zip(taken[PLAIN.name, 1], taken[PLAIN.name, count])]
            relative = [a / b for a, b in zip(own, plain)]
            RESULTS.setdefault("scaling", {}).setdefault(str(count), {})[name] = statistics.median(relative)
            row += [spread(own), spread(relative)]
        rows.append(row)
    table("churn by several threads: pairs a second as a multiple of one thread's (goal: 0.85 of the plain program's); %d rounds"
          % rounds, ("", "2 threads", "of plain's", "4 threads", "of plain's"), rows)


# -- memory: what makes it explode ---------------------------------------------------

FINAL = re.compile(r"libleakdiff: pid \d+: (\d+) live blocks of \d+ bytes, .*?(\d+) lost, \d+ anomalies, (\d+) stacks, (\d+) refused, "
                   r"\d+ rings, (\d+) bytes of our own")


def measure_memory(quick):
    rows = []
    for kind, count, title in (("idle", 0, "nothing"), ("sizes", 1000000 if quick else 5000000, "1009 sizes x 200 stacks, 100 000 live"),
                               ("stacks", 1000000, "a million distinct stacks"),
                               ("blocks", 1000000 if quick else 10000000, "%s million live blocks" % (1 if quick else 10))):
        argv = [program("memory"), "stacks" if kind == "idle" else kind, str(count)]
        out, own = scratch("bench"), Configuration("logging", LD_PRELOAD=LIBRARY, LEAKDIFF_DIR="@", LEAKDIFF_LOG="1")
        peaks, seconds = [], []
        for configuration in (PLAIN, own):
            begin = time.monotonic()
            done = configuration.run(argv, out)
            seconds.append(time.monotonic() - begin)
            peaks.append(int(re.search(r"peak_kb=(\d+)", done.stdout).group(1)) * 1024)
        live, lost, frames, refused, ours = map(int, FINAL.search(done.stderr).groups())
        if kind == "idle":
            empty = ours
        entry = {"blocks": live, "frames": frames, "own_bytes": ours, "rss_bytes": peaks[1] - peaks[0], "lost": lost, "refused": refused}
        RESULTS.setdefault("memory", {})[kind] = entry
        rows.append((title, live, frames, "%.1f" % (ours / 1e6), "%.1f" % (entry["rss_bytes"] / 1e6),
                     "%.0f" % ((ours - empty) / live) if kind in ("sizes", "blocks") else "-",
                     "%.0f" % ((ours - empty) / count) if kind == "stacks" else "-", lost, refused,
                     "%.2f" % (seconds[1] / seconds[0]) if count else "-"))
        shutil.rmtree(out, ignore_errors=True)
    table("memory of the library's own; a frame shared by stacks is held once",
          ("", "live blocks", "frames held", "own MB", "added RSS MB", "bytes a block", "bytes a stack", "lost", "refused", "time ratio"), rows)


# -- programs of other people ----------------------------------------------------------

def cpu_once(configuration, argv):
    """Processor seconds and peak MiB of a program, its profiler's processes included; None when it fails."""
    out = scratch("bench")
    env = clean_environment(**{key: value.replace("@", out) for key, value in configuration.env.items()})
    process = start([word.replace("@", out) for word in configuration.wrapper + tuple(argv)], env=env, cwd=out, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    shutil.rmtree(out, ignore_errors=True)
    return None if process.returncode else (usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def measure_programs(quick):
    rounds = 3 if quick else 5
    configurations = usable(with_other([PLAIN, LITE, SHIM]) + [HEAPTRACK_LIBRARY, HEAPTRACK_COMMAND])
    works = [("C++ containers", [program("containers"), "400000" if quick else "1000000"])]
    if shutil.which("gcc"):
        folder = scratch("source")
        # a file whose recording heaptrack's interpreter can read: of step.c and live.c it asks for 18 GiB
        preprocessed = os.path.join(folder, "x.i")
        run(["gcc", "-E", "-D_GNU_SOURCE", "-I", SOURCE, "-I", os.path.join(SOURCE, "preload"), os.path.join(SOURCE, "preload", "agent.c"),
             "-o", preprocessed])
        works.append(("gcc -O2 of one file", [run(["gcc", "-print-prog-name=cc1"]).stdout.strip(), "-quiet", "-O2", preprocessed, "-o", "@/x.s"]))
    rows = []
    for what, argv in works:
        taken = {}
        for _ in range(rounds):
            for configuration in configurations:
                name, begin = configuration.name, (0, 0)
                if configuration is HEAPTRACK_COMMAND:
                    name, begin = HEAPTRACK_WHOLE.name, cpu_once(configuration, ["/bin/true"])
                used = cpu_once(configuration, argv)
                taken.setdefault(name, []).append((used[0] - begin[0], used[1]) if used and begin else None)
        plain = taken[PLAIN.name]
        for name in taken:
            pairs = [(a, b) for a, b in zip(taken[name], plain) if a and b]
            if not pairs:
                rows.append(("%s, %s" % (what, name), "failed", "", ""))
                continue
            RESULTS.setdefault("programs", {}).setdefault(what, {})[name] = statistics.median(a[0] / b[0] for a, b in pairs)
            RESULTS.setdefault("programs_added", {}).setdefault(what, {})[name] = {
                "added_ns": statistics.median(a[0] - b[0] for a, b in pairs) * 1e9}
            rows.append(("%s, %s" % (what, name), spread([a[0] for a, _ in pairs]), spread([a[0] / b[0] for a, b in pairs]),
                         spread([a[1] / b[1] for a, b in pairs])))
    table("programs, processor seconds, those of helpers included, less their start-up; %d rounds" % rounds, ("", "CPU s", "CPU ratio", "peak memory ratio"), rows)
    for what, results in RESULTS.get("programs_added", {}).items():
        print("  %s:" % what, end="")
        compare_with_heaptrack(results, SHIM)
        print("  %s:" % what, end="")
        compare_with_heaptrack(results, LITE)


# -- servers: requests a second, and what a request costs the server --------------------------

HZ = os.sysconf("SC_CLK_TCK")


def cpu_of(pid):
    """Processor seconds of a process so far, its reaped children left out."""
    with open("/proc/%d/stat" % pid) as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / HZ


def settings_of(configuration, out):
    return clean_environment(**{key: value.replace("@", out) for key, value in configuration.env.items()})


def orders(configurations, rounds):
    """Each round begins with another one, since a server that follows a heavy one finds a machine that is slower for a while."""
    return [configurations[i % len(configurations):] + configurations[:i % len(configurations)] for i in range(rounds)]


def redis_once(configuration, number):
    """By command: requests a second of redis-server under a configuration, and its processor time a request in us."""
    out, port, result = scratch("bench"), free_port(), {}
    server = start(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", out],
                   env=settings_of(configuration, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if wait_for_port(port, server):
        # LRANGE reads the list that LPUSH made
        for command, words, share in (("SET", ["-t", "set"], 1), ("LPUSH", ["-t", "lpush"], 1), ("LRANGE 100", ["lrange", "mylist", "0", "99"], 0.3)):
            begin, count = cpu_of(server.pid), int(number * share)
            done = run(["redis-benchmark", "-p", str(port), "-n", str(count), "-c", "20", "-d", "512", "-r", "10000", "--csv"] + words, 120,
                       env=clean_environment())
            rate = re.search(r'^"(?:set|lpush|lrange)[^"]*","([\d.]+)"', done.stdout, re.MULTILINE | re.IGNORECASE)
            if rate and not done.returncode:
                result[command] = (float(rate.group(1)), (cpu_of(server.pid) - begin) / count * 1e6)
    stop(server, 5, signal.SIGKILL)
    shutil.rmtree(out, ignore_errors=True)
    return result


def tornado_once(configuration, seconds):
    """The same of a tornado server: a handler of few bytes under wrk."""
    out, result = scratch("bench"), {}
    server = start(["/usr/bin/python3", os.path.join(SOURCE, "samples", "tornado_cache", "app.py")], stdout=subprocess.PIPE,
                   stderr=subprocess.DEVNULL, env=dict(settings_of(configuration, out), CACHE="none"), text=True)
    match = re.search(r"listening on (\d+)", server.stdout.readline())
    if match:
        url = "http://127.0.0.1:%s/" % match.group(1)
        run(["wrk", "-t", "1", "-c", "8", "-d", "1s", url], 60)
        begin = cpu_of(server.pid)
        done = run(["wrk", "-t", "1", "-c", "8", "-d", "%ds" % seconds, url], 60)
        rate, count = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout), re.search(r"(\d+) requests in", done.stdout)
        if rate and count and int(count.group(1)):
            result["GET"] = (float(rate.group(1)), (cpu_of(server.pid) - begin) / int(count.group(1)) * 1e6)
    stop(server, 5, signal.SIGKILL)
    shutil.rmtree(out, ignore_errors=True)
    return result


def show_servers(title, commands, taken, configurations, rounds):
    rows = []
    for command in commands:
        for configuration in configurations:
            name = configuration.name
            pairs = [(a[command], b[command]) for a, b in zip(taken[name], taken[PLAIN.name]) if command in a and command in b]
            if not pairs:
                rows.append(("%s: %s" % (command, name), "failed", "", "", ""))
                continue
            rate, cpu = [a[0] / b[0] for a, b in pairs], [a[1] / b[1] for a, b in pairs]
            RESULTS.setdefault("servers", {}).setdefault("%s %s" % (re.split("[,;]", title)[0], command), {})[name] = {
                "rate": statistics.median(rate), "cpu": statistics.median(cpu)}
            rows.append(("%s: %s" % (command, name), spread([a[0] / 1000 for a, _ in pairs], "%.1f"), spread(rate),
                         spread([a[1] for a, _ in pairs], "%.1f"), spread(cpu)))
    table("%s; %d rounds" % (title, rounds), ("", "1000 requests/s", "of plain's", "server's CPU us a request", "of plain's"), rows)


def measure_redis(quick):
    if not (shutil.which("redis-server") and shutil.which("redis-benchmark")):
        print("left out: redis (redis-server or redis-benchmark is not installed)")
        return
    rounds, taken, configurations = 5 if quick else 11, {}, usable([PLAIN, LITE, SHIM, HEAPTRACK_LIBRARY])
    for order in orders(configurations, rounds):
        for configuration in order:
            taken.setdefault(configuration.name, []).append(redis_once(configuration, 40000 if quick else 100000))
    show_servers("redis-server, values of 512 bytes; the client shares the processors", ("SET", "LPUSH", "LRANGE 100"), taken, configurations, rounds)


def measure_tornado(quick):
    if not shutil.which("wrk") or run(["/usr/bin/python3", "-c", "import tornado"]).returncode:
        print("left out: tornado (wrk or tornado is not installed)")
        return
    rounds, taken, configurations = 5 if quick else 11, {}, usable([PLAIN, LITE, SHIM, HEAPTRACK_LIBRARY])
    for order in orders(configurations, rounds):
        for configuration in order:
            taken.setdefault(configuration.name, []).append(tornado_once(configuration, 2 if quick else 4))
    show_servers("tornado server; the client shares the processors", ("GET",), taken, configurations, rounds)


# -- pause and scan ------------------------------------------------------------

class Talker:
    """A bench program that answers lines."""

    def __init__(self, argv, folder, shim=True):
        env = shim_environment(folder) if shim else clean_environment()
        self.process = start(argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self.process.pid
        self.first = self.line()
        if shim and not wait_until(lambda: leakdiff("status", self.pid).returncode == 0, 20, 0.1):
            sys.exit("the process does not answer leakdiff status: %s" % leakdiff("status", self.pid).stderr)

    def line(self):
        return self.process.stdout.readline().strip()

    def ask(self, word):
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        answer = self.line()
        return int(answer.split("=")[1]) if "=" in answer else answer


def snapshot(pid, path):
    """Seconds that `leakdiff snap` took; a refusal is printed and asked again twice."""
    for _ in range(3):
        begin = time.monotonic()
        done = leakdiff("snap", pid, "-o", path, seconds=300)
        if done.returncode == 0:
            return time.monotonic() - begin
        print("snap failed: %s" % done.stderr.strip(), flush=True)
        time.sleep(2)
    sys.exit("three snapshots in a row failed")


def facts(path):
    """The meta table of a snapshot, numbers as integers."""
    done = leakdiff("sql", path, "SELECT key || '=' || value FROM meta")
    result = {}
    for line in done.stdout.splitlines():
        match = re.search(r"(\w+)=(-?\d+)\s*$", line)
        if match:
            result[match.group(1)] = int(match.group(2))
    return result


def measure_pause(quick):
    rows, scans = [], []
    for mib in (256, 1024) if quick else (256, 1024, 4096):
        talker = Talker([program("pause"), str(mib)], scratch("ld"))
        forks, pauses, gaps, idle, parts = [], [], [], [], []
        path = os.path.join(scratch("snaps"), "x.snap")
        for _ in range(3 if quick else 7):
            talker.ask("gap")
            time.sleep(0.3)
            idle.append(talker.ask("gap") / 1e6)
            forks.append(talker.ask("fork") / 1e6)
            talker.ask("gap")
            took = snapshot(talker.pid, path)
            gaps.append(talker.ask("gap") / 1e6)
            meta = facts(path)
            pauses.append(meta["pause_ns"] / 1e6)
            parts.append((meta.get("stop_ns", 0) / 1e6, meta.get("drain_ns", 0) / 1e6, meta.get("fork_ns", 0) / 1e6))
            words = meta.get("scanned_bytes", meta.get("bytes", 0)) / 8
            scans.append((mib, words, meta.get("child_ns", 0) / 1e9, took, meta.get("scan_cpu_ns", 0) / 1e9))
            os.unlink(path)
        stop(talker.process, 1, signal.SIGKILL)
        goal = statistics.median(forks) * 1.25 + 2
        median = statistics.median(pauses)
        RESULTS.setdefault("pause", {})[str(mib)] = {"fork_ms": statistics.median(forks), "pause_ms": median, "goal_ms": goal,
                                                     "gap_ms": statistics.median(gaps)}
        rows.append(("%g GiB" % (mib / 1024), spread(forks, "%.1f"), spread(pauses, "%.1f"), "%.1f" % goal, "yes" if median <= goal else "NO",
                     "%.2f" % (median / statistics.median(forks)), spread(gaps, "%.1f"), "%.1f" % statistics.median(idle),
                     " + ".join("%.1f" % statistics.median(p[i] for p in parts) for i in range(3))))
    table("pause of the service for a snapshot, ms; goal: at most 1.25 x a bare fork of the same process + 2 ms",
          ("live blocks", "bare fork", "pause", "goal", "met", "ratio", "busy thread's gap", "gap without", "stop + drain + fork"), rows)
    table("scan, one pointer in 16 words; the snapshot child runs at the lowest priority: the processor time tells its speed",
          ("live blocks", "million words", "scan, CPU s", "million words/CPU s", "whole child, s", "leakdiff snap, s"),
          [("%g GiB" % (mib / 1024), "%.0f" % (of[0][1] / 1e6), spread([x[4] for x in of]),
            spread([x[1] / 1e6 / (x[4] or x[2]) for x in of if x[4] or x[2]], "%.0f"), spread([x[2] for x in of]), spread([x[3] for x in of]))
           for mib in sorted({x[0] for x in scans}) for of in [[x for x in scans if x[0] == mib]]])
    RESULTS["scan"] = {str(m): statistics.median(x[1] / (x[4] or x[2]) for x in scans if x[0] == m and (x[4] or x[2])) for m in {x[0] for x in scans}}


# -- a million blocks ------------------------------------------------------------

def timed(argv):
    """Seconds, largest memory in MiB, exit status, standard output, and processor seconds."""
    begin = time.monotonic()
    process = start(argv, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return time.monotonic() - begin, usage.ru_maxrss / 1024, process.returncode, out, usage.ru_utime + usage.ru_stime


def measure_blocks(quick):
    sys.path.insert(0, os.path.join(SOURCE, "tests", "faults"))
    from victim import raw_stream
    count = 200000 if quick else 1000000
    folder = scratch("snaps")
    talker = Talker([program("blocks"), str(count)], scratch("ld"))
    first, second, stream, again = (os.path.join(folder, n) for n in ("1.snap", "2.snap", "x.stream", "3.snap"))
    took = [snapshot(talker.pid, first)]
    talker.ask("more")
    took.append(snapshot(talker.pid, second))
    begin = time.monotonic()
    raw_stream(talker, stream)
    raw = time.monotonic() - begin
    stop(talker.process, 1, signal.SIGKILL)
    commands = (
        ("ingest", [COMMAND, "ingest", stream, "-o", again]),
        ("diff", [COMMAND, first, second]),
        ("diff --json", [COMMAND, first, second, "--json"]),
        ("diff --png", [COMMAND, first, second, "--png", os.path.join(folder, "x.png")]),
        ("top", [COMMAND, "top", second]),
        ("leaks", [COMMAND, "leaks", second]),
        ("check", [COMMAND, "check", second]),
    )
    meta = facts(second)
    seconds, memory = {}, {}
    for _ in range(2 if quick else 3):
        for name, argv in commands:
            t, mib, status, _, _ = timed(argv)
            if status not in (0, 1):
                print("%s ended with %d" % (name, status))
            seconds.setdefault(name, []).append(t)
            memory.setdefault(name, []).append(mib)
    rows = [("leakdiff snap (all of it)", spread(took), ""), ("capture stream to a file", "%.2f" % raw, "")]
    rows += [(name, spread(seconds[name]), "%.0f" % max(memory[name])) for name, _ in commands]
    table("a heap of %d blocks (%d live at the second snapshot)" % (count, meta.get("blocks", 0)), ("", "seconds", "MiB"), rows)
    both = statistics.median(seconds["ingest"]) + statistics.median(seconds["diff"])
    print("  ingest and diff together: %.2f s (goal for a million blocks: below 3 s)" % both)
    print("  stream %.1f MB, snapshot file %.1f MB; pause %.1f ms, child %.2f s"
          % (os.path.getsize(stream) / 1e6, os.path.getsize(second) / 1e6, meta.get("pause_ns", 0) / 1e6, meta.get("child_ns", 0) / 1e9))
    heap = meta["rss_anon_bytes"] - meta["own_bytes"]
    print("  child's own memory %.1f MiB, %.2f of a heap of %.0f MiB (%.0f bytes a block)"
          % (meta.get("child_peak_bytes", 0) / 2 ** 20, meta.get("child_peak_bytes", 0) / heap, heap / 2 ** 20, heap / meta["blocks"]))
    RESULTS["blocks"] = {"child_share": meta.get("child_peak_bytes", 0) / heap, "count": meta.get("blocks"), "ingest_s": statistics.median(seconds["ingest"]),
                         "diff_s": statistics.median(seconds["diff"]), "snapshot_bytes": os.path.getsize(second)}


# -- Python objects ------------------------------------------------------------

def snapshot_child(pid):
    """The pid of the snapshot child of a process; None = there is none."""
    for name in os.listdir("/proc"):
        try:
            with open("/proc/%d/stat" % int(name)) as f:
                comm, rest = f.read().split("(", 1)[1].rsplit(")", 1)
        except (OSError, ValueError, IndexError):
            continue
        if comm == "leakdiff-snap" and int(rest.split()[1]) == pid:
            return int(name)
    return None


def private_bytes(pid):
    """Memory that exists for this process alone: its own, and pages that it or its parent changed since the fork."""
    total = 0
    with open("/proc/%d/smaps_rollup" % pid) as f:
        for line in f:
            if line.startswith(("Private_Clean:", "Private_Dirty:")):
                total += int(line.split()[1]) << 10
    return total


class ChildMemory(threading.Thread):
    """Looks at the memory of a process's snapshot child until it is told to stop."""

    def __init__(self, pid):
        super().__init__()
        self.pid, self.most, self.ended = pid, 0, threading.Event()
        self.start()

    def run(self):
        child = None
        while not self.ended.wait(0.02):
            child = child or snapshot_child(self.pid)
            try:
                if child:
                    self.most = max(self.most, private_bytes(child))
            except (OSError, ProcessLookupError):
                child = None

    def end(self):
        self.ended.set()
        self.join()
        return self.most


def blob_bytes(path, what):
    done = leakdiff("sql", path, "SELECT 'total=' || %s" % what)
    return int(re.search(r"total=(\d+)", done.stdout).group(1))


def objects_once(million, rounds):
    """One size: a service under the library, and the same program without it, in which the peers run."""
    argv = ["/usr/bin/python3", os.path.join(SOURCE, "tests", "bench", "objects.py"), str(int(million * 1e6))]
    folder = scratch("snaps")
    ours, peer = Talker(argv, scratch("ld")), Talker(argv, scratch("ld"), shim=False)
    first, second = os.path.join(folder, "1.snap"), os.path.join(folder, "2.snap")
    pauses, gaps, gets, growths, answers, ours_answers, takes, children, diffs, parts = [], [], [], [], [], [], [], [], [], []
    for _ in range(rounds):
        gets.append(peer.ask("get") / 1e6)
        peer.ask("growth")
        growths.append(peer.ask("growth") / 1e6)
        peer.ask("more")
        answers.append(growths[-1] / 1e3 + peer.ask("answer") / 1e9)
        snapshot(ours.pid, first)
        looking = ChildMemory(ours.pid)		# not in the take that is timed: each look stops the child's page faults
        snapshot(ours.pid, second)
        children.append(looking.end())
        ours.ask("more")
        ours.process.stdin.write("watch\n")
        ours.process.stdin.flush()
        time.sleep(0.05)
        takes.append(snapshot(ours.pid, second))
        gaps.append(ours.ask("stop") / 1e6)
        begin = time.monotonic()
        done = leakdiff(first, second)
        diffs.append(time.monotonic() - begin)
        if done.returncode != 1 or "Request" not in done.stdout:
            print("the growth was not found: status %s\n%s%s" % (done.returncode, done.stdout, done.stderr))
        ours_answers.append(2 * takes[-1] + diffs[-1])
        meta = facts(second)
        pauses.append(meta["pause_ns"] / 1e6)
        parts.append(meta)
    heap = meta["rss_anon_bytes"] - meta["own_bytes"]
    sizes = {name: blob_bytes(second, what) for name, what in (
        ("nodes", "(SELECT sum(length(data)) FROM node_chunks)"),
        ("edges", "(SELECT sum(length(targets) + length(labels)) FROM edge_chunks)"))}
    tool = ours.first.split("tool=")[1]
    stop(ours.process, 1, signal.SIGKILL)
    stop(peer.process, 1, signal.SIGKILL)
    median = statistics.median
    return {
        "objects": meta["python_objects"], "heap": heap, "tool": tool, "nodes": meta["nodes"], "edges": meta["edges"],
        "file": os.path.getsize(second), "node_bytes": sizes["nodes"] / meta["nodes"], "edge_bytes": sizes["edges"] / meta["edges"],
        "pause": pauses, "gap": gaps, "get": gets, "growth": growths, "answer": answers, "ours": ours_answers, "take": takes, "diff": diffs,
        "child": median(children) / heap, "child_said": meta.get("child_peak_bytes", 0) / heap,
        "cpu": median(m["child_cpu_ns"] for m in parts) / 1e9,
        "get_ratio": median(g / p for g, p in zip(gets, pauses)), "growth_ratio": median(g / p for g, p in zip(growths, pauses)),
        "answer_ratio": median(a / o for a, o in zip(answers, ours_answers)),
    }


def measure_objects(quick):
    sizes = [objects_once(million, 2 if quick else 3) for million in ((0.2, 1) if quick else (1, 5))]
    tool = sizes[0]["tool"]
    other = "objgraph.show_growth()" if tool.startswith("objgraph") else "Counter of gc.get_objects()"
    title = ["%.1f M objects" % (s["objects"] / 1e6) for s in sizes]
    if not tool.startswith("objgraph"):
        print("left out: objgraph (python3-objgraph is not installed); a Counter over gc.get_objects() and gc.get_referrers() stand for it")
    table("Python: how long the program stands still, ms; peers in the same run (%s)" % tool, ["what stands still"] + title, [
        ["leakdiff snap: pause"] + [spread(s["pause"], "%.1f") for s in sizes],
        ["leakdiff snap: a busy thread's gap"] + [spread(s["gap"], "%.1f") for s in sizes],
        ["gc.get_objects()"] + [spread(s["get"], "%.0f") for s in sizes],
        [other] + [spread(s["growth"], "%.0f") for s in sizes],
        ["gc.get_objects() / pause"] + ["%.1f" % s["get_ratio"] for s in sizes],
        [other + " / pause"] + ["%.0f" % s["growth_ratio"] for s in sizes]])
    table("Python: from the first look to the holder, s", ["whole answer"] + title, [
        ["leakdiff: two snapshots and diff"] + [spread(s["ours"]) for s in sizes],
        ["  one snapshot, ingest included"] + [spread(s["take"]) for s in sizes],
        ["  processor time of the child"] + ["%.2f" % s["cpu"] for s in sizes],
        ["  diff"] + [spread(s["diff"]) for s in sizes],
        [other + " twice, then a chain"] + [spread(s["answer"]) for s in sizes],
        ["ratio, theirs / ours"] + ["%.2f" % s["answer_ratio"] for s in sizes]])
    table("Python: what a snapshot takes", ["memory and file"] + title, [
        ["heap of the service, MiB"] + ["%.0f" % (s["heap"] / 2 ** 20) for s in sizes],
        ["child's memory, share of the heap, seen from outside"] + ["%.2f" % s["child"] for s in sizes],
        ["child's memory, as the snapshot says"] + ["%.2f" % s["child_said"] for s in sizes],
        ["nodes, million"] + ["%.2f" % (s["nodes"] / 1e6) for s in sizes],
        ["references, million"] + ["%.2f" % (s["edges"] / 1e6) for s in sizes],
        ["file, MB"] + ["%.1f" % (s["file"] / 1e6) for s in sizes],
        ["bytes a node, its own columns"] + ["%.2f" % s["node_bytes"] for s in sizes],
        ["bytes a reference"] + ["%.2f" % s["edge_bytes"] for s in sizes],
        ["file bytes a node, references and all"] + ["%.2f" % (s["file"] / s["nodes"]) for s in sizes]])
    RESULTS["objects"] = {title[i]: {k: (statistics.median(v) if isinstance(v, list) else v) for k, v in s.items()} for i, s in enumerate(sizes)}


# -- large heaps -----------------------------------------------------------------

def chunk_bytes(path):
    """Bytes of a file's node chunks and of its reference chunks, and how many there are of each."""
    done = leakdiff("sql", path, "SELECT 'n=' || (SELECT sum(length(data)) FROM node_chunks), 'm=' || (SELECT sum(count) FROM node_chunks),"
                    " 'e=' || (SELECT sum(length(targets) + length(labels)) FROM edge_chunks), 'f=' || (SELECT sum(count) FROM edge_chunks)")
    return [int(re.search(r"\b%s=(\d+)" % key, done.stdout).group(1)) for key in "nmef"]


def measure_scale(quick):
    counts = [int(float(n)) for n in OPTIONS.nodes.split(",")] if OPTIONS.nodes else [1000000, 3000000] + ([] if quick else [10000000, 30000000])
    commands = [("this build", COMMAND)] + ([("other build", OPTIONS.other)] if OPTIONS.other else [])
    rows, sizes = [], []
    for count in counts:
        folder = scratch("scale")
        first, second = os.path.join(folder, "1.snap"), os.path.join(folder, "2.snap")
        done = run([program("make_snapshot"), str(int(count / 1.1)), "10", first, second], 300)
        if done.returncode:
            sys.exit("bench_make_snapshot: %s" % done.stderr)
        node_bytes, nodes, edge_bytes, edges = chunk_bytes(second)
        sizes.append(("%.3g million" % (nodes / 1e6), "%.3g" % (edges / 1e6), "%.1f" % (os.path.getsize(second) / 1e6), "%.2f" % (node_bytes / nodes),
                      "%.2f" % (edge_bytes / edges), "%.2f" % (os.path.getsize(second) / nodes)))
        for name, words in (("leakdiff A B", [first, second]), ("leakdiff top B", ["top", second]), ("leakdiff leaks B", ["leaks", second])):
            taken, answers = [], set()
            for build, command in commands:
                seconds, mib, status, out, cpu = timed([command] + words)
                if status not in (0, 1):
                    print("%s of %s ended with %d" % (name, build, status))
                answers.add(out)
                taken.append((seconds, cpu, mib))
                rows.append(("%.3g million: %s%s" % (nodes / 1e6, name, ", " + build if OPTIONS.other else ""), "%.2f" % seconds, "%.2f" % cpu, "%.0f" % mib,
                             "%.0f" % (mib * 1048576 / nodes), "%.2f, %.2f" % (cpu / taken[0][1], mib / taken[0][2]) if OPTIONS.other else ""))
                RESULTS.setdefault("scale", {}).setdefault(str(count), {})["%s, %s" % (name, build)] = {"s": seconds, "cpu_s": cpu, "mib": mib}
            if len(answers) > 1:
                print("%s: the two builds answer differently" % name)
        shutil.rmtree(folder, ignore_errors=True)
    table("large heaps: B has a tenth more nodes than A; the number and bytes a node are those of B",
          ("", "seconds", "CPU s", "MiB", "bytes a node", "CPU and memory to this build" if OPTIONS.other else ""), rows)
    table("their files", ("nodes", "million references", "MB", "bytes a node", "bytes a reference", "whole file, bytes a node"), sizes)


# -- start-up --------------------------------------------------------------------

# One of the many units of a large C++ program. The compiler makes a few; the others are copies with other names.
UNIT = """#include <bits/stdc++.h>
template <int N> struct Item { int id; std::string name; std::map<int, std::string> parts; std::vector<Item *> kids; std::array<int, N> a; };
template <int N> static void work(std::unordered_map<std::string, std::shared_ptr<Item<N>>> &m) {
	auto p = std::make_shared<Item<N>>(); p->name = std::string(100, 'x'); p->parts[N] = "x"; m["k"] = p; p->kids.push_back(new Item<N>());
	std::set<std::string> s{"a"}; std::deque<Item<N>> d{*p}; std::regex r("a"); std::list<Item<N>> l{*p};
	std::sort(d.begin(), d.end(), [](auto &a, auto &b) { return a.id < b.id; }); std::function<void()> f = [&] { s.clear(); }; f(); }
static std::unordered_map<std::string, std::shared_ptr<Item<UNIT + 1>>> one;
static std::unordered_map<std::string, std::shared_ptr<Item<UNIT + 11>>> two;
static std::unordered_map<std::string, std::shared_ptr<Item<UNIT + 21>>> three;
Item<UNIT + 1> *kept_unit;
extern "C" void unit() { work(one); work(two); work(three); kept_unit = new Item<UNIT + 1>(); }
"""


def large_program(folder, mib):
    """A program with so much debug information, and how much it has."""
    path, copies, kinds = os.path.join(folder, "large"), [], 3
    for kind in range(kinds):
        with open(os.path.join(folder, "unit%d.cc" % kind), "w") as out:
            out.write(UNIT)
        if run(["g++", "-g", "-O1", "-DUNIT=%d" % kind, "-c", "unit%d.cc" % kind], 300, cwd=folder).returncode:
            return None, 0
    units = max(1, mib * (1 << 20) // debug_bytes(os.path.join(folder, "unit0.o")))
    for unit in range(units):
        copies.append("copy%d.o" % unit)
        run(["objcopy", "--redefine-sym", "unit=unit_%d" % unit, "--redefine-sym", "kept_unit=kept_%d" % unit,
             "unit%d.o" % (unit % kinds), copies[-1]], 60, cwd=folder)
    with open(os.path.join(folder, "main.c"), "w") as out:
        out.write("".join("void unit_%d(void);\n" % unit for unit in range(units)))
        out.write("#include <stdio.h>\n#include <unistd.h>\nint main(void) {%s puts(\"ready\"); fflush(stdout); pause(); }\n"
                  % "".join(" unit_%d();" % unit for unit in range(units)))
    run(["gcc", "-g", "-c", "main.c"], 60, cwd=folder)
    if run(["g++", "-o", path, "main.o"] + copies, 300, cwd=folder).returncode:
        return None, 0
    return path, debug_bytes(path)


def debug_bytes(path):
    """All sections of debug information of a file but the strings, which the linker shares."""
    listing = run(["readelf", "-SW", path], 60).stdout
    return sum(int(size, 16) for size in re.findall(r" \.debug_(?!str)\w+\s+\w+\s+[0-9a-f]+\s+[0-9a-f]+\s+([0-9a-f]+)", listing))


def measure_symbols(quick):
    folder, rows = scratch("symbols"), []
    path, size = large_program(folder, 50 if quick else 200)
    if not path:
        print("left out: symbols (the large program cannot be compiled)")
        return
    talker, empty = Talker([path], scratch("ld")), os.path.join(folder, "cache")
    for _ in range(1 if quick else 3):
        shutil.rmtree(empty, ignore_errors=True)
        os.mkdir(empty, 0o700)
        os.environ["XDG_CACHE_HOME"] = empty
        rows.append([snapshot(talker.pid, os.path.join(folder, "%d.snap" % number)) for number in range(2)])
    kept = sum(os.path.getsize(os.path.join(top, name)) for top, _, names in os.walk(empty) for name in names)
    stop(talker.process, 5, signal.SIGKILL)
    RESULTS["symbols"] = {"debug_bytes": size, "first_s": [row[0] for row in rows], "second_s": [row[1] for row in rows], "kept_bytes": kept}
    table("a C++ program with %.0f MiB of debug information; leakdiff snap, seconds" % (size / 2**20), ("", "first", "second", "kept MiB"),
          [("snap", spread([row[0] for row in rows]), spread([row[1] for row in rows]), "%.1f" % (kept / 2**20))])


def measure_start(quick):
    rounds, times = 3 if quick else 7, 20
    configurations = usable([PLAIN, OFF, SHIM, HEAPTRACK_LIBRARY, JEMALLOC_SAMPLE])
    rows = []
    for what, argv in (("/bin/true", ["/bin/true"]), ("python3 -c pass", ["/usr/bin/python3", "-S", "-c", "pass"])):
        taken = {}
        for _ in range(rounds):
            for configuration in configurations:
                out = scratch("bench")
                begin = time.monotonic()
                # The shell itself runs plain; heaptrack would hide itself from its children.
                settings = " ".join("%s=%s" % (key, shlex.quote(value.replace("@", out))) for key, value in configuration.env.items())
                done = PLAIN.run(["/bin/sh", "-c", "i=0; while [ $i -lt %d ]; do %s \"$@\" || exit 9; i=$((i+1)); done"
                                  % (times, settings), "sh"] + argv, out)
                if done.returncode:
                    print("%s under %s ended with %s" % (what, configuration.name, done.returncode))
                taken.setdefault(configuration.name, []).append((time.monotonic() - begin) * 1000 / times)
                shutil.rmtree(out, ignore_errors=True)
        for configuration in configurations:
            values = taken[configuration.name]
            rows.append(("%s, %s" % (what, configuration.name), spread(values, "%.1f"),
                         spread([a - b for a, b in zip(values, taken[PLAIN.name])], "%.1f"),
                         spread([a / b for a, b in zip(values, taken[PLAIN.name])])))
            RESULTS.setdefault("start", {}).setdefault(what, {})[configuration.name] = statistics.median(values)
    table("start-up and end of a process, ms, %d rounds of %d" % (rounds, times), ("", "ms", "added ms", "ratio"), rows)


# -- Python objects --------------------------------------------------------------

def measure_python(quick):
    rounds, objects = 5 if quick else 9, 300000
    stacks = {"needs": (LIBRARY,), "LD_PRELOAD": LIBRARY, "LEAKDIFF_DIR": "@", "LEAKDIFF_PYTHON": "stacks"}
    whole = Configuration("leakdiff stacks", **stacks)
    sample = Configuration("leakdiff stacks, lite", LEAKDIFF_MODE="lite", **stacks)
    configurations = usable([PLAIN, SHIM, sample, whole, Configuration("tracemalloc, 1 frame", 0.1, PYTHONTRACEMALLOC="1"),
                             Configuration("tracemalloc, 20 frames", 0.03, PYTHONTRACEMALLOC="20")])
    titles = (("short", "dropped at once"), ("batch", "2000 kept, then dropped"), ("window", "one of 1024 replaced"))
    rows = []
    for kind, title in titles:
        taken = {}
        for _ in range(rounds):
            for configuration in configurations:
                out = scratch("bench")
                done = configuration.run(["/usr/bin/python3", os.path.join(SOURCE, "tests", "bench", "churn.py"), kind,
                                          str(int(objects * configuration.share))], out)
                match = re.search(r"^cpu_ns_per_object=([\d.]+)", done.stdout, re.MULTILINE)
                taken.setdefault(configuration.name, []).append(float(match.group(1)) if match and not done.returncode else None)
                shutil.rmtree(out, ignore_errors=True)
        for configuration in configurations:
            pairs = [(a, b) for a, b in zip(taken[configuration.name], taken[PLAIN.name]) if a and b]
            if not pairs:
                rows.append(("%s: %s" % (title, configuration.name), "failed", ""))
                continue
            ratios = [a / b for a, b in pairs]
            RESULTS.setdefault("python", {}).setdefault(kind, {})[configuration.name] = statistics.median(ratios)
            rows.append(("%s: %s" % (title, configuration.name), spread([a for a, _ in pairs], "%.0f"), spread(ratios)))
    table("Python objects made and dropped 20 calls deep, processor time; %d rounds" % rounds, ("", "ns an object", "ratio to no profiler"), rows)
    for name, goal in ((sample.name, 1.25), (whole.name, 3.0)):
        worst = max((results[name] for results in RESULTS.get("python", {}).values() if name in results), default=0)
        print("  %s: %.2f at most (goal: %.2f)" % (name, worst, goal))


def machine():
    model, memory = platform.machine(), 0
    with open("/proc/cpuinfo") as f:
        model = next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), model)
    with open("/proc/meminfo") as f:
        memory = int(f.readline().split()[1]) // 1048576
    try:
        with open("/sys/kernel/mm/transparent_hugepage/enabled") as f:
            pages = re.search(r"\[(\w+)\]", f.read()).group(1)
    except (OSError, AttributeError):
        pages = "?"
    return "%d x %s, %d GiB, Linux %s, glibc %s, THP %s, load %.1f" % (
        os.cpu_count(), model, memory, platform.release(), platform.libc_ver()[1], pages, os.getloadavg()[0])


def measure_churn(quick):
    measure_pairs(quick, "churn")


PARTS = {"pairs": measure_pairs, "churn": measure_churn, "pause": measure_pause, "scan": measure_pause, "blocks": measure_blocks, "scale": measure_scale, "objects": measure_objects,
         "symbols": measure_symbols, "start": measure_start, "threads": measure_threads, "memory": measure_memory, "programs": measure_programs,
         "redis": measure_redis, "tornado": measure_tornado, "python": measure_python}


def main():
    parser = argparse.ArgumentParser(description="What leakdiff costs, in one interleaved run.")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, smaller sizes: some minutes less")
    parser.add_argument("--json", metavar="FILE", help="also write the medians there")
    parser.add_argument("parts", nargs="*", metavar="PART", help="%s; default: all" % ", ".join(PARTS))
    parser.add_argument("--nodes", metavar="N,N", help="scale: so many nodes, e.g. 1e6,1e7")
    parser.add_argument("--other", metavar="FILE", help="scale: measure that leakdiff as well, in the same run")
    parser.add_argument("--other-library", metavar="FILE", help="pairs, programs: measure that libleakdiff.so as well, in the same run")
    words = parser.parse_args(namespace=OPTIONS)
    unknown = [part for part in words.parts if part not in PARTS]
    if unknown:
        parser.error("no such part: %s" % ", ".join(unknown))
    print("machine: %s" % machine())
    for function in dict.fromkeys(PARTS[part] for part in (words.parts or (part for part in PARTS if part != "churn"))):
        function(words.quick)
    print("\nload at the end: %.1f" % os.getloadavg()[0])
    if words.json:
        with open(words.json, "w") as f:
            json.dump({"machine": machine(), "quick": words.quick, "results": RESULTS}, f, indent=1, sort_keys=True)


if __name__ == "__main__":
    main()
