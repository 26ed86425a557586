# SPDX-License-Identifier: Apache-2.0
"""A service behind a filter of system calls, as containers and service managers set one up; and one that
is killed, or becomes another program, while its threads are stopped for a snapshot."""
import platform
import signal

from service import *  # noqa: F403

FENCE = os.path.join(BUILD, "shim", "shim_fence")
UNSHARE, PTRACE, PIDFD_GETFD, CLOSE_RANGE = 272, 101, 438, 436


def fenced(what, *calls, **settings):
    return Service(wrapper=[FENCE, what] + [str(call) for call in calls] + ["--"], **settings)


if platform.machine() != "x86_64":
    skip("system calls are named by their numbers on x86-64")
probe = run([FENCE, "refuse", "999", "--", "true"])
if probe.returncode == 77:
    skip("no filters of system calls here: %s" % probe.stderr)

# A container of Docker's default refuses unshare(2): the guest finds another way to a table of its own.
service = fenced("refuse", UNSHARE)
service.ask("heap 500")
expect(service.ask("fds") == "3", "the service should have none of our descriptors")
snapshot = service.snap()
expect(snapshot.consistent and snapshot.live(64) == 500, "it should be snapped whole")
service.ask("setuid 65534" if os.getuid() == 0 else "heap 1")
expect(service.snap().consistent, "and again")
service.quit()

# No way at all to a table of its own: the service closes all descriptors and gives their numbers to
# files of its own. Nothing is read from those, no connection is taken, and snapshots still come.
service = fenced("refuse", UNSHARE, CLOSE_RANGE)
service.ask("heap 500")
expect(leakdiff("status", service.pid).returncode == 0, "status on a shared table")
service.ask("pairs")
time.sleep(0.4)
expect(service.ask("whole") == "0", "what the service sends to itself should arrive")
expect(service.snap().consistent, "a service that took our numbers should be snapped")
expect(service.ask("whole") == "0", "and get all of its bytes afterwards")
service.quit()

# On a shared table, who has the answer finds the connection closed, however long the agent takes to do that.
if shutil.which("strace"):
    slow = ["strace", "-f", "-D", "-o", "/dev/null", "-e", "trace=close", "-e", "inject=close:delay_enter=50000"]
    service = Service(wrapper=slow + [FENCE, "refuse", str(UNSHARE), str(CLOSE_RANGE), "--"])
    for _ in range(3):
        expect(leakdiff("status", service.pid).returncode == 0, "status of a slow agent")
        numbers = sorted(os.listdir("/proc/%d/fd" % service.pid), key=int)
        expect(numbers == ["0", "1", "2", "3", "4", "5"], "the agent's connection should be closed by now: %s" % numbers)
    service.quit()

# There, too, where no ring file can be had, so that the agent listens by an abstract name: a socket of the
# service that got its number is not taken for the agent's.
service = Service(wrapper=["prlimit", "--fsize=0", FENCE, "refuse", str(UNSHARE), str(CLOSE_RANGE), "--"])
expect(leakdiff("status", service.pid).returncode == 0, "status by an abstract name")
service.ask("pairs")
time.sleep(0.5)
done = leakdiff("status", service.pid)
expect(done.returncode == 0, "the agent should listen anew: %s" % done.stderr[-200:])
expect(service.ask("whole") == "0", "what the service sends to itself should arrive")
service.quit()

# systemd's SystemCallFilter= ends who calls ptrace or pidfd_getfd: nobody of ours may, and nobody waits.
for name, calls in (("ptrace", (PTRACE,)), ("pidfd_getfd", (PIDFD_GETFD,)), ("both", (PTRACE, PIDFD_GETFD))):
    service = fenced("kill", *calls, LEAKDIFF_LOG="1")
    service.ask("threads 3")
    service.ask("heap 500")
    snapshot = service.snap()
    expect(snapshot.consistent and "by a signal" in snapshot.notes(), "%s: threads should be stopped by a signal: %r" % (name, snapshot.notes()))
    expect(float(snapshot.meta["stop_ns"]) < 1.5e9, "%s: nobody should be waited for: %s ns" % (name, snapshot.meta["stop_ns"]))
    service.quit()

