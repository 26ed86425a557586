#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""test_stress.py - everything at once, and in the end the live table holds what the program holds.

    tests/shim/test_stress.py [SECONDS]      default 10; 600 is the long run

Eight threads allocate, resize and free each other's blocks and fork, a snapshot is taken each second. Then they
rest, and one more snapshot must hold exactly the blocks of the program's own list, each with its size, beside
those that were there before the work began. No event may be lost, in the program or in a child. Every block has its
stack, or in mode lite a sample has, and each stack leads through the function that allocates. In mode sample, where
each allocation is a sample here, jemalloc's profile must have grown by exactly what the list holds, in its own sizes.
"""
import os
import re
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from support import BUILD, MODE, expect, finish, leakdiff, modes, scratch, shim_environment, start, stop  # noqa: E402

LINE = re.compile(r"libleakdiff: pid \d+: .*, (\d+) events, (\d+) lost, (\d+) anomalies, \d+ stacks, (\d+) refused"
                  r".*, mode (\w+), budget (\d+) ppm, (.*)")
KEYS = ("events", "lost", "anomalies", "refused", "mode", "budget", "since")
BLOCKS = "SELECT addr || ' ' || size FROM nodes WHERE kind <> 'mapping'"


def snapshot(pid, path):
    done = leakdiff("snap", pid, "-o", path, seconds=120)
    expect(done.returncode == 0, "a snapshot during the work: %s" % done.stderr.strip()[-300:])
    return done.returncode == 0


def sql(path, query):
    done = leakdiff("sql", path, query)
    expect(done.returncode == 0, "the snapshot can be asked: %s" % done.stderr.strip()[-300:])
    return done.stdout.split("\n")[1:-1]


def blocks_of(path):
    return {tuple(map(int, line.strip('"').split())) for line in sql(path, BLOCKS)}


def meta_of(path):
    return dict(line.split("\t", 1) for line in sql(path, "SELECT key, value FROM meta"))


def profile_agrees(before, after, usable):
    """jemalloc knows sums alone, and the sizes that it gives."""
    before, after = meta_of(before), meta_of(after)
    grown = [int(after[key]) - int(before[key]) for key in ("blocks", "bytes")]
    expect(grown == [len(usable), sum(usable)], "the profile grew by %s blocks and bytes, %d of %d are right" % (grown, len(usable), sum(usable)))


def stacks_agree(path, truth):
    """Is there a stack where the mode promises one, and is it the right one?"""
    rows = [line.split("\t") for line in sql(path, "SELECT n.addr, n.size, n.stack, s.text FROM nodes n LEFT JOIN v_stacks s "
                                             "ON s.id = n.stack WHERE n.kind <> 'mapping'")]
    rows = [row for row in rows if (int(row[0]), int(row[1])) in truth]
    with_stack = [row for row in rows if row[2]]
    wrong = [row for row in with_stack if "work" not in row[3]]
    print("%d of %d blocks have a stack" % (len(with_stack), len(rows)))
    expect(not wrong, "%d of %d stacks do not lead through work(): %s" % (len(wrong), len(with_stack), wrong[:2]))
    if MODE.every_stack:
        expect(len(with_stack) == len(rows), "%d of %d blocks have no stack" % (len(rows) - len(with_stack), len(rows)))
    else:
        expect(with_stack or MODE.budget_ppm, "a sample of %d blocks should have stacks" % len(rows))


def stress(seconds, program=os.path.join(BUILD, "shim", "shim_stress"), **settings):
    folder, snaps = scratch("stress"), scratch("snaps")
    path, before, after, listed = (os.path.join(snaps, n) for n in ("x.snap", "before.snap", "after.snap", "list"))
    with open(os.path.join(snaps, "errors"), "w+") as errors:
        process = start([program, str(seconds), listed],
                        env=shim_environment(folder, LEAKDIFF_LOG="1", **settings), text=True,
                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
        process.stdout.readline()
        snapshot(process.pid, before)
        process.stdin.write("go\n")
        process.stdin.flush()
        begin, taken, lost, apart = time.monotonic(), 0, 0, 0
        while time.monotonic() - begin < seconds - 1 and process.poll() is None:
            if snapshot(process.pid, path):
                taken += 1
                lost += sum(int(line) for line in sql(path, "SELECT value FROM meta WHERE key = 'lost_events'"))
                apart += sum(line != "1" for line in sql(path, "SELECT value FROM meta WHERE key = 'consistent'"))
                os.unlink(path)
            time.sleep(max(0, begin + taken - time.monotonic()))
        said = process.stdout.readline().split()
        if not expect(len(said) == 3 and said[0] == "rests", "the threads come to rest: %s, status %s" % (said, process.poll())):
            stop(process, 1, signal.SIGKILL)
            return
        snapshot(process.pid, after)
        process.stdin.write("end\n")
        process.stdin.flush()
        expect(process.wait(60) == 0, "the program ends with %s" % process.returncode)
        stop(process)
        errors.seek(0)
        lines = [{k: int(v) if v.isdigit() else v for k, v in zip(KEYS, m)} for m in LINE.findall(errors.read())]
    steps, forks = int(said[1]), int(said[2])
    with open(listed) as f:
        usable = [tuple(map(int, line.split())) for line in f]
    truth = {block[:2] for block in usable}
    wrong = modes.wrong_snapshot(meta_of(after), "\n".join(sql(after, "SELECT note FROM notes")))
    wrong = [wrong] + [modes.wrong_line(line["mode"], line["budget"], line["since"]) for line in lines]
    expect(not any(wrong), "all processes are recorded in mode %s: %s" % (MODE.name, [w for w in wrong if w][:3]))
    print("%d s: %d steps, %d forks, %d snapshots, %d blocks at the end, %d events"
          % (seconds, steps, forks, taken, len(truth), lines[-1]["events"] if lines else 0))
    expect(len(truth) > 1000 and steps > 10000 and forks > 2 and taken > 1, "it was work")
    if not MODE.live_table:
        profile_agrees(before, after, [block[2] for block in usable])
        held = first = truth
    else:
        held, first = blocks_of(after), blocks_of(before)
        stacks_agree(after, truth)
    expect(not truth - held, "of the program's %d blocks %d are not in the snapshot: %s" % (len(truth), len(truth - held), sorted(truth - held)[:3]))
    expect(held - truth == first or not MODE.live_table, "%d blocks are in the snapshot that the program gave back: %s"
           % (len(held - truth - first), sorted(held - truth - first)[:3]))
    expect(len(lines) == forks + 1, "%d of %d processes ended with a line" % (len(lines), forks + 1))
    expect(lost == 0 and not any(line["lost"] for line in lines), "no event is lost: %d" % sum(line["lost"] for line in lines))
    expect(not any(line["refused"] for line in lines), "nothing is refused")
    expect(lines and lines[-1]["anomalies"] == 0, "no free was missed: %d anomalies" % (lines[-1]["anomalies"] if lines else -1))
    expect(apart == 0, "%d of %d snapshots were of threads that ran on" % (apart, taken))


if __name__ == "__main__":
    stress(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
    finish()
