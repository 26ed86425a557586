# SPDX-License-Identifier: Apache-2.0
"""The service does not see its snapshots: no child, no SIGCHLD, no descriptor, no late end of file, no
lock that is lost; and a snapshot survives a service that closes everything."""
import threading

from service import *  # noqa: F403

service = Service()
before = service.ask("fds")
service.ask("heap 300000")		# so that the child walks for a while
lock = os.path.join(service.folder, "lock")
service.ask("lock " + lock)
for _ in range(3):
    got = []
    taker = threading.Thread(target=lambda: got.append(service.snap()))
    taker.start()
    seen = set()
    while taker.is_alive():
        seen.add(service.ask("children"))
    taker.join()
    expect(seen == {"ECHILD 0"}, "waitpid(-1) should see no child and no SIGCHLD should come: %s" % seen)
    expect(got[0].consistent, "the snapshot should be consistent")
    expect(got[0].live(64) == 300000, "all blocks should be in it")
expect(service.ask("fds") == str(int(before) + 1), "only the lock's descriptor should have come: %s, then %s" % (before, service.ask("fds")))
held = run([sys.executable, "-c", "import fcntl,sys; fcntl.lockf(open(sys.argv[1],'r+'), fcntl.LOCK_EX|fcntl.LOCK_NB)", lock])
expect(held.returncode != 0, "the service's POSIX lock should still be held")

# A pipe that is closed while the copy walks has its end at once: the copy holds no end of it.
for _ in range(3):
    service.tell("eof")
    time.sleep(0.1)
    snapshot = service.snap()
    ms = int(service.answer())
    expect(ms < 100, "an end of file should come at once, not after %d ms" % ms)

service.ask("closefds")
expect(service.snap().consistent, "a service that closed every descriptor should be snapped")
service.ask("closefds")
expect(leakdiff("status", service.pid).returncode == 0, "and tell its status")
expect(service.quit() == "", "the library should have said nothing")
expect(not [name for name in os.listdir(service.folder) if name.endswith((".sock", ".ring"))], "socket and rings should be gone")

# No process of ours is left once the snapshots are written.
left = run(["pgrep", "-s", str(service.pid)])
expect(left.stdout == "", "no walking child should be left: %s" % left.stdout)
finish()
