# SPDX-License-Identifier: Apache-2.0
"""shim.py - run a program under the library, read its final line, compare it with the ledger."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

BUILD = os.environ["TEST_BUILD"]
LIBRARY = os.path.join(BUILD, "lib", "libleakdiff.so")
FOLDER = tempfile.mkdtemp(prefix="leakdiff-shim-")
failures = 0

LINE = re.compile(r"libleakdiff: pid (\d+): (\d+) live blocks of (\d+) bytes, (\d+) mappings of (\d+) bytes, "
                  r"(\d+) events, (\d+) lost, (\d+) anomalies, (\d+) stacks, (\d+) refused, (\d+) rings, "
                  r"(\d+) bytes of our own")
KEYS = "pid blocks bytes mappings mapped events lost anomalies stacks refused rings own".split()
LEDGER = re.compile(r"ledger (-?\d+) (-?\d+) (-?\d+) (-?\d+)")


def program(name):
    return os.path.join(BUILD, "shim", "shim_" + name)


class Result:
    """What one run said: exit status, output, the library's lines by process, the ledgers."""

    def __init__(self, process):
        self.code = process.returncode
        self.out = process.stdout
        self.err = process.stderr
        self.lines = [dict(zip(KEYS, map(int, m))) for m in LINE.findall(self.err)]
        self.ledgers = [tuple(map(int, m)) for m in LEDGER.findall(self.out)]


def run(*command, preload=(), timeout=120, **settings):
    env = {k: v for k, v in os.environ.items() if not k.startswith("LEAKDIFF_")}
    env["LD_PRELOAD"] = " ".join([LIBRARY, *preload])
    env["LEAKDIFF_DIR"] = FOLDER
    env["LEAKDIFF_LOG"] = "1"
    env.update({"LEAKDIFF_" + k: str(v) for k, v in settings.items()})
    return Result(subprocess.run(command, env=env, capture_output=True, text=True, errors="replace",
                                 timeout=timeout, stdin=subprocess.DEVNULL, check=False))


def check(condition, text):
    global failures
    print(("ok      " if condition else "FAILED  ") + text, flush=True)
    if not condition:
        failures += 1
    return condition


def matches(name, args, idle_args, what, lost=0, mappings=False, **options):
    """Run with and without work: the live table must differ as the ledger does."""
    idle = run(program(name), *idle_args, **options)
    work = run(program(name), *args, **options)
    if not check(work.code == 0 and idle.code == 0 and work.lines and idle.lines and work.ledgers,
                 f"{what}: runs to its end"):
        print(work.code, work.out[-500:], work.err[-2000:])
        return work
    for index, key in [(0, "blocks"), (1, "bytes")] + ([(2, "mappings"), (3, "mapped")] if mappings else []):
        seen = work.lines[-1][key] - idle.lines[-1][key]
        true = work.ledgers[-1][index] - idle.ledgers[-1][index]
        # a block may be missing, or stay, for an event that is counted as lost, and for no other
        slack = (work.lines[-1]["lost"] + idle.lines[-1]["lost"]) * (1 << 20 if key in ("bytes", "mapped") else 1)
        check(abs(seen - true) <= (slack if lost else 0), f"{what}: {key} {seen} as in the ledger ({true})")
    check(work.lines[-1]["lost"] <= lost, f"{what}: {work.lines[-1]['lost']} events lost")
    check(work.lines[-1]["anomalies"] == 0, f"{what}: {work.lines[-1]['anomalies']} anomalies")
    return work


def finish():
    left = os.listdir(FOLDER)
    check(not left, f"no file is left behind ({left[:5]})")
    shutil.rmtree(FOLDER)
    sys.exit(1 if failures else 0)
