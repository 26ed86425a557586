# SPDX-License-Identifier: Apache-2.0
"""shim.py - run a program under the library in the mode under test, read its final line, compare it with the ledger."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import modes  # noqa: E402
from modes import MODE  # noqa: E402

BUILD = os.environ["TEST_BUILD"]
LIBRARY = os.path.join(BUILD, "lib", "libleakdiff.so")
FOLDER = tempfile.mkdtemp(prefix="leakdiff-shim-")
failures = 0

LINE = re.compile(r"libleakdiff: pid (\d+): (\d+) live blocks of (\d+) bytes, (\d+) mappings of (\d+) bytes, "
                  r"(\d+) events, (\d+) lost, (\d+) anomalies, (\d+) stacks, (\d+) refused, (\d+) rings, "
                  r"(\d+) bytes of our own, mode (\w+), budget (\d+) ppm, (.*)")
KEYS = "pid blocks bytes mappings mapped events lost anomalies stacks refused rings own mode budget since".split()
LEDGER = re.compile(r"ledger (-?\d+) (-?\d+) (-?\d+) (-?\d+)")


def program(name):
    return os.path.join(BUILD, "shim", "shim_" + name)


class Result:
    """What one run said: exit status, output, the library's lines by process, the ledgers."""

    def __init__(self, process):
        self.code = process.returncode
        self.out = process.stdout
        self.err = process.stderr
        self.lines = [{k: int(v) if v.isdigit() else v for k, v in zip(KEYS, m)} for m in LINE.findall(self.err)]
        self.ledgers = [tuple(map(int, m)) for m in LEDGER.findall(self.out)]


def take_sums(line):
    """Mode sample has no table: its sums are those of the snapshot that each process leaves at its end."""
    path = [os.path.join(FOLDER, name) for name in os.listdir(FOLDER) if name.endswith(".%d.1.snap" % line["pid"])]
    if check(len(path) == 1, "a snapshot at the end of process %d" % line["pid"]):
        done = subprocess.run([os.path.join(BUILD, "bin", "leakdiff"), "sql", path[0],
                               "SELECT value FROM meta WHERE key IN ('blocks', 'bytes') ORDER BY key"],
                              capture_output=True, text=True, check=True)
        line["blocks"], line["bytes"] = map(int, done.stdout.split()[1:])
        os.unlink(path[0])


def run(*command, preload=(), timeout=120, **settings):
    env = {k: v for k, v in os.environ.items() if not k.startswith("LEAKDIFF_")}
    env["LD_PRELOAD"] = ":".join([LIBRARY, *preload])
    env["LEAKDIFF_DIR"] = FOLDER
    env["LEAKDIFF_LOG"] = "1"
    if not MODE.live_table:
        env["LEAKDIFF_AT_EXIT"] = "1"
    settings = {"LEAKDIFF_" + k: str(v) for k, v in settings.items()}
    env = dict(modes.apply(env, settings), **settings)
    result = Result(subprocess.run(command, env=env, capture_output=True, text=True, errors="replace",
                                   timeout=timeout, stdin=subprocess.DEVNULL, check=False))
    for line in result.lines:
        wrong = not modes.is_own(settings) and modes.wrong_line(line["mode"], line["budget"], line["since"])
        if wrong:
            check(False, "process %d: %s" % (line["pid"], wrong))
        if not MODE.live_table:
            take_sums(line)
    return result


def check(condition, text):
    global failures
    print(("ok      " if condition else "FAILED  ") + text, flush=True)
    if not condition:
        failures += 1
    return condition


def agree(seen, true, key, blocks):
    """Is this what the mode promises? jemalloc counts the bytes of its size classes: at most a quarter more."""
    if key == "bytes" and not MODE.live_table:
        return true <= seen <= true * 1.25 + 16 * abs(blocks) if true >= 0 else true * 1.25 - 16 * abs(blocks) <= seen <= true
    return seen == true


def matches(name, args, idle_args, what, lost=0, mappings=False, older=(0, 0), unsampled=False, **options):
    """Run with and without work: the live table must differ as the ledger does.

    older: blocks and bytes of the ledger's difference that were allocated before main(), which who was woken later
    does not know. unsampled: blocks that jemalloc's profiler does not see, so that mode sample knows fewer."""
    idle = run(program(name), *idle_args, **options)
    work = run(program(name), *args, **options)
    if not check(work.code == 0 and idle.code == 0 and work.lines and idle.lines and work.ledgers,
                 f"{what}: runs to its end"):
        print(work.code, work.out[-500:], work.err[-2000:])
        return work
    for index, key in [(0, "blocks"), (1, "bytes")] + ([(2, "mappings"), (3, "mapped")] if mappings else []):
        seen = work.lines[-1][key] - idle.lines[-1][key]
        true = work.ledgers[-1][index] - idle.ledgers[-1][index]
        if index < 2 and not MODE.from_start:
            true -= older[index]
        if index >= 2 and not MODE.live_table:
            check(seen == 0, f"{what}: {key} are not known in this mode, and none is made up ({seen})")
            continue
        if unsampled and not MODE.live_table:
            check(0 <= seen < true, f"{what}: {key} {seen}, no more than in the ledger ({true})")
            continue
        # a block may be missing, or stay, for an event that is counted as lost, and for no other
        slack = (work.lines[-1]["lost"] + idle.lines[-1]["lost"]) * (1 << 20 if key in ("bytes", "mapped") else 1)
        check(agree(seen, true, key, work.ledgers[-1][0] - idle.ledgers[-1][0]) or (lost and abs(seen - true) <= slack),
              f"{what}: {key} {seen} as in the ledger ({true})")
    check(work.lines[-1]["lost"] <= lost, f"{what}: {work.lines[-1]['lost']} events lost")
    check(work.lines[-1]["anomalies"] == 0, f"{what}: {work.lines[-1]['anomalies']} anomalies")
    return work


def finish():
    left = os.listdir(FOLDER)
    check(not left, f"no file is left behind ({left[:5]})")
    check(modes.report(), f"some process says that it was recorded in mode {MODE.name}")
    shutil.rmtree(FOLDER)
    sys.exit(1 if failures else 0)
