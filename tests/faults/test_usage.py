# SPDX-License-Identifier: Apache-2.0
"""Wrong usage ends with 64 and one sentence; a reader that closes the pipe early is no error."""
import fcntl
import os
import re
import stat
import struct
import sys
import termios

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from victim import *  # noqa: E402,F403
from support import *  # noqa: E402,F403

with open(os.path.join(SOURCE, "analyzer", "cli", "commands.inc")) as f:
    COMMANDS = re.findall(r"^X\((\w+)\)", f.read(), re.MULTILINE)

refused(leakdiff("frobnicate"), "an unknown command", status=64)
refused(leakdiff("--frobnicate"), "an unknown option", status=64)
refused(leakdiff("/nonexistent/a.snap"), "a file that is not there", status=2)
done = leakdiff()
expect(done.returncode == 64 and not done.stdout and len(done.stderr.splitlines()) > 5,
       "no words at all: expected 64 and the help on stderr, got %s" % (done,))

refused(leakdiff("help", "frobnicate"), "help for an unknown command", status=64)
expect(leakdiff("help", "snap").stdout == leakdiff("snap", "--help").stdout, "help snap should be snap --help")
expect(all(len(line) <= 80 for line in leakdiff("--help").stdout.splitlines()), "--help should fit 80 columns")

for command in COMMANDS:
    refused(leakdiff(command, "--frobnicate"), "leakdiff %s --frobnicate" % command, status=64)
    refused(leakdiff(command, "-Q"), "leakdiff %s -Q" % command, status=64)
    refused(leakdiff(command), "leakdiff %s without its words" % command, status=64)
    done = leakdiff(command, "--help")
    expect(done.returncode == 0 and not done.stderr, "leakdiff %s --help: status %s, %r" % (command, done.returncode, done.stderr))

for words in (("snap", "1", "2"), ("status", "12x"), ("snap", "-o"), ("top", "a", "b"), ("ingest", "x"), ("chain",),
              ("run", "--mode", "quick", "--", "true"), ("run", "--every", "soon", "--", "true"), ("run", "--"),
              ("run", "--at-rss", "lots", "--", "true"), ("on", ""), ("diff", "onlyone"), ("sql",), ("rss", "a", "b", "c"),
              ("export", "a"), ("export", "a", "-f", "jpeg"), ("export", "a", "-f", "json", "--value", "bytes"),
              ("export", "a", "-f", "collapsed", "--value", "new-bytes"), ("export", "a", "b", "c", "-f", "json"), ("recover", "a", "b"), ("recover", "/nonexistent")):
    done = leakdiff(*words)
    expect(done.returncode in (2, 64) and len(done.stderr.splitlines()) == 1 and done.stderr.startswith("leakdiff: "),
           "leakdiff %s: expected 64 (or 2) and one sentence, got %s and %r" % (" ".join(words), done.returncode, done.stderr[-300:]))

# -- run passes on what its program does
for argv, status in ((["true"], 0), (["sh", "-c", "exit 3"], 3), (["sh", "-c", "kill -9 $$"], -9), (["sh", "-c", "kill -TERM $$"], -15)):
    done = leakdiff("run", "-o", scratch("ld"), "--", *argv)
    expect(done.returncode in (status, 128 - status if status < 0 else status) and not done.stdout,
           "leakdiff run -- %s: expected status %d, got %s %r" % (argv, status, done.returncode, done.stderr[-300:]))
refused(leakdiff("run", "--", "/nonexistent/program"), "run of a program that is not there", status=leakdiff("run", "--", "/nonexistent/program").returncode)
expect(leakdiff("run", "--", "/nonexistent/program").returncode in (2, 126, 127), "run of a program that is not there should end with 2, 126 or 127")

# -- malformed settings: one line naming the variable, the default holds, the program runs
for name, value in (("LEAKDIFF_MODE", "quick"), ("LEAKDIFF_EVERY", "soon"), ("LEAKDIFF_DEPTH", "many"), ("LEAKDIFF_AT_RSS", "x%"),
                    ("LEAKDIFF_START", "maybe"), ("LEAKDIFF_NO_SUCH_THING", "1")):
    done = run(["/bin/echo", "hello"], env=shim_environment(scratch("ld"), **{name: value}))
    lines = done.stderr.splitlines()
    expect(done.returncode == 0 and done.stdout == "hello\n", "%s=%s: the program should run as ever: %s" % (name, value, done))
    expect(len(lines) == 1 and name in lines[0], "%s=%s: expected one line on stderr that names the variable, got %r"
           % (name, value, done.stderr[-300:]))

