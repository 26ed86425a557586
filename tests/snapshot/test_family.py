# SPDX-License-Identifier: Apache-2.0
"""Forked processes: workers of a prefork server with their own agents, a daemon that outlives its
parents, processes that come and go while snapshots are taken."""
import signal
import threading

from service import *  # noqa: F403

service = Service()
service.ask("heap 1000")
service.ask("workers 4")
time.sleep(0.5)
folder = scratch("family")
done = leakdiff("snap", service.pid, "--children", "-o", folder)
expect(done.returncode == 0, "a family should be snapped: %r" % done.stderr)
paths = done.stdout.split()
expect(len(paths) == 5 and sorted(os.listdir(folder)) == sorted(os.path.basename(path) for path in paths), "five files: %s" % paths)
counts = []
for path in paths:
    snapshot = Snapshot(path)
    expect(snapshot.consistent, "each should be consistent")
    expect(snapshot.live(64) == 1000, "what was inherited is in each: %s" % path)
    expect(str(snapshot.meta["pid"]) in os.path.basename(path), "each is named by its own number")
    counts.append(snapshot.live(7000))
expect(sorted(counts) == [0, 1, 2, 3, 4], "each has its own blocks: %s" % counts)
workers = [int(pid) for pid in run(["pgrep", "-P", str(service.pid)]).stdout.split()]
expect(len(workers) == 4, "the service has its four workers and no child of ours: %s" % workers)

# Workers die and are not missed; the service's waitpid still sees only them.
for pid in workers:
    os.kill(pid, signal.SIGKILL)
for pid in workers:
    done = leakdiff("snap", pid)
    expect(done.returncode == 2 and "ended" in done.stderr, "a dead worker should be named so: %r" % done.stderr)
expect(service.snap().consistent, "the service lives on")
service.quit()

# A process that is on its way out has no memory of its own already, long before it is a zombie.
dying = start([sys.executable, "-c", "x = bytearray(b'x') * (1 << 30); print('ready', flush=True); input()"], stdin=subprocess.PIPE,
              stdout=subprocess.PIPE, text=True)
expect(dying.stdout.readline() == "ready\n", "it should begin")
dying.kill()
sentences = [leakdiff("snap", dying.pid).stderr for _ in range(50)]
expect(all("runs without" in sentence or "ended" in sentence for sentence in sentences) and "ended" in sentences[-1],
       "a process that ends should be named so: %s" % sorted(set(sentences)))
dying.wait()

# A daemon: the process that was started ends, another one serves.
service = Service()
service.tell("heap 500")
service.answer()
daemon = int(service.ask("daemon"))
try:
    time.sleep(0.3)
    expect(daemon != service.pid and service.process.wait(10) == 0, "the first process should end")
    service.pid = daemon
    expect(service.answer() == "done", "the daemon should serve")
    snapshot = service.snap()
    expect(snapshot.consistent and snapshot.live(64, 7100) == 501, "whole")
    expect("/%d.sock" % daemon in "\n".join("/" + name for name in os.listdir(service.folder)), "it has a socket of its own")
finally:
    os.kill(daemon, signal.SIGKILL)

# A shell whose commands come and go, snapped all the while.
folder = scratch("shell")
shell = start(["sh", "-c", "i=0; while [ $i -lt 400 ]; do /bin/true; i=$((i+1)); done; exit 5"], env=shim_environment(folder),
              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
taken = 0
while shell.poll() is None:
    done = leakdiff("snap", shell.pid, "-o", folder)
    taken += done.returncode == 0
expect(shell.returncode == 5 and taken > 0, "the shell should end as ever (%s), with snapshots taken: %d" % (shell.returncode, taken))
said = shell.stderr.read().decode()
expect(said == "", "nothing should be said: %r" % said[-300:])
# Threads, libraries and children that come and go faster than a snapshot is taken.
service = Service()
service.ask("storm 3")
for _ in range(10):
    snapshot = service.snap()
    expect(snapshot.consistent and snapshot.pause_ms < 2000, "a storm should be stopped whole: %.0f ms %r" % (snapshot.pause_ms, snapshot.notes()))
expect(service.quit() == "", "nothing should be said")
service = Service(LEAKDIFF_STOP="signal")
service.ask("storm 3")
for _ in range(10):
    snapshot = service.snap()
    expect(snapshot.pause_ms < 1000, "by signals it may not succeed, but soon: %.0f ms %r" % (snapshot.pause_ms, snapshot.notes()))
    expect(snapshot.consistent or "ran on" in snapshot.notes(), "and is confessed")
expect(service.quit() == "", "nothing should be said")
finish()
