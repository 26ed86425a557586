# SPDX-License-Identifier: Apache-2.0
"""What a process leaves behind that is killed, or dies inside malloc: its last events in order, a stream that
nobody read, and how that goes away again. Ring files that are not whole are refused with one sentence."""
import json
import os
import random
import struct
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "faults"))
from support import *  # noqa: E402,F403
from victim import refused  # noqa: E402

PROGRAM = os.path.join(BUILD, "shim", "shim_crash")


def recover(what, *words):
    done = leakdiff("recover", *words, "--json")
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        expect(False, "%s: recover should print JSON, got %s and %r" % (what, done, done.stderr[-300:]))
        finish()
    expect(done.returncode == 0, "%s: recover should end with 0, not %s: %s" % (what, done.returncode, done.stderr[-300:]))
    return answer["processes"]


def killed(folder, how, **settings):
    """A process that allocates in two threads, killed in the middle of it."""
    process = start([PROGRAM, "loop"], env=shim_environment(folder, **settings), stdout=subprocess.PIPE)
    pid = int(process.stdout.readline())
    ring = os.path.join(folder, "%d.ring" % pid)
    wait_until(lambda: os.path.exists(ring))
    time.sleep(0.2)
    how(process)
    process.wait(20)
    return pid, ring


# -- dead inside malloc, of SIGSEGV
folder = scratch("recover")
process = start([PROGRAM, "segv"], env=shim_environment(folder), stdout=subprocess.PIPE)
said = process.stdout.readline().split()
status = process.wait(20)
expect(status == -signal.SIGSEGV, "the program should die of SIGSEGV inside malloc, not end with %s" % status)
found = recover("after SIGSEGV", folder)
if expect(len(found) == 1 and found[0]["pid"] == process.pid and found[0]["state"] == "ended",
          "recover should find process %d, found %s" % (process.pid, [p["pid"] for p in found])):
    found = found[0]
    tid, blocks, a, b = int(said[0]), [x.decode() for x in said[1:6]], said[6].decode(), said[7].decode()
    events = [e for ring in found["rings"] for e in ring["events"] if e["tid"] == tid]
    wanted = [("malloc", 24, a), ("malloc", 24, b)] + [("malloc", 3000 + i, addr) for i, addr in enumerate(blocks)]
    freed = [("free", 0, blocks[1]), ("free", 0, b), ("free", 0, a), ("malloc", 24, a)]
    names = [(e["event"], e["bytes"], e["addr"]) for e in events]
    expect(names[-4:] == freed, "the last events before the crash should be %s, are %s" % (freed, names[-4:]))
    at = [i for i in range(len(names)) if names[i:i + 7] == wanted]
    expect(at, "before them stand %s, there is %s" % (wanted, names[-16:]))
    times = [e["before_end_s"] for e in events]
    expect(times[-1] == 0 and times == sorted(times, reverse=True) and 0 < times[0] < 60,
           "times run towards the last event, 0: %s ... %s" % (times[:3], times[-3:]))
    expect(all(e["stack"] for e in events[-1:] if e["event"] == "malloc" and MODE.every_stack), "an allocation has a stack's number")
    expect(found["not_drained"] >= 4 and found["recorded"] >= len(events) and found["last_snapshot"] is None,
           "nothing was drained, no snapshot taken: %s" % {k: found[k] for k in ("not_drained", "recorded", "last_snapshot")})
text = leakdiff("recover", folder, "--events", "3")
expect(text.returncode == 0 and text.stdout.count("malloc") == 1 and text.stdout.count(" free ") == 2
       and "%d" % process.pid in text.stdout and "--remove" in text.stdout and "not known" in text.stdout,
       "the text shows three events and what it cannot know: %s" % text.stdout)

# -- by number, and removed
env = clean_environment(LEAKDIFF_DIR=folder)
done = leakdiff("recover", process.pid, "--remove", env=env)
expect(done.returncode == 0 and "%d.ring" % process.pid in done.stderr and os.listdir(folder) == [],
       "--remove should take the rings away, and says so: %s, left %s" % (done.stderr, os.listdir(folder)))
refused(leakdiff("recover", process.pid, env=env), "a process that left nothing", words=["nothing"])
refused(leakdiff("recover", folder), "a folder where nothing is", words=["left anything"])
refused(leakdiff("recover", os.path.join(folder, "no")), "no folder")

# -- killed by SIGKILL while two threads allocate; a stream was left that nobody ingested
def snapshot_and_kill(process):
    process.send_signal(signal.SIGUSR1)
    wait_until(lambda: any(name.endswith(".stream") for name in os.listdir(folder)), 30)
    again = leakdiff("recover", process.pid, env=clean_environment(LEAKDIFF_DIR=folder))
    refused(again, "a process that still runs", words=["still runs"])
    done = leakdiff("recover", folder, "--remove")
    expect(done.returncode == 0 and "still runs" in done.stdout and os.path.exists(os.path.join(folder, "%d.ring" % process.pid)),
           "nothing of a running process is read or removed: %s" % (done,))
    process.kill()


