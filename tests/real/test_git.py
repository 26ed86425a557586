# SPDX-License-Identifier: Apache-2.0
"""git under the shim: a generated repository is imported, cloned, read, packed and verified with the
same output, status and object names as without, while snapshots are taken of every git process."""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from support import *  # noqa: E402,F403

need("git")
COMMITS, FILES = 300, 24
WORDS = "leak cache holder stack chain root block growth birth arena queue session".split()


def history():
    """A fast-import stream: every commit rewrites three long files, so that packing has work to do."""
    state, out = 12345, []
    texts = [["%s %d" % (WORDS[n % 12], n) for n in range(2500)] for _ in range(FILES)]
    for commit in range(COMMITS):
        out.append("commit refs/heads/main\nmark :%d\ncommitter A <a@example.org> %d +0000\ndata 9\ncommit %02d"
                   % (commit + 1, 1600000000 + commit * 60, commit % 100))
        for _ in range(3):
            state = (state * 1103515245 + 12345) & 0x7FFFFFFF
            number = (state >> 8) % FILES
            text = texts[number]
            for line in range(60):
                state = (state * 1103515245 + 12345) & 0x7FFFFFFF
                text[(state >> 8) % len(text)] = "%s %d" % (WORDS[state % 12], state)
            body = "\n".join(text) + "\n"
            out.append("M 100644 inline dir%d/file%d.txt\ndata %d\n%s" % (number % 4, number, len(body), body))
        out.append("")
    return "\n".join(out).encode() + b"\ndone\n"


HISTORY = history()
CONFIG = ["-c", "gc.auto=0", "-c", "protocol.file.allow=always", "-c", "core.fsync=none", "-c", "pack.threads=2"]


def session(env, folder, shimmed):
    """Everything that a person does with a repository; (command, status, output) of each."""
    origin, clone = os.path.join(folder, "origin.git"), os.path.join(folder, "clone")
    shutil.rmtree(origin, ignore_errors=True)
    shutil.rmtree(clone, ignore_errors=True)
    env = dict(env, HOME=folder, GIT_CONFIG_NOSYSTEM="1", GIT_AUTHOR_DATE="1700000000 +0000",
               GIT_COMMITTER_DATE="1700000000 +0000")
    answers = []

    def git(*words, at=None, data=None):
        argv = ["git"] + (["-C", at] if at else []) + CONFIG + list(words)
        with open(os.path.join(folder, "input"), "wb") as f:
            f.write(data or b"")
        with open(os.path.join(folder, "input"), "rb") as f:
            done = run(argv, 120, env=env, stdin=f)
        if shimmed:
            silent_about_itself("git " + words[0], done.stderr)
        answers.append((" ".join(words), done.returncode, done.stdout.replace(folder, "@")))

    git("init", "-q", "--bare", "-b", "main", origin)
    git("fast-import", "--quiet", "--done", at=origin, data=HISTORY)
    git("clone", "-q", "--no-local", "file://" + origin, clone)
    git("log", "--stat", "--format=%H %T %an %at %s", at=clone)
    git("log", "-S", "holder 77", "--format=%h", at=clone)
    git("gc", "-q", "--aggressive", "--prune=now", at=clone)
    git("fsck", "--full", "--strict", at=clone)
    git("rev-parse", "HEAD^{tree}", at=clone)
    git("status", "--porcelain", at=clone)
    git("blame", "--porcelain", "dir0/file0.txt", at=clone)
    git("merge-base", "HEAD~10", "HEAD", at=clone)
    git("commit", "-q", "--allow-empty", "-m", "x", at=clone)
    git("rev-parse", "HEAD", at=clone)
    return answers


plain = session(clean_environment(GIT_AUTHOR_NAME="A", GIT_AUTHOR_EMAIL="a@x", GIT_COMMITTER_NAME="A",
                                  GIT_COMMITTER_EMAIL="a@x"), scratch("git"), False)
for command, status, _ in plain:
    expect(status == 0, "git %s without the shim: expected status 0, got %s" % (command, status))

captures, folder = scratch("ld"), scratch("git")
ENV = shim_environment(captures, GIT_AUTHOR_NAME="A", GIT_AUTHOR_EMAIL="a@x", GIT_COMMITTER_NAME="A",
                       GIT_COMMITTER_EMAIL="a@x")


def work():
    for (command, status, output), (_, plain_status, plain_output) in zip(session(ENV, folder, True), plain):
        command = command.replace(folder, "@")
        expect(status == plain_status, "git %s: status %s without the shim, %s with it" % (command, plain_status, status))
        expect(output == plain_output, "git %s: %d bytes of output without the shim, another %d with it"
               % (command, len(plain_output), len(output)))


while_snapping("git", work, captures)
finish()
