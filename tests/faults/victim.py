# SPDX-License-Identifier: Apache-2.0
"""The service of the fault tests (victim.c), and what they all expect of a refusal."""
import array
import hashlib
import os
import select
import shutil
import socket
import struct
import subprocess
import sys
import tempfile

from support import *  # noqa: F403
from support import BUILD, COMMAND, LIBRARY

HERE = os.path.dirname(os.path.abspath(__file__))


def compiled(*flags, name="victim"):
    """The victim's program, built with the system's compiler."""
    path = os.path.join(scratch("victim"), name)
    os.chmod(os.path.dirname(path), 0o755)
    done = run(["gcc", "-O1", "-g", "-pthread", "-o", path, os.path.join(HERE, "victim.c"), *flags])
    return path if done.returncode == 0 else None


class Victim:
    """A running victim. serve() is one request; it is an expectation by itself."""

    def __init__(self, program, env=None, folder=None, wrapper=(), **options):
        self.folder = folder or scratch("ld")
        self.errors = tempfile.TemporaryFile()
        self.count = self.bytes = 0
        self.process = start(list(wrapper) + [program], env=env or shim_environment(self.folder),
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, **options)
        self.pid = self.process.pid

    def serve(self, when, times=1):
        for _ in range(times):
            line = b"request %d\n" % self.count
            answer = b""
            try:
                self.process.stdin.write(line)
                self.process.stdin.flush()
                if select.select([self.process.stdout], [], [], 20)[0]:
                    answer = self.process.stdout.readline()
            except OSError:
                pass
            self.count += 1
            self.bytes += len(line)
            if answer != b"%d %d\n" % (self.count, self.bytes):
                return expect(False, "%s: the service should answer '%d %d', it answered %r (status %s): %s"
                              % (when, self.count, self.bytes, answer, self.process.poll(), self.said()[-300:]))
        return expect(True, when)

    def ready(self, seconds=10):
        """Wait until it can be snapped: status answers."""
        return wait_until(lambda: leakdiff("status", self.pid).returncode == 0, seconds, 0.1)

    def said(self):
        self.errors.seek(0)
        return self.errors.read().decode("utf-8", "replace")

    def end(self, when):
        """End of input: the service leaves with its own status."""
        try:
            self.process.stdin.close()
        except OSError:       # it is gone; its status says how
            pass
        try:
            status = self.process.wait(20)
        except subprocess.TimeoutExpired:
            status = None
        expect(status == 5, "%s: the service should end with its own status 5, not %s: %s" % (when, status, self.said()[-300:]))


def refused(done, what, *, words=(), quiet=True, status=2):
    """Status 2 and exactly one sentence on stderr; nothing on stdout unless quiet is False."""
    lines = done.stderr.splitlines()
    ok = expect(done.returncode == status, "%s: expected exit status %d, got %s: %s"
                % (what, status, done.returncode, (done.stderr or done.stdout)[-300:]))
    ok &= expect(len(lines) == 1 and lines[0].startswith("leakdiff: ") and len(lines[0]) > 25,
                 "%s: expected one sentence on stderr that begins with 'leakdiff: ', got %r" % (what, done.stderr[-500:]))
    if quiet:
        ok &= expect(done.stdout == "", "%s: expected nothing on stdout, got %r" % (what, done.stdout[:200]))
    if words:
        ok &= expect(any(word in done.stderr.lower() for word in words), "%s: the sentence should speak of %s: %r"
                     % (what, " or ".join(words), done.stderr[-300:]))
    return ok


def digest(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def raw_stream(victim, path):
    """Ask the library for a capture stream as `leakdiff snap` does, and keep it as it is."""
    found = None
    with open("/proc/%d/maps" % victim.pid) as f:
        for line in f:
            if line.rstrip().endswith("/%d.ring" % victim.pid):
                found = os.path.dirname(line.split(None, 5)[5].rstrip())
    if not found:
        return False
    ours, theirs = os.pipe()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        s.settimeout(20)
        s.connect(os.path.join(found, "%d.sock" % victim.pid))
        request = struct.pack("<IIIIQQ", 0x4B43444C, 1, 1, 0, 0, 0)
        s.sendmsg([request], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [theirs]))])
        os.close(theirs)
        with open(path, "wb") as out, os.fdopen(ours, "rb") as stream:
            shutil.copyfileobj(stream, out)
        while True:
            message = s.recv(5000)
            if len(message) < 8 or struct.unpack_from("<II", message)[1] != 1:
                break
    return os.path.getsize(path) > 100
