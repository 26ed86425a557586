# SPDX-License-Identifier: Apache-2.0
"""Processes that cannot be snapped: dead, without the library, somebody else's, statically linked,
stopped. Each gets its own sentence and status 2; the services serve on, older snapshots stay as they
are, and processes of other users that may be snapped give their snapshot to their user."""
import os
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from victim import *  # noqa: E402,F403
from support import *  # noqa: E402,F403

ROOT = os.getuid() == 0
AS_NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
program = compiled()
service = Victim(program)
service.serve("at first", 20)
service.ready()
older = os.path.join(service.folder, "older.snap")
done = leakdiff("snap", service.pid, "-o", older)
expect(done.returncode == 0 and done.stdout == older + "\n", "snap should print the file's path alone: %r %r" % (done.stdout, done.stderr))
OLDER = digest(older)
of_mode(older)
sentences = {}


def each(pid, what, words, commands=(("snap", True), ("status", True), ("on", True), ("off", True)), seconds=60):
    """Every command that takes a PID refuses this one."""
    for command, _ in commands:
        here = scratch("cwd")
        done = leakdiff(command, pid, cwd=here, seconds=seconds)
        refused(done, "%s of %s" % (command, what), words=words)
        if command == "snap":
            sentences[what] = done.stderr
            expect(os.listdir(here) == [], "snap of %s left files: %s" % (what, os.listdir(here)))


# -- no such process
gone = start(["true"])
gone.wait()
each(gone.pid, "a dead process", ("no process", "no such process", "not running", "does not exist", "ended", "there is no"))
each(0x7FFFFFFE, "a number beyond every process", ("no process", "no such process", "not running", "does not exist", "ended", "there is no"))
zombie = start(["sh", "-c", "exit 0"])
wait_until(lambda: b") Z" in open("/proc/%d/stat" % zombie.pid, "rb").read(), 5)
each(zombie.pid, "a process that has ended and was not waited for", ())
zombie.wait()

# -- without the library
plain = start(["sleep", "100"], env=clean_environment())
each(plain.pid, "a process without the library", ("libleakdiff", "not run", "without", "under leakdiff", "preload"))
stop(plain)

# -- a program that the library cannot enter
static = compiled("-static", name="static")
if static:
    alone = Victim(static)
    alone.serve("statically linked, under the library")
    each(alone.pid, "a statically linked program", ("static", "libleakdiff", "preload", "without"))
    alone.serve("after the attempts")
    alone.end("statically linked")
    ran = run([COMMAND, "run", "-o", scratch("ld"), "--", static], env=clean_environment())
    expect(ran.returncode == 5, "run of a statically linked program should end with the program's 5, not %s" % ran.returncode)
    expect("static" in ran.stderr and len(ran.stderr.splitlines()) == 1,
           "run of a statically linked program should say in one line that it sees nothing: %r" % ran.stderr[-300:])
else:
    print("no static C library here: the statically linked program was left out")

# -- another user's
if ROOT:
    here = scratch("nobody")
    os.chmod(here, 0o755)
    own = [shutil.copy(path, here) for path in (COMMAND, LIBRARY, program)]
    theirs = os.path.join(here, "theirs")
    os.mkdir(theirs, 0o700)
    os.chown(theirs, 65534, 65534)
    for command in ("snap", "status", "off", "on"):
        refused(run(AS_NOBODY + [own[0], command, str(service.pid)], cwd=theirs, env=clean_environment()),
                "%s of root's process by another user" % command, words=("user", "permission", "allowed", "belongs", "root"))
    expect(os.listdir(theirs) == [], "the refused user's folder should be empty: %s" % os.listdir(theirs))
    service.serve("after another user tried")

    # Giving up root while keeping capabilities is different in every thread of a process: glibc aborts
    # when its threads disagree. A guest thread must not be there then.
    given_up = run(AS_NOBODY + ["--inh-caps=-all", "id", "-u"], env=clean_environment(LD_PRELOAD=own[1], LEAKDIFF_DIR=scratch("ld")), cwd=theirs)
    expect(given_up.returncode == 0 and given_up.stdout == "65534\n", "setpriv under the library should give up root as ever: status %s, %r %r"
           % (given_up.returncode, given_up.stdout, given_up.stderr))

    captures = os.path.join(theirs, "ld")
    other = Victim(own[2], env=clean_environment(HOME=theirs), folder=captures, cwd=theirs,
                   wrapper=AS_NOBODY + ["env", "LD_PRELOAD=" + own[1], "LEAKDIFF_DIR=" + captures])
    other.serve("run by another user", 5)
    other.ready()
    done = run(AS_NOBODY + [own[0], "snap", str(other.pid)], cwd=theirs, env=clean_environment(), seconds=60)
    expect(done.returncode == 0, "a user should be able to snap a process of his own: %s" % done.stderr[-300:])
    by_root = leakdiff("snap", other.pid, cwd=here)
    path = os.path.join(here, by_root.stdout.strip() or "none")
    if expect(by_root.returncode == 0 and os.path.isfile(path), "root should be able to snap another user's process: %s" % by_root.stderr[-300:]):
        expect(os.stat(path).st_uid == 65534, "its snapshot should belong to the process's user, not to %d" % os.stat(path).st_uid)
        expect(os.stat(path).st_mode & 0o777 == 0o600, "its mode should be 0600, not %o" % (os.stat(path).st_mode & 0o777))
    named = os.path.join(service.folder, "named.snap")
    by_root = leakdiff("snap", other.pid, "-o", named)
    expect(by_root.returncode == 0 and os.path.isfile(named), "-o is resolved by the caller, where the service could not write: %s"
           % by_root.stderr[-300:])
    expect(run(["ls", "-ld", os.path.join(theirs, "ld")]).stdout.startswith("drwx------"), "the folder should have mode 0700")
    other.serve("after three snapshots")
    other.end("run by another user")

