# SPDX-License-Identifier: Apache-2.0
"""Full disks, unwritable folders and interrupted writers: one sentence, status 2, nothing half-written left, older
snapshots untouched, and a service that does not notice, even when its own capture folder is what is full."""
import os
import resource
import signal
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from victim import *  # noqa: E402,F403
from support import *  # noqa: E402,F403

mounted = []
program = compiled()


def small_disk(kib, options=""):
    """A tmpfs of that size, or None where mounting is not permitted."""
    folder = scratch("disk")
    done = run(["mount", "-t", "tmpfs", "-o", "size=%dk,mode=0755%s" % (kib, options), "tmpfs", folder])
    if done.returncode:
        return None
    mounted.append(folder)
    return folder


def fill(folder, keep=0):
    """Use up a disk but for some bytes."""
    with open(os.path.join(folder, "filler"), "wb", 0) as f:
        try:
            while True:
                f.write(bytes(4096))
        except OSError:
            pass
        if keep:
            f.truncate(max(0, f.tell() - keep))


def unfill(folder):
    os.unlink(os.path.join(folder, "filler"))


def limited(*argv, bytes_):
    """Run with a limit on the size of files, where a write fails with EFBIG (or kills, by default)."""
    return run([str(word) for word in argv], env=clean_environment(), seconds=60,
               preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, bytes_)))


