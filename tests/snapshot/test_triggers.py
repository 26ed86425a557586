# SPDX-License-Identifier: Apache-2.0
"""Snapshots that nobody asks for: by a timer, by resident memory, at exit; with ingest and without."""
import glob

from service import *  # noqa: F403


def snapshots(folder, ending="snap"):
    return sorted(glob.glob(os.path.join(folder, "*." + ending)))


def wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end and not condition():
        time.sleep(0.05)
    return condition()


service = Service(LEAKDIFF_EVERY="1s")
service.ask("heap 100")
expect(wait_for(lambda: len(snapshots(service.folder)) >= 3), "a snapshot each second: %s" % snapshots(service.folder))
for path in snapshots(service.folder)[:2]:
    snapshot = Snapshot(path)
    expect(snapshot.meta["trigger"] == "timer" and snapshot.consistent, "triggered by the timer: %s" % snapshot.meta["trigger"])
expect(Snapshot(snapshots(service.folder)[-1]).live(64) == 100, "whole")
expect(service.ask("children") == "ECHILD 0", "the service should not see who writes them")
expect(service.quit() == "", "nothing should be said")

service = Service(LEAKDIFF_AT_RSS="100M")
service.ask("touch 50")
time.sleep(2.5)
expect(not snapshots(service.folder), "below the threshold there is no snapshot")
service.ask("touch 80")
expect(wait_for(lambda: len(snapshots(service.folder)) == 1), "above it there is one")
time.sleep(2.5)
expect(len(snapshots(service.folder)) == 1, "and only one")
expect(Snapshot(snapshots(service.folder)[0]).meta["trigger"] == "rss", "triggered by memory")
service.ask("touch 60")
expect(wait_for(lambda: len(snapshots(service.folder)) == 2), "growth by another tenth fires again")
service.quit()

service = Service(LEAKDIFF_AT_EXIT="1")
service.ask("heap 77")
service.quit()
found = snapshots(service.folder)
if expect(len(found) == 1, "a snapshot at exit: %s" % os.listdir(service.folder)):
    snapshot = Snapshot(found[0])
    expect(snapshot.meta["trigger"] == "exit" and snapshot.live(64) == 77, "whole")

service = Service(LEAKDIFF_SIGNAL="40")
service.ask("heap 79")
service.ask("threads 2")
expect(leakdiff("status", service.pid).returncode == 0, "status")
os.kill(service.pid, 40)
expect(wait_for(lambda: len(snapshots(service.folder)) == 1), "a snapshot by signal: %s" % os.listdir(service.folder))
if snapshots(service.folder):
    snapshot = Snapshot(snapshots(service.folder)[0])
    expect(snapshot.meta["trigger"] == "signal" and snapshot.live(64) == 79, "whole")
expect(service.quit() == "", "nothing should be said")

# Without the program a stream is left, which ingest takes later.
service = Service(LEAKDIFF_AT_EXIT="1", LEAKDIFF_INGEST="/nonexistent/leakdiff")
service.ask("heap 78")
service.quit()
found = snapshots(service.folder, "stream")
if expect(len(found) == 1 and not snapshots(service.folder), "a stream should be left: %s" % os.listdir(service.folder)):
    expect(os.stat(found[0]).st_mode & 0o777 == 0o600, "mode 0600")
    later = os.path.join(service.folder, "later.snap")
    done = leakdiff("ingest", found[0], "-o", later)
    expect(done.returncode == 0 and Snapshot(later).live(64) == 78, "whole: %r" % done.stderr)
expect(not [name for name in os.listdir(service.folder) if name.endswith(".tmp")], "no temporary file should be left")

# A dormant service costs nothing and says so; woken, it confesses what it did not see.
service = Service(LEAKDIFF_START="off")
service.ask("heap 50")
done = leakdiff("snap", service.pid)
if not MODE.live_table:
    left_out("a snapshot of what sleeps is refused", "jemalloc's profile is always there")
expect(not MODE.live_table or done.returncode == 2 and "leakdiff on" in done.stderr, "a dormant service should say how to wake it: %r" % done.stderr)
expect(leakdiff("on", service.pid).returncode == 0, "on")
service.ask("heap 60")
snapshot = service.snap()
expect(snapshot.live(64) == 60, "only blocks since then are known")
expect("did not begin with the process" in snapshot.notes(), "and the snapshot says so: %r" % snapshot.notes())
leaked = leakdiff("leaks", snapshot.path, "--json")
expect('"size": 64' not in leaked.stdout, "what an unknown block may hold is not called a leak")
expect(leakdiff("off", service.pid).returncode == 0, "off")
service.ask("heap 5")
snapshot = service.snap()
expect(snapshot.meta["capture"] == "stopped", "a table that goes stale is marked: %s" % snapshot.meta["capture"])
service.quit()

# A larger table than pipes can hold, and a caller that goes away in the middle.
service = Service()
service.ask("heap 500000")
for delay in (0.02, 0.1, 0.3):
    caller = start([COMMAND, "snap", str(service.pid)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(delay)
    stop(caller, 0, signal.SIGKILL)
snapshot = service.snap()
expect(snapshot.live(64) == 500000, "the next snapshot is whole")
service.quit()
finish()
