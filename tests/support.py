# SPDX-License-Identifier: Apache-2.0
"""What the test scripts share: where the build is, services under the shim, snapshots taken while a
workload runs, and a record of what was expected and did not happen.

A script ends with finish(): exit status 0 when every expectation held, 1 when not, 77 (skip, with
the reason) when what it needs is not on this machine. Whatever was started with start() is killed,
with its children, when the script ends, however it ends. Scratch folders go too; KEEP=1 keeps them.
"""
import atexit
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import modes
from modes import MODE, does_not_apply, left_out  # noqa: F401

SOURCE = os.environ.get("TEST_SOURCE") or os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.environ.get("TEST_BUILD") or os.path.join(SOURCE, "build", "dev")
COMMAND = os.path.join(BUILD, "bin", "leakdiff")
LIBRARY = os.path.join(BUILD, "lib", "libleakdiff.so")

_failures = []
_passed = 0
_running = []
_folders = []


def expect(condition, sentence):
    """One expectation; the sentence says what should be true, with the values that were met."""
    global _passed
    if condition:
        _passed += 1
    else:
        _failures.append(sentence)
        print("NOT SO: %s" % sentence, file=sys.stderr, flush=True)
    return bool(condition)


def skip(reason):
    print("skipped: %s" % reason)
    sys.exit(77)


def need(*programs):
    """Skip when one of the programs is not installed."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    for program in programs:
        if not shutil.which(program, path=path):
            skip("%s is not installed" % program)


def finish():
    expect(modes.report(), "some process should say that it was recorded in mode %s" % MODE.name)
    print("%d expectations held, %d did not" % (_passed, len(_failures)))
    if not _passed and not _failures:
        print("nothing was tested", file=sys.stderr)
        sys.exit(1)
    sys.exit(1 if _failures else 0)


def scratch(name="leakdiff-test"):
    """A new folder, removed at the end; as short as a socket's path needs."""
    folder = tempfile.mkdtemp(prefix=name + ".", dir=os.environ.get("TMPDIR", "/tmp"))
    _folders.append(folder)
    return folder


