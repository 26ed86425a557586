# SPDX-License-Identifier: Apache-2.0
"""The ways to record, one of which a test runs in: TEST_MODE=full, the default, or another one of MODES.

shim_environment() and shim.run() start every program in it, and whoever looks at what came of a program (its last
line, its status, its snapshot) also states that it was recorded in that mode: a setting that nobody obeyed
fails. What only some modes can know a test asks of MODE:

    every_stack     each block has its stack; else a sample has
    from_start      what was allocated before main() is known; else its free is nothing that anybody notices
    live_table      blocks with addresses, references, mappings, rings; else jemalloc's profile, which has sums alone

A dormant program must be woken before its work begins. A gate (shim/gate.c) holds each program before its main()
until a thread of the test has woken it with `leakdiff on`.
"""
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time

JEMALLOC = "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2"


class Mode:
    def __init__(self, name, settings, recorded="full", every_stack=True, from_start=True, live_table=True, budget_ppm=0):
        self.name, self.settings, self.recorded, self.budget_ppm = name, settings, recorded, budget_ppm
        self.every_stack, self.from_start, self.live_table = every_stack, from_start, live_table


MODES = {mode.name: mode for mode in (
    Mode("full", {}),
    Mode("lite", {"LEAKDIFF_MODE": "lite"}, "lite", every_stack=False),
    Mode("budget", {"LEAKDIFF_MODE": "lite", "LEAKDIFF_BUDGET": "1%"}, "lite", every_stack=False, budget_ppm=10000),
    Mode("dormant", {"LEAKDIFF_START": "off"}, from_start=False),
    # Each allocation is sampled, so that the sums are exact and can be compared.
    Mode("sample", {"LEAKDIFF_MODE": "sample", "MALLOC_CONF": "prof:true,prof_active:true,lg_prof_sample:0"}, "sample",
         live_table=False),
    Mode("stacks", {"LEAKDIFF_PYTHON": "stacks"}),
    Mode("lite-stacks", {"LEAKDIFF_MODE": "lite", "LEAKDIFF_PYTHON": "stacks"}, "lite", every_stack=False),
)}
MODE = MODES[os.environ.get("TEST_MODE") or "full"]
seen = 0			# processes that said that they were recorded in it


def apply(env, chosen=()):
    """Make env one of this mode. chosen: settings that the test made itself, which hold instead."""
    own = "LEAKDIFF_MODE" in chosen
    for name, value in MODE.settings.items():
        if name not in chosen and not (own and name in ("MALLOC_CONF", "LEAKDIFF_BUDGET")):
            env[name] = value
    if MODE.name == "sample" and not own:
        env["LD_PRELOAD"] += ":" + JEMALLOC
    if not MODE.from_start and "LEAKDIFF_START" not in chosen:
        gate = _gate()
        env["LD_PRELOAD"] += ":" + gate.library
        env["TEST_GATE"] = gate.name
    return env


def saw():
    """A process was recorded in this mode: finish() expects one at least."""
    global seen
    seen += 1


def is_own(settings):
    """Did the test choose another mode than that under test?"""
    return any(name in settings or "LEAKDIFF_" + name in settings for name in ("LEAKDIFF_MODE", "LEAKDIFF_START", "MODE", "START"))


def wrong_line(mode, budget_ppm, since):
    """What is wrong with what a program's last line says of its mode; None = it is as it should be."""
    wanted = (MODE.recorded, MODE.budget_ppm, "from the start" if MODE.from_start else "since it was woken")
    if (mode, budget_ppm, since) == wanted:
        return saw()
    return "it was recorded in %s, not in %s" % ((mode, budget_ppm, since), wanted)


def wrong_snapshot(meta, notes):
    """The same of a snapshot's meta table and notes."""
    said = (meta.get("mode"), int(meta.get("budget_ppm", 0)), "did not begin with the process" not in notes)
    wanted = (MODE.recorded, MODE.budget_ppm, MODE.from_start)
    if said == wanted:
        return saw()
    return "mode, budget, from the start on: %s, not %s" % (said, wanted)


def does_not_apply(reason):
    """The whole test does not apply: the runner lists it with the reason."""
    print("does not apply: %s" % reason)
    sys.exit(77)


def left_out(part, reason):
    """A part of a test that has no meaning in this mode; the runner lists it."""
    print("left out: %s: %s" % (part, reason), flush=True)


# -- the gate of dormant programs ---------------------------------------------

class Gate(threading.Thread):
    """Wakes each program that comes to the gate, sees to it that it says so, and lets it go."""

    def __init__(self):
        super().__init__(daemon=True)
        build = os.environ.get("TEST_BUILD") or os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
                                                             "build", "dev")
        self.command = os.path.join(build, "bin", "leakdiff")
        self.library = os.path.join(build, "shim", "shim_gate.so")
        self.name = "leakdiff-gate-%d-%d" % (os.getpid(), time.monotonic_ns())
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind("\0" + self.name)
        self.socket.listen(500)
        self.woken, self.asleep = 0, []

    def run(self):
        while True:
            program, _ = self.socket.accept()
            pid = struct.unpack("3i", program.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
            threading.Thread(target=self.wake, args=(program, pid), daemon=True).start()

    def leakdiff(self, *words):
        env = {key: value for key, value in os.environ.items() if not key.startswith(("LEAKDIFF_", "LD_"))}
        return subprocess.run([self.command, *words], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)

    def wake(self, program, pid):
        until = time.monotonic() + 30
        done = self.leakdiff("on", str(pid))
        while done.returncode and time.monotonic() < until and os.path.exists("/proc/%d" % pid) and \
                "for good" not in done.stderr and "not run" not in done.stderr:
            time.sleep(0.02)		# its agent is only just beginning
            done = self.leakdiff("on", str(pid))
        said = self.leakdiff("status", str(pid), "--json")
        status = json.loads(said.stdout) if said.returncode == 0 else {}
        if status.get("state") == "on":
            self.woken += 1
            if status["mode"] == MODE.recorded:
                saw()			# else the test chose it
        else:
            self.asleep.append("%d: %s" % (pid, (done.stderr or said.stderr or said.stdout).strip()))
        try:
            program.send(b"x")
        except OSError:
            pass			# it is gone
        program.close()


_the_gate = None


def _gate():
    global _the_gate
    if not _the_gate:
        _the_gate = Gate()
        _the_gate.start()
    return _the_gate


def report():
    """What finish() prints of the mode; False = nothing was recorded in it."""
    if MODE.name == "full" and not seen:
        return True			# tests that look at no program's mode
    print("mode %s: %d processes said that they were recorded in it" % (MODE.name, seen))
    for line in (_the_gate.asleep[:5] if _the_gate else ()):
        print("not woken: process %s" % line)
    return seen > 0
