#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Who waits at a terminal sees a bar, and it is gone when the answer comes; a pipe, --json and --quiet
see nothing. The work is made longer than a second by stopping the command for as long, so that it does
not matter how fast this machine is."""
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from support import *  # noqa: E402,F403
from support import BUILD, COMMAND  # noqa: E402


def read_all(fd, process):
    """What arrives at a pseudo-terminal's master until the process has ended."""
    seen = b""
    while True:
        ended = process.poll() is not None
        ready, _, _ = select.select([fd], [], [], 0 if ended else 0.1)
        if ready:
            try:
                seen += os.read(fd, 65536)
            except OSError:		# the slave is closed
                return seen
        elif ended:
            return seen


def resident_kib(pid):
    try:
        with open("/proc/%d/status" % pid) as f:
            return int(re.search(r"VmRSS:\s+(\d+)", f.read() + "VmRSS: 0").group(1))
    except OSError:
        return 0


def at_terminal(words, pause=True):
    """Exit status, standard output, and what the terminal on standard error received."""
    master, slave = pty.openpty()
    with open(os.path.join(folder, "out"), "w+b") as out:
        process = start([COMMAND] + words, stdout=out, stderr=slave, env=clean_environment(TERM="xterm"))
        os.close(slave)
        # Work has begun when the columns of a heap are there.
        while pause and process.poll() is None and resident_kib(process.pid) < 20000:
            time.sleep(0.001)
        if pause and process.poll() is None:
            os.kill(process.pid, signal.SIGSTOP)
            time.sleep(1.3)
            os.kill(process.pid, signal.SIGCONT)
        seen = read_all(master, process)
        process.wait()
        os.close(master)
        out.seek(0)
        return process.returncode, out.read(), seen


def left_on_screen(seen):
    """The line as it stands in the end: a carriage return with an erasure empties it."""
    return re.split(rb"\r\x1b\[K", seen)[-1]


folder = scratch("progress")
first, second = os.path.join(folder, "1.snap"), os.path.join(folder, "2.snap")
made = run([os.path.join(BUILD, "bench", "bench_make_snapshot"), "500000", "10", first, second], 120)
expect(made.returncode == 0, "the snapshots should be made: %s" % made.stderr)
plain = subprocess.run([COMMAND, first, second], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_environment())
expect(plain.stderr == b"", "a pipe should see no bar: %r" % plain.stderr[:200])

status, out, seen = at_terminal([first, second])
expect(status == plain.returncode and out == plain.stdout, "the answer should be the same with a bar")
bars = re.findall(rb"([^\r\x1b\[]+)  \[(=*)(>?) *\] +(\d+) %  (\d+) s", seen)
expect(bars, "a terminal should see a bar: %r" % seen[:300])
expect(all(int(bar[4]) >= 1 for bar in bars), "no bar should come within the first second: %r" % bars[:3])
percents = [int(bar[3]) for bar in bars]
expect(percents == sorted(percents) and all(p <= 100 for p in percents), "the bar should only grow: %s" % percents)
expect(left_on_screen(seen) == b"", "nothing should be left of it: %r" % left_on_screen(seen))

for words in ([first, second, "--json"], [first, second, "--quiet"], ["top", second, "--quiet"], ["leaks", second, "--json"]):
    status, out, seen = at_terminal(words)
    expect(seen == b"", "%s should see no bar: %r" % (" ".join(words[-1:]), seen[:200]))
    expect(status in (0, 1) and out, "%s should answer" % " ".join(words))

status, out, seen = at_terminal(["top", second])
expect(status == 0 and left_on_screen(seen) == b"", "top should leave nothing behind: %r" % seen[-100:])
status, out, seen = at_terminal([first, os.path.join(folder, "none.snap")], pause=False)
expect(status == 2 and b"none.snap" in left_on_screen(seen), "a complaint should stand on a line of its own: %r" % seen)
finish()