# -- pipes that close early
program = compiled()
service = Victim(program)
service.serve("before the snapshots", 50)
service.ready()
first, second = os.path.join(service.folder, "a.snap"), os.path.join(service.folder, "b.snap")
expect(leakdiff("snap", service.pid, "-o", first).returncode == 0, "a first snapshot")
service.serve("between the snapshots", 200)
expect(leakdiff("snap", service.pid, "-o", second).returncode == 0, "a second snapshot")
for words in (("sql", second, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000) SELECT i FROM n"),
              ("top", second), (first, second), (first, second, "--json"), ("check", second), ("leaks", second), ("--help",)):
    for line_count in (0, 1):
        process = start([COMMAND, *words], env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if line_count:
            process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read().decode()
        status = process.wait(60)
        expect(status in (0, 1) and not errors, "leakdiff %s | head -%d: expected no error, got status %s and %r"
               % (words[0], line_count, status, errors[-300:]))
# -- standard files that were closed: no file of ours gets their numbers
for closed in ("<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"):
    target = os.path.join(scratch("closed"), "x.snap")
    done = run(["sh", "-c", '"$0" snap "$1" -o "$2" ' + closed, COMMAND, str(service.pid), target], env=clean_environment())
    expect(done.returncode == (2 if ">&-" in closed.split() else 0) and os.listdir(os.path.dirname(target)) == ["x.snap"] and
           leakdiff("check", target).returncode == 0, "snap %s: expected a whole snapshot, got %s and %s" % (closed, done, os.listdir(os.path.dirname(target))))
    done = run(["sh", "-c", '"$0" run -o "$1" -- sh -c "ls /proc/self/fd | wc -l" 2>/dev/null ' + closed, COMMAND, scratch("ld")], env=clean_environment())
    expect(done.stdout.strip() in ("", "3", "4"), "run %s: the program should get the files that were given, not %s" % (closed, done.stdout))

# -- what is read as a number, and .schema
refused(leakdiff("chain", second, "--addr", " -1"), "an address with a sign behind a space", status=64)
refused(leakdiff("why", second, "10"), "an address where nothing lies", words=("0x10 ",))
done = leakdiff("sql", second, ".schema")
expect(done.returncode == 0 and "CREATE TABLE meta (" in done.stdout and "\tkey TEXT PRIMARY KEY" in done.stdout and "\\x0a" not in done.stdout,
       ".schema should print the declarations line by line: %r" % done.stdout[:300])
# .. and where a thread of the service stands is no frame of the library
stood = leakdiff("threads", second).stdout
expect("thread main" in stood and "preload/" not in stood and "libleakdiff" not in stood, "threads should leave the library's frames out: %s" % stood[:400])

for words in (("top", second), (first, second), (first, second, "--json"), ("sql", second, "SELECT 1"), ("--help",), ("top", "--help"),
              ("export", second, "-f", "pprof"), ("export", second, "-f", "speedscope"), ("rss", second)):
    with open("/dev/full", "wb") as full:
        refused(run([COMMAND, *words], env=clean_environment(), stdout=full), "leakdiff %s to a full disk" % words[0])

# -- export into a file: whole or not at all, in place where there is nothing to keep, never on a terminal
folder = scratch("export")
target = os.path.join(folder, "heap.pb.gz")
for times in ("a new file", "one that is there"):
    done = leakdiff("export", second, "-f", "pprof", "-o", target)
    expect(done.returncode == 0 and not done.stdout and not done.stderr and os.listdir(folder) == ["heap.pb.gz"],
           "export -o to %s: expected one file and nothing said, got %s and %s" % (times, done, os.listdir(folder)))
with open(target, "rb") as f:
    whole = f.read()
direct = run([COMMAND, "export", second, "-f", "pprof"], text=False, env=clean_environment()).stdout
expect(whole == direct and whole[:2] == b"\x1f\x8b", "export -o should write what standard output gets, gzipped")
expect(leakdiff("export", second, "-f", "pprof", "-o", "/dev/stdout").returncode == 0, "export -o /dev/stdout should work")
refused(leakdiff("export", second, "-f", "json", "-o", "/dev/full"), "export to a full disk")
refused(leakdiff("export", second, "-f", "json", "-o", os.path.join(folder, "no", "such")), "export into no folder")
refused(leakdiff("export", folder, "-f", "json", "-o", target), "export of no snapshot")
with open(target, "rb") as f:
    expect(f.read() == whole and os.listdir(folder) == ["heap.pb.gz"], "a refused export should leave the older file as it was")
ours, theirs = os.openpty()
done = run([COMMAND, "export", second, "-f", "pprof"], env=clean_environment(), stdout=theirs)
refused(done, "pprof on a terminal", status=64)
expect(run([COMMAND, "export", second, "-f", "collapsed"], env=clean_environment(), stdout=theirs).returncode == 0,
       "collapsed on a terminal should work")

# -- what is no file keeps its place: it is written as it stands, and a snapshot is refused
fixed = scratch("fixed")
named = os.path.join(fixed, "out")
os.symlink("/proc/self/fd/1", named)
for words, mark in (((first, second, "--svg", named), b"</svg>"), (("export", second, "-f", "collapsed", "-o", named), b";main "),
                    (("report", second, "-o", named), b"</html>")):
    with open(os.path.join(fixed, "whole"), "w+b") as out:
        done = run([COMMAND, *words], env=clean_environment(), stdout=out)
        out.seek(0)
        seen = out.read()
    expect(done.returncode in (0, 1) and mark in seen and os.path.islink(named), "%s to /dev/stdout that is a file: %s, %r" % (words[-2], done, seen[-100:]))
    if words[0] == first:
        expect(b"live memory grew" in seen, "text and picture should both be there: %r" % seen[-200:])
refused(leakdiff("snap", service.pid, "-o", named), "snap to a descriptor", words=("regular file",))
fifo = os.path.join(fixed, "fifo")
os.mkfifo(fifo)
refused(leakdiff("snap", service.pid, "-o", fifo), "snap to a pipe", words=("regular file",))
expect(sorted(os.listdir(fixed)) == ["fifo", "out", "whole"] and os.path.islink(named) and stat.S_ISFIFO(os.stat(fifo).st_mode),
       "what was there should be as it was: %s" % os.listdir(fixed))
reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
done = leakdiff("export", second, "-f", "collapsed", "-o", fifo)
expect(done.returncode == 0 and b";main " in os.read(reader, 65536), "export into a pipe: %s" % (done,))
os.close(reader)
os.symlink("whole", os.path.join(fixed, "link"))
done = leakdiff("export", second, "-f", "collapsed", "-o", os.path.join(fixed, "link"))
expect(done.returncode == 0 and os.path.islink(os.path.join(fixed, "link")), "export by a link should write what it leads to: %s" % (done,))
with open(os.path.join(fixed, "whole"), "rb") as f:
    expect(b";main " in f.read() and sorted(os.listdir(fixed)) == ["fifo", "link", "out", "whole"], "and leave no other file: %s" % os.listdir(fixed))

# -- a narrow terminal: what is usual goes first, and stacks are broken at its edge
os.close(ours)
os.close(theirs)
for columns in (80, 120):
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    shown = start([COMMAND, first, second], env=clean_environment(NO_COLOR="1", TERM="xterm"), stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = b""
    try:
        while True:
            seen += os.read(ours, 65536)
    except OSError:         # the other end is closed
        pass
    os.close(ours)
    lines = [re.sub("^.*\r(?=.)|\x1b[^A-Za-z]*[A-Za-z]", "", line.rstrip("\r")) for line in seen.decode().split("\n")]
    table = next((line for line in lines if line.lstrip().startswith("growth ")), "")
    stacks = [line for line in lines if " < " in line or line.startswith(" " * 14)]
    expect(shown.wait() == 1 and table.endswith("type") and stacks, "a diff on %d columns: %r" % (columns, seen[-400:]))
    expect(all(len(line) <= columns for line in stacks), "on %d columns lines of stacks should fit: %s" % (columns, stacks))
    rows = lines[lines.index(table) + 1:] if table else []
    rows = rows[:rows.index("")] if "" in rows else rows
    expect(all(len(row) <= columns for row in rows if not row.startswith("  (")), "on %d columns rows should fit: %s" % (columns, rows))
service.end("at the end")
finish()
