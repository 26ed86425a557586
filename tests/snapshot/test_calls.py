# SPDX-License-Identifier: Apache-2.0
"""Ten snapshots while one thread sits in each of the system calls that a stop might make fail: none
says EINTR, none ends early, none late. Once by ptrace with open and with blocked signals, once by
the signal that stands in for ptrace (where timeouts that the kernel forgets may begin anew)."""
from service import *  # noqa: F403

CALLS = os.path.join(BUILD, "shim", "shim_snap_blocked")
SECONDS = 7
EINTR = 4


def run_calls(means, masked):
    what = "stopped by %s, signals %s: " % (means, masked)
    service = Service(CALLS, [str(SECONDS), masked], LEAKDIFF_STOP=means)
    time.sleep(0.5)			# every thread is in its call
    taken = []
    begin = time.monotonic()
    while len(taken) < 10 and time.monotonic() - begin < SECONDS - 1.5:
        taken.append(service.snap())
    last_ms = (time.monotonic() - begin + 0.5) * 1000
    expect(len(taken) == 10, what + "ten snapshots should fit into %.1f s, not %d" % (SECONDS - 1.5, len(taken)))
    out, error = service.process.communicate(timeout=60)
    expect(service.process.returncode == 0, what + "the program should end well, not with %s" % service.process.returncode)
    expect(error == "", what + "nobody should have said anything: %r" % error[-300:])
    lines = [line.split() for line in out.splitlines()]
    expect(len(lines) == 41, what + "41 calls should report, not %d" % len(lines))
    for name, result, code, ms, wanted, kind in lines:
        ms, wanted = int(ms), int(wanted)
        expect(int(code) != EINTR, what + "%s should not be interrupted" % name)
        if name in ("write_large", "send_large", "recv_waitall"):
            wanted -= wanted // 4	# their other ends are slow, not exact
        late_start = 500 if kind == "released" else 200	# those end when the program says so, whenever they began
        expect(ms >= wanted - late_start, what + "%s should not end early: after %d ms, not %d" % (name, ms, wanted))
        if name in ("waitpid", "waitid"):
            latest = wanted + 2000	# until the child ends by itself
        elif name in ("write_large", "send_large", "recv_waitall"):
            latest = wanted * 3
        elif kind == "anew" or means == "signal":
            latest = wanted * 2 + last_ms
        else:
            latest = wanted + max(700, last_ms / 2)	# one that began anew at each stop is late by last_ms
        expect(ms <= latest, what + "%s should not end late: after %d ms, wanted %d" % (name, ms, wanted))
        if kind == "released":
            expect(result == "0", what + "%s should succeed: result %s, errno %s" % (name, result, code))
    for snapshot in taken:
        # a thread that blocks the signal cannot be stopped by it, and the snapshot says so
        stops = {row[0] for row in snapshot.rows("select distinct stop from threads")}
        if means == "ptrace":
            expect(snapshot.consistent and stops == {"ptrace", "self"}, what + "all threads should be stopped by ptrace: %s" % stops)
        else:
            expect("ptrace" not in stops and "signal" in stops, what + "threads should be stopped by a signal: %s" % stops)


run_calls("ptrace", "open")
run_calls("ptrace", "masked")
run_calls("signal", "open")
finish()