try:
    service = Victim(program)
    service.serve("at first", 100)
    service.ready()
    folder = scratch("snaps")
    older = os.path.join(folder, "older.snap")
    expect(leakdiff("snap", service.pid, "-o", older).returncode == 0, "a first snapshot should succeed")
    OLDER = digest(older)
    of_mode(older)
    stream = os.path.join(folder, "x.stream")
    expect(raw_stream(service, stream), "the library should hand out a capture stream")

    # -- no such folder, a file where a folder is needed, read-only
    for target, what in ((os.path.join(folder, "none", "x.snap"), "a folder that does not exist"),
                         (os.path.join(older, "x.snap"), "a folder that is a file"),
                         ("/proc/x.snap", "a folder that takes no files")):
        refused(leakdiff("snap", service.pid, "-o", target), "snap into %s" % what)
        refused(leakdiff("ingest", stream, "-o", target), "ingest into %s" % what)
        service.serve("after a snap into %s" % what)
    disk = small_disk(4096, ",ro")
    if disk:
        refused(leakdiff("snap", service.pid, "-o", os.path.join(disk, "x.snap")), "snap into a read-only file system", words=("read-only",))
        refused(leakdiff("ingest", stream, "-o", os.path.join(disk, "x.snap")), "ingest into a read-only file system", words=("read-only",))
    if os.getuid() == 0:
        here = scratch("closed")
        os.chmod(here, 0o755)
        own = [shutil.copy(path, here) for path in (COMMAND, LIBRARY, program)]
        home = os.path.join(here, "home")
        os.mkdir(home)
        os.chown(home, 65534, 65534)
        nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        captures = os.path.join(home, "ld")
        other = Victim(own[2], env=clean_environment(), folder=captures, cwd=home,
                       wrapper=nobody + ["env", "LD_PRELOAD=" + own[1], "LEAKDIFF_DIR=" + captures])
        other.serve("another user's service", 3)
        other.ready()
        done = run(nobody + [own[0], "snap", str(other.pid), "-o", os.path.join(here, "x.snap")], cwd=here, env=clean_environment())
        refused(done, "snap in a folder that the user may not write", words=("permission", "write", "allowed"))
        other.serve("after that")
        other.end("another user's service")

    # -- a full disk under the snapshot
    disk = small_disk(2048)
    if disk:
        before = os.path.join(disk, "before.snap")
        shutil.copy(older, before)
        for keep in (0, 4096, 40960):
            fill(disk, keep)
            target = os.path.join(disk, "x.snap")
            for what, done in (("snap", leakdiff("snap", service.pid, "-o", target)),
                               ("ingest", leakdiff("ingest", stream, "-o", target)),
                               ("snap over an older one", leakdiff("snap", service.pid, "-o", before))):
                refused(done, "%s on a disk with %d bytes left" % (what, keep), words=("space", "full"))
            expect(sorted(os.listdir(disk)) == ["before.snap", "filler"], "a full disk: files were left: %s" % os.listdir(disk))
            expect(digest(before) == OLDER, "a full disk: the older snapshot there should be byte-identical")
            service.serve("while the disk is full", 3)
            unfill(disk)
        expect(leakdiff("snap", service.pid, "-o", os.path.join(disk, "x.snap")).returncode == 0,
               "with space again, a snapshot should succeed")
        os.unlink(os.path.join(disk, "x.snap"))
        for verb, words in (("diff", (older, before, "--png")), ("diff", (older, before, "--svg")), ("diff", (older, before, "--dot"))):
            fill(disk)
            target = os.path.join(disk, "picture")
            done = leakdiff(verb, *words, target)
            expect(done.returncode in (0, 1, 2), "diff %s on a full disk ended with %s" % (words[2], done.returncode))
            expect(done.returncode == 2 and len(done.stderr.splitlines()) == 1, "diff %s on a full disk should end with 2 and one sentence: %s %r"
                   % (words[2], done.returncode, done.stderr[-300:]))
            unfill(disk)
            if os.path.exists(target):
                os.unlink(target)
    else:
        print("a small file system cannot be mounted here: only the limit on file sizes was tried")

    # -- a limit on the size of files
    for size in (0, 4096, 20000):
        target = os.path.join(folder, "x.snap")
        for what, done in (("snap", limited(COMMAND, "snap", service.pid, "-o", target, bytes_=size)),
                           ("ingest", limited(COMMAND, "ingest", stream, "-o", target, bytes_=size))):
            refused(done, "%s with files limited to %d bytes" % (what, size))
            expect(sorted(os.listdir(folder)) == ["older.snap", "x.stream"], "%s with files limited to %d bytes left %s"
                   % (what, size, os.listdir(folder)))
        service.serve("after that")

    # -- a signal while the file is being written; it is met by looking for the unfinished file without a break
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        met = False
        for _ in range(50):
            writer = start([COMMAND, "ingest", stream, "-o", os.path.join(folder, "x.snap")], env=clean_environment(),
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while writer.poll() is None and not met:
                met = any(name.endswith(".tmp") for name in os.listdir(folder))
            if met:
                writer.send_signal(number)
            status = writer.wait()
            left = sorted(os.listdir(folder))
            whole = "x.snap" in left  # it was ready before the signal came
            if whole:
                os.unlink(os.path.join(folder, "x.snap"))
            met = met and status == -number and not whole
            if met:
                break
        expect(met, "ingest should end by signal %d while it writes" % number)
        expect(left == ["older.snap", "x.stream"], "ingest that signal %d ended left %s" % (number, left))
    expect(digest(older) == OLDER, "the older snapshot should be byte-identical")
    service.end("at the end")
    expect(service.said() == "", "the library should have said nothing in the service: %r" % service.said()[-300:])

    # -- the service's own folder is full, cannot be had, or goes away
    if disk:
        fill(disk)
        for where, what in ((disk, "a full disk"), (os.path.join(disk, "below"), "a new folder on a full disk")):
            full = Victim(program, env=shim_environment(where), folder=where)
            full.serve("capture folder: %s" % what, 300)
            done = leakdiff("snap", full.pid, "-o", os.path.join(folder, "full.snap"))
            expect(done.returncode == 0, "snap of a service whose capture folder is %s: %s %r" % (what, done.returncode, done.stderr[-300:]))
            full.serve("capture folder: %s, after a snap" % what, 20)
            expect(len(full.said().splitlines()) <= 1, "capture folder: %s: at most one line should be said, not %r" % (what, full.said()[-300:]))
            full.end("capture folder: %s" % what)
        unfill(disk)
        roomy = small_disk(64 * 1024)
        late = Victim(program, env=shim_environment(roomy), folder=roomy)
        late.serve("before the capture folder fills up", 5)
        late.ready()
        fill(roomy)
        late.serve("after the capture folder filled up", 300)
        done = leakdiff("snap", late.pid, "-o", os.path.join(folder, "late.snap"))
        expect(done.returncode == 0, "a snap elsewhere should succeed though the capture folder is full: %s" % done.stderr[-300:])
        late.end("the capture folder filled up")
    limit = Victim(program, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)))
    limit.serve("files limited to 4096 bytes", 50)
    limit.end("files limited to 4096 bytes")
    for where in ("/proc/none", "/dev/null", "/dev/null/x", "x" * 300, "/" + "y" * 90 + "/" + "z" * 90):
        odd = Victim(program, env=shim_environment(where), folder=where, cwd=scratch("cwd"))
        odd.serve("LEAKDIFF_DIR=%s" % where[:20], 50)
        expect(len(odd.said().splitlines()) <= 1, "LEAKDIFF_DIR=%s: at most one line should be said, not %r" % (where[:20], odd.said()[-300:]))
        done = leakdiff("snap", odd.pid, "-o", os.path.join(folder, "odd.snap"))
        if done.returncode:
            refused(done, "snap of a service with LEAKDIFF_DIR=%s" % where[:20])
        odd.serve("LEAKDIFF_DIR=%s, after a snap" % where[:20])
        odd.end("LEAKDIFF_DIR=%s" % where[:20])
    lost = Victim(program)
    lost.serve("before its capture folder is removed", 5)
    lost.ready()
    shutil.rmtree(lost.folder)
    lost.serve("after its capture folder was removed", 100)
    done = leakdiff("snap", lost.pid, "-o", os.path.join(folder, "lost.snap"))
    if done.returncode:
        refused(done, "snap of a service whose capture folder was removed")
    lost.serve("after that", 5)
    lost.end("its capture folder was removed")
finally:
    for folder_ in mounted:
        run(["umount", "-l", folder_])
finish()
