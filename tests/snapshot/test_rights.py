# SPDX-License-Identifier: Apache-2.0
"""Services that gave up rights, changed root or live in namespaces; clients that may not ask; messages
that are no requests."""
import array
import signal
import socket
import struct

from service import *  # noqa: F403

MAGIC, SNAP, STATUS, RESULT, ERROR = 0x4B43444C, 1, 2, 2, 3


def request(command, magic=MAGIC, version=1):
    return struct.pack("<IIIIQQ", magic, version, command, 0, 0, 0)


def answer(path, data, fds=()):
    """What the library says to a message: (kind, text), or None when it just hangs up."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.settimeout(20)
        client.connect(path)
        control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        client.sendmsg([data], control)
        got = client.recv(8192)
        return (struct.unpack("<II", got[:8])[1], got[8:].decode()) if got else None


def holds_no_socket(folder):
    try:
        return not any(os.readlink(folder + fd).startswith("socket") for fd in os.listdir(folder))
    except OSError:
        return False			# it opens and closes files meanwhile


# Sockets that dead processes left go; one that somebody listens on is of another pid namespace.
folder = scratch("snap")
left, kept = (socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2))
for listener, number in ((left, 99999991), (kept, 99999992)):
    listener.bind(os.path.join(folder, "%d.sock" % number))
    listener.listen()
left.close()
service = Service(folder=folder)
expect(os.path.exists(os.path.join(folder, "99999992.sock")) and not os.path.exists(os.path.join(folder, "99999991.sock")),
       "a socket that is listened on should stay, one that is not should go: %s" % os.listdir(folder))
kept.close()
expect(leakdiff("status", service.pid).returncode == 0, "status")
sock = os.path.join(service.folder, "%d.sock" % service.pid)
expect(os.stat(sock).st_mode & 0o777 == 0o600, "the socket should have mode 0600")
expect(os.stat(service.folder).st_mode & 0o777 == 0o700, "the folder should have mode 0700")
null = os.open("/dev/null", os.O_WRONLY)
for what, data, fds in (
        ("an empty message", b"", ()), ("noise", os.urandom(64), ()), ("a short request", request(STATUS)[:-1], ()),
        ("a long request", request(STATUS) + b"x", ()), ("another magic", request(STATUS, magic=1), ()),
        ("another version", request(STATUS, version=9), ()), ("an unknown command", request(77), ()),
        ("SNAP without a descriptor", request(SNAP), ()), ("a large message", b"x" * 100000, ()),
        ("noise with descriptors", b"noise", (null, null, null)), ("many descriptors", request(77), (null,) * 60)):
    try:
        kind = answer(sock, data, fds)
    except (ConnectionError, BrokenPipeError):
        kind = None
    expect(kind is None or kind[0] == ERROR, "%s should be refused: %s" % (what, kind))
# SNAP to a descriptor that takes nothing: the service does not mind, and the next one succeeds
read_only = os.open("/dev/null", os.O_RDONLY)
answer(sock, request(SNAP), (read_only,))
broken = os.pipe()
os.close(broken[0])
answer(sock, request(SNAP), (broken[1],))
silent = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
silent.connect(sock)			# says nothing: others are served all the same, a little later
expect(service.snap().consistent, "snap after broken clients should succeed")
silent.close()

# A reader that does not read: the child waits for it, the least important process of all, the service
# and its threads do not, and who asks meanwhile is told so.
if MODE.live_table:
    ends = os.pipe()
    service.ask("heap 20000")		# more than a pipe holds
    kind, text = answer(sock, request(SNAP), (ends[1],))
    os.close(ends[1])
    child = children_of(service.pid)
    if expect(kind == RESULT and len(child) == 1, "a snapshot should be on its way: %s %s" % (text, child)):
        child = child[0]
        about = "/proc/%d/" % child
        expect(wait_until(lambda: open(about + "oom_score_adj").read() == "1000\n"), "the memory killer should take it first")
        expect(wait_until(lambda: os.getpriority(os.PRIO_PROCESS, child) == 19), "it should have the lowest priority")
        expect(wait_until(lambda: holds_no_socket(about + "fd/")), "it should hold no socket open")
        expect("written" in answer(sock, request(SNAP), (null,))[1], "a second one should be refused meanwhile")
        expect(service.ask("heap 1") == "done", "the service should go on")
        os.close(ends[0])
        expect(wait_until(lambda: child not in children_of(service.pid)), "and it should end with its reader")
else:
    left_out("a reader that does not read", "a profile fits into the pipe")

if os.getuid() == 0:
    # A folder that its owner opened to the world does not open the process.
    os.chmod(service.folder, 0o755)
    os.chmod(sock, 0o666)
    code = ("import socket,struct,sys; s=socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.connect(sys.argv[1]);"
            " g=s.recv(8192); print(struct.unpack('<II', g[:8])[1], g[8:].decode())")
    other = run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-c", code, sock])
    expect(other.stdout.startswith("%d " % ERROR) and "user" in other.stdout, "another user should be refused: %r %r" % (other.stdout, other.stderr))
expect(service.quit() == "", "what a caller does is not the service's business")

# Stopped: a sentence at once, and a snapshot after it goes on.
service = Service()
os.kill(service.pid, signal.SIGSTOP)
begin = time.monotonic()
done = leakdiff("snap", service.pid)
expect(done.returncode == 2 and "stopped" in done.stderr and time.monotonic() - begin < 5, "a stopped service should be named so: %r" % done.stderr)
os.kill(service.pid, signal.SIGCONT)
expect(service.snap().consistent, "and snapped when it goes on")
service.quit()

if os.getuid() == 0:
    # Drops its privileges: not dumpable any more, all threads change together, the agent too.
    service = Service()
    service.ask("threads 3")
    service.ask("setuid 65534")
    expect(open("/proc/%d/status" % service.pid).read().count("65534") >= 8, "the service should be nobody now")
    snapshot = service.snap()
    expect(snapshot.consistent, "a service that gave up its rights should be stopped whole: %r" % snapshot.notes())
    service.ask("heap 1000")
    expect(service.snap().live(64) == 1000, "and seen whole")
    expect(run(["stat", "-c", "%U", "/proc/%d/maps" % service.pid]).stdout == "root\n", "it should still be protected")
    service.quit()

    # Keeps one capability over the change: per thread, and the guest keeps no more than the service.
    service = Service()
    service.ask("drop 65534")
    rights = set()
    for tid in os.listdir("/proc/%d/task" % service.pid):
        status = open("/proc/%d/task/%s/status" % (service.pid, tid)).read()
        rights.add(tuple(re.findall(r"^(?:Uid|Gid|Groups|CapInh|CapPrm|CapEff):.*", status, re.MULTILINE)))
    expect(len(rights) == 1 and "CapPrm:\t0000000000000400" in str(rights).replace("\\t", "\t"), "all threads should have the same rights: %s" % rights)
    service.ask("heap 10")
    expect(service.snap().consistent, "and it should be snapped")
    service.quit()

    # Changes its root to an empty folder: no /proc, no libraries, no way back.
    service = Service()
    empty = scratch("empty")
    service.ask("heap 1000")
    service.ask("chroot " + empty)
    snapshot = service.snap()
    expect(snapshot.consistent and snapshot.live(64) == 1000,
           "a service in an empty root should be snapped")
    expect(snapshot.number("select count(*) from sites s join types t on 1 where t.name like '%obey%'") > 0 or
           snapshot.number("select count(*) from frames where function = '%s'" % ("obey" if MODE.every_stack else "main")) > 0,
           "with its functions named")
    expect(os.listdir(empty) == [], "nothing should be written into its root: %s" % os.listdir(empty))
    service.ask("setuid 65534")
    expect(service.snap().consistent, "and again as nobody")
    service.quit()

    # A process id namespace and mounts of its own: another number inside, another root.
    if shutil.which("unshare") and run(["unshare", "--pid", "--fork", "--mount-proc", "true"]).returncode == 0:
        folder = scratch("inner")
        outer = Service(folder=folder, wrapper=["unshare", "--pid", "--mount", "--fork", "--mount-proc", "--kill-child"])
        inner = int(run(["pgrep", "-P", str(outer.pid), "-f", "shim_snap_service"]).stdout.split()[-1])
        outer.pid = inner
        outer.ask("heap 500")
        done = leakdiff("snap", inner)
        path = done.stdout.strip()
        if expect(done.returncode == 0 and os.path.isfile(path), "a process in namespaces should be snapped: %r" % done.stderr):
            snapshot = Snapshot(path)
            expect(snapshot.consistent and snapshot.live(64) == 500, "whole")
            expect(snapshot.meta["nspid"] != str(inner), "its own number differs from ours: %s" % snapshot.meta["nspid"])
            expect(".%d." % inner in os.path.basename(path), "the file is named by the number that was asked for: %s" % path)
        outer.process.stdin.close()
        outer.process.wait(20)
finish()