pid, ring = killed(folder, snapshot_and_kill, LEAKDIFF_SIGNAL=str(int(signal.SIGUSR1)), LEAKDIFF_INGEST="/nonexistent")
streams = [name for name in os.listdir(folder) if name.endswith(".stream")]
expect(len(streams) == 1, "without a program for it the library leaves a stream, there is %s" % os.listdir(folder))
found = recover("after SIGKILL", folder)[0]
for first, thread in ((5000, [pid]), (100000, None)):
    events = [e for r in found["rings"] for e in r["events"] if (e["tid"] == pid) == (thread is not None)]
    sizes = [e["bytes"] for e in events if e["event"] == "malloc" and first <= e["bytes"] < first + 1000]
    steps = {(y - x) % 1000 for x, y in zip(sizes, sizes[1:])}
    expect(len(sizes) > 100 and steps == {1}, "sizes from %d count up to the end: %d of them, steps %s" % (first, len(sizes), steps))
    pairs = {(e["event"], f["event"], e["addr"] == f["addr"]) for e, f in zip(events, events[1:])
             if e["event"] == "malloc" and e["bytes"] >= 5000}
    expect(pairs <= {("malloc", "free", True)}, "each block is given back by the next event: %s" % pairs)
made = os.path.join(folder, streams[0][:-len("stream")] + "snap")
expect(found["last_snapshot"] and found["last_snapshot"]["path"] == made and leakdiff("check", made).returncode == 0,
       "the stream becomes a snapshot: %s" % found["last_snapshot"])
expect([f["snapshot"] for f in found["files"] if f["kind"] == "stream"] == [made], "and it is said: %s" % found["files"])
expect(leakdiff("top", made).returncode == 0, "top reads it")
of_mode(made)
with open(ring, "rb") as f:
    RING = f.read()
done = leakdiff("recover", folder, "--remove")
expect(done.returncode == 0 and os.listdir(folder) == [os.path.basename(made)],
       "--remove takes rings and the ingested stream, and keeps the snapshot: %s" % os.listdir(folder))

# -- rings of somebody else: truncated, corrupt, foreign, newer
hostile = scratch("rings")
path = os.path.join(hostile, "4000000.ring")


def written(content):
    with open(path, "wb") as f:
        f.write(content)
    return leakdiff("recover", hostile)


def with_number(at, value, kind="<I"):
    return RING[:at] + struct.pack(kind, value) + RING[at + struct.calcsize(kind):]


done = written(RING)
expect(done.returncode == 0 and "events" in done.stdout, "the rings read under any name: %s" % done.stderr)
for length in (0, 1, 63, 64, 4095, 4096, 5000, len(RING) // 2, len(RING) - 1):
    refused(written(RING[:length]), "rings cut to %d of %d bytes" % (length, len(RING)), words=["truncated"])
refused(written(b"SQLite format 3\0" * 1000), "a foreign file", words=["no file of event rings"])
refused(written(bytes(20000)), "zeros", words=["no file of event rings"])
refused(written(with_number(8, 2)), "a newer version", words=["newer"])
for at, value in ((8, 0), (12, 64), (20, 65537), (24, 64), (28, 0), (32, 0), (32, 3), (32, 1 << 31), (36, 16)):
    refused(written(with_number(at, value)), "%d in the header's byte %d" % (value, at), words=["corrupt", "truncated"])
for at, value in ((4096 + 64, 1 << 63), (4096 + 192, 1 << 62), (4096, 1 << 40)):
    refused(written(with_number(at, value, "<Q")), "%d in the ring's byte %d" % (value, at - 4096), words=["corrupt"])
rng = random.Random(1)
for round_ in range(40):
    content = bytearray(RING)
    for _ in range(1 + round_ % 8):
        content[rng.choice((rng.randrange(4096), rng.randrange(len(RING))))] ^= 1 << rng.randrange(8)
    done = written(bytes(content))
    expect(done.returncode in (0, 2) and len(done.stderr.splitlines()) == (done.returncode == 2),
           "flipped bits: any answer, but an orderly one: %s %r" % (done.returncode, done.stderr[-300:]))
content = bytearray(RING)
content[4096 + 4096:4096 + 4096 + 3200] = b"\xff" * 3200
done = written(bytes(content))
expect(done.returncode == 0 and "slots hold no event" in leakdiff("recover", hostile, "--events", "100000").stdout,
       "slots that hold no event are counted: %s" % done.stderr)
os.unlink(path)
os.symlink("/etc/passwd", path)
refused(leakdiff("recover", hostile), "a link in place of the rings")
os.unlink(path)
os.mkfifo(path)
refused(leakdiff("recover", hostile), "a pipe in place of the rings", words=["regular"])
finish()
