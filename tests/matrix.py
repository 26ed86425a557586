#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""matrix.py - the lifecycle, correctness and equality tests in every mode: one list, one total.

    tests/matrix.py [--quick] [MODE...] [TEST...]      default: all modes of tests/modes.py, all tests below

Each line is a test in a mode: passed, failed, or that it does not apply and why; what a test left out in that mode
stands below it. TEST_BUILD is the build folder (tests/run.sh --modes sets it). --quick: the few that the ordinary suite
runs. Each test states itself that its processes were recorded in the mode. Exit status 0 = nothing failed.
"""
import os
import subprocess
import sys
import time

from modes import MODES

HERE = os.path.dirname(os.path.abspath(__file__))
NO_PYTHON = "its programs hold no interpreter: the same as without LEAKDIFF_PYTHON"
NO_PROFILE = "jemalloc's profile has sums by stack alone: no addresses, no references, no rings, and nothing is stopped for it"
WALKS = "it compares each walk with libunwind's, and a walk is the same whoever asks for it"
NATIVE = {"stacks": NO_PYTHON, "lite-stacks": NO_PYTHON}
TABLE = dict(NATIVE, sample=NO_PROFILE)

# (test, {mode: why it does not apply}); what a mode cannot know inside a test, the test knows
TESTS = (
    ("shim/test_lifecycle", NATIVE),
    ("shim/test_hooks", NATIVE),
    ("shim/test_stress", NATIVE),
    ("shim/test_unwind", {mode: WALKS for mode in MODES if mode != "full"}),
    ("snapshot/test_consistent", TABLE),
    ("snapshot/test_family", TABLE),
    ("snapshot/test_unseen", NATIVE),
    ("snapshot/test_triggers", NATIVE),
    ("snapshot/test_rights", NATIVE),
    ("snapshot/test_fences", TABLE),
    ("snapshot/test_calls", TABLE),
    ("snapshot/test_memory", TABLE),
    ("snapshot/test_objects", TABLE),
    ("snapshot/test_recover", TABLE),
    ("faults/test_processes", NATIVE),
    ("faults/test_disk", NATIVE),
    ("python/test_threads", {"sample": NO_PROFILE}),
)
QUICK = ("shim/test_hooks", "shim/test_stress", "shim/test_lifecycle")


def run(test, mode, quick):
    """(passed | failed | does not apply, why, what was left out, seconds)."""
    env = dict(os.environ, TEST_MODE=mode)
    words = [sys.executable, os.path.join(HERE, test + ".py")]
    if quick:
        env["TEST_QUICK"] = "1"
        words += ["3"] if test.endswith("stress") else []
    begin = time.monotonic()
    try:
        done = subprocess.run(words, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=600)
        text, status = done.stdout.decode("utf-8", "replace"), done.returncode
    except subprocess.TimeoutExpired as late:
        text, status = (late.stdout or b"").decode("utf-8", "replace"), None
    took = time.monotonic() - begin
    lines = text.splitlines()
    left_out = [line for line in lines if line.startswith("left out: ")]
    if status == 77:
        why = [line for line in lines if line.startswith(("does not apply: ", "skipped: "))]
        return "does not apply", (why or ["skipped"])[-1].split(": ", 1)[-1], [], took
    if status == 0:
        return "passed", "", left_out, took
    wrong = [line for line in lines if line.startswith(("NOT SO", "FAILED"))] or lines[-5:]
    return "failed", "status %s" % status, left_out + wrong[:20], took


def main():
    words = sys.argv[1:]
    quick = "--quick" in words
    only = [word for word in words if "/" in word]
    wanted = [word for word in words if word != "--quick" and word not in only] or list(MODES)
    unknown = [mode for mode in wanted if mode not in MODES]
    if unknown:
        print("no such mode: %s; there are %s" % (", ".join(unknown), ", ".join(MODES)), file=sys.stderr)
        return 64
    counts = {"passed": 0, "failed": 0, "does not apply": 0}
    for mode in wanted:
        for test, refused in TESTS:
            if (quick and test not in QUICK) or (only and test not in only):
                continue
            how, why, below, took = ("does not apply", refused[mode], [], 0) if mode in refused else run(test, mode, quick)
            counts[how] += 1
            print("%-12s %-26s %s%s%s" % (mode, test, how, ": " + why if why else "", "  %.1f s" % took if took else ""), flush=True)
            for line in below:
                print("%s%s" % (" " * 40, line[:300]), flush=True)
    print("%d passed, %d failed, %d do not apply" % (counts["passed"], counts["failed"], counts["does not apply"]))
    return 1 if counts["failed"] or not counts["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