def clean_environment(**more):
    """The environment without anything that concerns us, in the C locale."""
    env = {key: value for key, value in os.environ.items()
           if not key.startswith(("LEAKDIFF_", "LD_", "GIT_"))}
    env.update(LC_ALL="C", TZ="UTC", PATH=os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin")
    env.update(more)
    return env


def shim_environment(folder, **more):
    """The environment of a program that runs under the library, in the mode under test, and keeps its files in folder."""
    return dict(modes.apply(clean_environment(LD_PRELOAD=LIBRARY, LEAKDIFF_DIR=folder), more), **more)


# -- processes ---------------------------------------------------------------

def start(argv, **options):
    """Popen in a session of its own, killed at the end of the script."""
    process = subprocess.Popen(argv, start_new_session=True, **options)
    _running.append(process)
    return process


def stop(process, seconds=10, how=signal.SIGTERM):
    """End a process and what it started; its exit status."""
    if process.poll() is None:
        try:
            process.send_signal(how)
            process.wait(seconds)
        except (subprocess.TimeoutExpired, ProcessLookupError):
            pass
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    process.wait()
    if process in _running:
        _running.remove(process)
    return process.returncode


def run(argv, seconds=120, **options):
    """Run to the end with output captured as text; a hang is killed and has returncode None."""
    options.setdefault("stdin", subprocess.DEVNULL)
    options.setdefault("stdout", subprocess.PIPE)
    options.setdefault("stderr", subprocess.PIPE)
    text = options.pop("text", True)
    process = start(argv, **options)
    try:
        out, err = process.communicate(seconds and seconds)
        status = process.returncode
    except subprocess.TimeoutExpired:
        stop(process, 0, signal.SIGKILL)
        out, err = process.communicate()
        status = None
    if process in _running:
        _running.remove(process)
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    if text:
        out = out.decode("utf-8", "replace") if out is not None else ""
        err = err.decode("utf-8", "replace") if err is not None else ""
    return subprocess.CompletedProcess(argv, status, out, err)


def leakdiff(*words, seconds=120, **options):
    options.setdefault("env", clean_environment())
    return run([COMMAND] + [str(word) for word in words], seconds, **options)


def free_port():
    """One below those that the kernel gives to clients, which come and go until the server listens."""
    for port in random.sample(range(15000, 32000), 1000):
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise RuntimeError("no free port")


def wait_for_port(port, process, seconds=20):
    """True as soon as something accepts; False when the process died or never listened."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if process.poll() is not None:
            return False
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        except OSError:
            time.sleep(0.05)
    return False


def wait_until(condition, seconds=10, step=0.02):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(step)
    return bool(condition())


def image_of(pid):
    """What exec makes anew, even when it starts the same program: where things were loaded."""
    try:
        with open("/proc/%d/auxv" % pid, "rb") as f:
            return f.read()
    except OSError:
        return None


def birth_of(pid):
    """Start time of a process in clock ticks (tells it from a later one with the same number), or None."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as f:
            words = f.read().rsplit(b")", 1)[1].split()
    except OSError:
        return None
    return None if words[0] in (b"Z", b"X") else int(words[19])


def children_of(pid):
    result = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open("/proc/%s/stat" % name, "rb") as f:
                    words = f.read().rsplit(b")", 1)[1].split()
            except OSError:
                continue
            if int(words[1]) == pid and words[0] != b"Z":
                result.append(int(name))
    return result


def captured_processes(folder):
    """Processes that record into this folder: they map <folder>/<pid>.ring. Smallest number first.

    A snapshot's own walking child maps it too: it is told apart by the number in the file's name."""
    result = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open("/proc/%s/maps" % name) as f:
                maps = f.read()
        except OSError:
            continue
        if "%s/%s.ring" % (os.path.realpath(folder), name) in maps:
            result.append(int(name))
    return sorted(result)


def program_of(pid):
    try:
        return os.path.basename(os.readlink("/proc/%d/exe" % pid))
    except OSError:
        return "gone"


# -- snapshots while something runs -------------------------------------------

class Snapper(threading.Thread):
    """Takes snapshots of the processes that record into `folder` until stopped, the least often
    taken process first, and checks every file.

    A refused or failed snapshot is a failure unless the process had ended (or had become another
    program, or was just starting: not yet captured) by the time that the command returned, or shortly
    after: the threads of a process that is ended go one by one."""

    def __init__(self, folder, programs=None, wanted=10, gap=0.05):
        super().__init__(daemon=True)
        self.folder, self.programs, self.wanted, self.gap = folder, programs, wanted, gap
        self.files = scratch("snaps")
        self.taken, self.gone, self.failed = [], 0, []
        self._end = threading.Event()

    def run(self):
        times = {}
        while not self._end.is_set():
            # A process that has just begun, or was forked and has not allocated, does not listen yet.
            pids = [pid for pid in captured_processes(self.folder)
                    if os.path.exists(os.path.join(self.folder, "%d.sock" % pid))]
            if self.programs:
                pids = [pid for pid in pids if program_of(pid) in self.programs]
            if not pids:
                self._end.wait(0.01)
                continue
            pid = min(pids, key=lambda p: (times.get(p, 0), -p))
            times[pid] = times.get(pid, 0) + 1
            self._one(pid)
            self._end.wait(self.gap)

    def _one(self, pid):
        name, birth, image = program_of(pid), birth_of(pid), image_of(pid)
        path = os.path.join(self.files, "%d.%d.snap" % (pid, len(self.taken) + len(self.failed)))
        begin = time.monotonic()
        snap = leakdiff("snap", pid, "-o", path, seconds=60)
        took = time.monotonic() - begin
        if snap.returncode == 0:
            check = leakdiff("check", path, seconds=60)
            size = os.path.getsize(path) if os.path.exists(path) else 0
            if snap.stdout.strip() != path:
                self.failed.append("snap of %s printed %r instead of the file's path" % (name, snap.stdout))
            elif check.returncode != 0:
                self.failed.append("check of a snapshot of %s: %s" % (name, (check.stdout + check.stderr).strip()[-400:]))
            else:
                self.taken.append((name, took, size))
        elif birth is None or wait_until(lambda: (birth_of(pid), program_of(pid), image_of(pid)) != (birth, name, image),
                                         2 if "ended" in snap.stderr else 0):
            self.gone += 1
        else:
            self.failed.append("snap of a living %s (pid %d) ended with %s after %.1f s: %s"
                               % (name, pid, snap.returncode, took, snap.stderr.strip()[-400:]))
        if os.path.exists(path):
            os.unlink(path)

    def enough(self):
        return len(self.taken) >= self.wanted or len(self.failed) >= 5

    def end(self):
        self._end.set()
        self.join(90)
        return self

    def report(self, what):
        """State the expectations about the snapshots, and print what was taken."""
        by = {}
        for name, took, _ in self.taken:
            by.setdefault(name, []).append(took)
        print("%s: %d snapshots (%s), %d met an ending process" % (
            what, len(self.taken),
            ", ".join("%d of %s, %.2f s each" % (len(t), n, sum(t) / len(t)) for n, t in sorted(by.items())),
            self.gone), flush=True)
        for failure in self.failed[:5]:
            expect(False, "%s: %s" % (what, failure))
        expect(len(self.taken) >= self.wanted,
               "%s: expected %d snapshots, %d succeeded, %d failed, %d met an ending process"
               % (what, self.wanted, len(self.taken), len(self.failed), self.gone))


def while_snapping(what, work, folder, programs=None, wanted=10, seconds=45):
    """Call work() again and again until enough snapshots were taken meanwhile. work states its own
    expectations. Returns the times that it took."""
    snapper = Snapper(folder, programs, wanted)
    snapper.start()
    times, begin = [], time.monotonic()
    try:
        while True:
            t = time.monotonic()
            work()
            times.append(time.monotonic() - t)
            if snapper.enough() or time.monotonic() - begin > seconds:
                break
    finally:
        snapper.end()
    snapper.report(what)
    return times


def of_mode(path):
    """Does the snapshot say that it is of the mode under test?"""
    meta = dict(line.split("\t", 1) for line in leakdiff("sql", path, "SELECT key, value FROM meta").stdout.splitlines())
    wrong = modes.wrong_snapshot(meta, leakdiff("sql", path, "SELECT note FROM notes").stdout)
    return expect(not wrong, "the snapshot should be of mode %s: %s" % (MODE.name, wrong))


def silent_about_itself(what, stderr):
    """The library says nothing in a program's own output unless there is trouble."""
    lines = [line for line in stderr.splitlines() if "leakdiff" in line]
    expect(not lines, "%s: the library wrote into the program's stderr: %s" % (what, lines[:3]))


def _clean():
    for process in list(_running):
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
    if not os.environ.get("KEEP"):
        for folder in _folders:
            shutil.rmtree(folder, ignore_errors=True)


def _ended(number, _frame):
    sys.exit(128 + number)


atexit.register(_clean)
for _number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(_number, _ended)