# -- stopped: nobody answers
service.serve("before it is stopped")
os.kill(service.pid, signal.SIGSTOP)
begin = time.monotonic()
done = leakdiff("snap", service.pid, cwd=scratch("cwd"), seconds=60)
refused(done, "snap of a stopped process")
expect(time.monotonic() - begin < 45, "snap of a stopped process should give up after some seconds")
sentences["a stopped process"] = done.stderr
os.kill(service.pid, signal.SIGCONT)
service.serve("after it was continued", 3)
done = leakdiff("snap", service.pid, "-o", os.path.join(service.folder, "again.snap"))
expect(done.returncode == 0, "snap should succeed after the process was continued: %s" % done.stderr[-300:])

# -- the caller goes away in the middle; two callers at once
for delay in (0.0, 0.01, 0.03, 0.08):
    impatient = start([COMMAND, "snap", str(service.pid), "-o", os.path.join(service.folder, "cut.snap")],
                      env=clean_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(delay)
    stop(impatient, 0, signal.SIGKILL)
    service.serve("after a caller was killed")
    done = leakdiff("snap", service.pid, "-o", os.path.join(service.folder, "next.snap"))
    expect(done.returncode == 0, "snap after a caller was killed: %s" % done.stderr[-300:])
both = [start([COMMAND, "snap", str(service.pid), "-o", os.path.join(service.folder, "both%d.snap" % n)], env=clean_environment(),
              stdout=subprocess.PIPE, stderr=subprocess.PIPE) for n in range(3)]
for n, process in enumerate(both):
    out, err = process.communicate(timeout=60)
    expect(process.returncode == 0 or (process.returncode == 2 and len(err.splitlines()) == 1 and not out),
           "three callers at once: each gets a snapshot or one sentence, caller %d got %s %r" % (n, process.returncode, err))
expect(any(process.returncode == 0 for process in both), "three callers at once: one at least should get a snapshot")

# -- an agent that refuses without reading what was asked: its reason is told, not that the connection broke
folder = scratch("deaf")
shutil.copy(LIBRARY, os.path.join(folder, "libleakdiff.so"))
deaf = start([sys.executable, "-c", """
import mmap, os, socket, struct, time
with open("libleakdiff.so", "rb") as f:
    seen = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
listener.bind("\\0leakdiff.%d" % os.getpid())
listener.listen()
print("ready", flush=True)
while True:
    client, _ = listener.accept()
    time.sleep(0.2)
    client.send(struct.pack("<II", 0x4b43444c, 3) + b"not to you, today")
    client.close()
"""], cwd=folder, env=clean_environment(), stdout=subprocess.PIPE, text=True)
deaf.stdout.readline()
each(deaf.pid, "an agent that does not read", ("not to you, today",))
stop(deaf)

# -- on and off
for command, state in (("off", "off"), ("off", "off"), ("on", "on"), ("on", "on")):
    done = leakdiff(command, service.pid)
    expect(done.returncode == 0, "leakdiff %s: %s" % (command, done.stderr[-300:]))
    done = leakdiff("status", service.pid, "--json")
    expect('"state": "%s"' % state in done.stdout.replace('":"', '": "'), "after %s the state should be %s: %s" % (command, state, done.stdout))
    service.serve("after %s" % command, 3)

expect(digest(older) == OLDER, "the older snapshot should be byte-identical")
expect(leakdiff("check", older).returncode == 0, "the older snapshot should be whole")
distinct = {what: " ".join(word for word in text.split() if not word.strip(".,:;()").isdigit()) for what, text in sentences.items()}
for one in ("a dead process", "a process without the library", "a stopped process"):
    for other in ("a dead process", "a process without the library", "a stopped process"):
        expect(one >= other or distinct.get(one) != distinct.get(other), "%s and %s should not get the same sentence: %s"
               % (one, other, distinct.get(one)))
service.end("at the end")
expect(service.said() == "", "the library should have said nothing in the service: %r" % service.said()[-300:])
finish()