# Another tracer has all threads.
if shutil.which("strace"):
    service = Service(wrapper=["strace", "-f", "-D", "-o", "/dev/null"])
    service.ask("threads 3")
    service.ask("heap 500")
    snapshot = service.snap()
    expect("by a signal" in snapshot.notes() and snapshot.live(64) == 500,
           "a service under strace should be snapped: %r" % snapshot.notes())	# a slow one may not stop in time
    expect(service.quit() == "", "and say nothing")

# Standard error is a socket that cannot be borrowed: a line of the agent's comes by a thread of the service.
ours, theirs = socket.socketpair()
service = start([FENCE, "kill", str(PIDFD_GETFD), "--", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, stderr=theirs,
                env=shim_environment(scratch("snap"), LEAKDIFF_LOG="1", LEAKDIFF_EVERY="1s", LEAKDIFF_INGEST="/nonexistent"))
theirs.close()
service.stdout.readline()
ours.settimeout(0.1)
said = b""
until = time.monotonic() + 20
while b"snapshot 1" not in said and time.monotonic() < until and service.poll() is None:
    service.stdin.write("heap 10\n")
    service.stdin.flush()
    service.stdout.readline()
    try:
        said += ours.recv(4096)
    except TimeoutError:
        pass
expect(b"snapshot 1: the service stood still" in said and service.poll() is None, "the line should come and the service live: %r %s" % (said, service.poll()))
stop(service)


# Killed while its threads are stopped: it is gone at once, for its parent too.
def traced(pid):
    try:
        with open("/proc/%d/status" % pid) as f:
            return "TracerPid:\t0\n" not in f.read()
    except OSError:
        return True


for how in (signal.SIGKILL, signal.SIGKILL, signal.SIGKILL):
    service = Service()
    service.ask("touch 300")
    service.ask("threads 4")
    client = start([COMMAND, "snap", str(service.pid), "-o", os.path.join(service.folder, "x.snap")], env=clean_environment(),
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 10
    while not traced(service.pid) and time.monotonic() < until:
        pass
    os.kill(service.pid, how)
    try:
        service.process.wait(20)
        reaped = True
    except subprocess.TimeoutExpired:
        reaped = False
    expect(reaped, "a service that is killed while it is stopped should be gone for its parent")
    stop(client)

# Thousands of threads, where so many may be: the caller waits as long as it takes, and says nothing of a
# process that is stopped.
service = Service()
if service.ask("threads 3000") == "done":
    snapshot = service.snap()
    expect(int(snapshot.meta["thread_count"]) == 3001 and (snapshot.consistent or "in time" in snapshot.notes()),
           "3000 threads should be stopped, or those that were not be told: %s %r" % (snapshot.meta["thread_count"], snapshot.notes()))
stop(service.process)

# Becomes another program again and again while snapshots are asked for: no image is left standing.
folder = scratch("exec")
service = start([sys.executable, "-c", """
import os, sys, threading, time
left = int(sys.argv[1])
for _ in range(3):
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
time.sleep(0.15)
if left:
    os.execv(sys.executable, [sys.executable, "-c", %r, str(left - 1)])
""".replace("%r", "sys.orig_argv[2]"), "8"], env=shim_environment(folder, LEAKDIFF_PYTHON="off"), stderr=subprocess.PIPE)
until = time.monotonic() + 120
snaps = 0
while service.poll() is None and time.monotonic() < until:
    snaps += leakdiff("snap", service.pid, "-o", os.path.join(folder, "y.snap")).returncode == 0
expect(service.poll() == 0 and snaps, "exec during snapshots: status %s, %d snapshots" % (service.poll(), snaps))
finish()
