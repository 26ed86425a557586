# SPDX-License-Identifier: Apache-2.0
"""Hostile and broken files: every command that reads one refuses what is truncated, corrupt, foreign or
from a newer version with exit status 2 and one sentence, and never crashes."""
import os
import random
import sqlite3
import struct
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from victim import *  # noqa: E402,F403
from support import *  # noqa: E402,F403

service = Victim(compiled())
service.serve("before the first snapshot", 50)
service.ready()
folder = scratch("files")
good, later, stream = (os.path.join(folder, name) for name in ("good.snap", "later.snap", "good.stream"))
expect(leakdiff("snap", service.pid, "-o", good).returncode == 0, "a first snapshot should succeed")
service.serve("between the snapshots", 300)
expect(leakdiff("snap", service.pid, "-o", later).returncode == 0, "a second snapshot should succeed")
if not expect(raw_stream(service, stream), "the library should hand out a capture stream"):
    finish()
service.serve("after the snapshots")
service.end("at the end")
with open(later, "rb") as f:
    SNAPSHOT = f.read()
with open(stream, "rb") as f:
    STREAM = f.read()
GOOD = digest(good)

READERS = (
    ("diff, as the first", lambda f: ("diff", f, good)),
    ("diff, as the second", lambda f: ("diff", good, f)),
    ("top", lambda f: ("top", f)),
    ("leaks", lambda f: ("leaks", f)),
    ("chain", lambda f: ("chain", f, "--size", "1000")),
    ("refs", lambda f: ("refs", f, "--size", "1000")),
    ("backrefs", lambda f: ("backrefs", f, "--size", "1000")),
    ("sql", lambda f: ("sql", f, "SELECT count(*) FROM nodes; SELECT count(*) FROM edges")),
    ("check", lambda f: ("check", f)),
    ("rss", lambda f: ("rss", f)),
    ("export", lambda f: ("export", f, "--format", "collapsed")),
)
out = os.path.join(folder, "out.snap")


def ingest(path):
    return leakdiff("ingest", path, "-o", out)


# The undamaged files are read by all of them; otherwise a refusal would prove nothing.
for name, words in READERS:
    done = leakdiff(*words(later))
    expect(done.returncode in (0, 1), "%s of a whole file: expected 0 or 1, got %s: %s" % (name, done.returncode, done.stderr[-300:]))
done = ingest(stream)
expect(done.returncode == 0 and leakdiff("check", out).returncode == 0, "ingest of a whole stream: %s" % done.stderr[-300:])
expect(leakdiff("top", out).stdout.count("\n") > 3, "what ingest wrote should be a snapshot that top reads")
os.unlink(out)


def damaged(content, name="bad.snap"):
    path = os.path.join(folder, name)
    with open(path, "wb") as f:
        f.write(content)
    return path


def all_refuse(path, what, words=()):
    for name, argv in READERS:
        refused(leakdiff(*argv(path)), "%s: %s" % (name, what), words=words, quiet=name != "check")


def no_crash(done, what):
    """Damage that may lie where nobody looks: any answer, but an orderly one."""
    if done.returncode == 2:
        return refused(done, what, quiet=False)
    return expect(done.returncode in (0, 1), "%s: ended with %s: %s" % (what, done.returncode, done.stderr[-300:]))


# -- truncated snapshots: every reader, at many lengths
size = len(SNAPSHOT)
lengths = [0, 1, 15, 16, 99, 100, 512, 4095, 4096, size // 2, size - 4096, size - 1]
for length in lengths:
    all_refuse(damaged(SNAPSHOT[:length]), "cut to %d of %d bytes" % (length, size))
rng = random.Random(1)
for length in sorted(rng.sample(range(1, size), 40)):
    path = damaged(SNAPSHOT[:length])
    refused(leakdiff("check", path), "check: cut to %d of %d bytes" % (length, size), quiet=False)
    refused(leakdiff("top", path), "top: cut to %d of %d bytes" % (length, size))

# -- bits flipped, ranges overwritten
for round_ in range(60):
    content = bytearray(SNAPSHOT)
    at = rng.randrange(size) if round_ % 3 else rng.randrange(4096)
    content[at] ^= 1 << rng.randrange(8)
    path = damaged(content)
    for name, argv in (READERS[1], READERS[2], READERS[7], READERS[8]) if round_ % 10 else READERS:
        no_crash(leakdiff(*argv(path)), "%s: bit flipped in byte %d" % (name, at))
for round_ in range(12):
    content = bytearray(SNAPSHOT)
    at, length = rng.randrange(100, size), rng.choice((4, 64, 4096, 60000))
    content[at:at + length] = (rng.randbytes(length), bytes(length), b"\xff" * length)[round_ % 3][:max(0, size - at)]
    path = damaged(content)
    for name, argv in READERS:
        no_crash(leakdiff(*argv(path)), "%s: %d bytes overwritten at %d" % (name, length, at))

# -- the arrays in the blobs, each damaged in an otherwise perfect database: check must notice
database = sqlite3.connect("file:%s?mode=ro" % later, uri=True)
blobs = []
for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE '%VIRTUAL%'").fetchall():
    for column in database.execute("PRAGMA table_info(\"%s\")" % table).fetchall():
        if "BLOB" in column[2].upper():
            rows = database.execute("SELECT rowid, length(\"%s\") FROM \"%s\" WHERE length(\"%s\") > 8" % (column[1], table, column[1])).fetchall()
            blobs += [(table, column[1], row, length) for row, length in rows[:4]]
database.close()
if expect(blobs, "a snapshot should hold blobs of nodes and edges"):
    for table, column, row, length in rng.sample(blobs, min(len(blobs), 16)):
        path = damaged(SNAPSHOT)
        with sqlite3.connect(path) as database:
            value = bytearray(database.execute("SELECT \"%s\" FROM \"%s\" WHERE rowid = ?" % (column, table), (row,)).fetchone()[0])
            value[rng.randrange(len(value))] ^= 0x40
            database.execute("UPDATE \"%s\" SET \"%s\" = ? WHERE rowid = ?" % (table, column), (bytes(value), row))
        database.close()
        what = "byte changed in %s.%s, row %d" % (table, column, row)
        if "id" not in column:       # a build-id is data that nothing can contradict
            refused(leakdiff("check", path), "check: " + what, quiet=False)
        for name, argv in READERS[:8]:
            no_crash(leakdiff(*argv(path)), "%s: %s" % (name, what))

# -- a database whose rows lie: cross-references out of range, names that are no text, huge counts
for statement in ("DELETE FROM meta", "UPDATE meta SET value = '-99999999999999999999'", "DROP TABLE frames", "DELETE FROM stacks",
                  "UPDATE stacks SET type = 4294967290", "DELETE FROM stack_frames", "UPDATE stack_frames SET frame = 4294967290",
                  "DELETE FROM types", "UPDATE types SET name = x'ff00fe1b5b324a'", "UPDATE types SET source = 99",
                  "UPDATE frames SET function = char(27) || '[2J' || char(10) || 'x', file = x'fffe'",
                  "UPDATE roots SET kind = 'nonsense', \"start\" = -1, \"end\" = -5", "DELETE FROM roots",
                  "UPDATE sites SET stack = 4294967290, count = -1", "UPDATE node_chunks SET count = 4000000000",
                  "UPDATE node_chunks SET \"first\" = \"first\" + 1", "DELETE FROM node_chunks", "DELETE FROM edge_chunks",
                  "UPDATE edge_chunks SET first_source = 4294967295", "UPDATE edge_chunks SET count = -1",
                  "UPDATE account SET bytes = -1", "DELETE FROM account", "UPDATE node_chunks SET data = x''"):
    path = damaged(SNAPSHOT)
    try:
        with sqlite3.connect(path) as database:
            database.execute(statement)
    except sqlite3.Error:
        continue
    finally:
        database.close()
    for name, argv in READERS:
        done = leakdiff(*argv(path))
        no_crash(done, "%s: after %s" % (name, statement))
        expect("\x1b" not in done.stdout + done.stderr or name == "sql", "%s: after %s: a raw escape character was printed" % (name, statement))

# -- foreign files
other = os.path.join(folder, "other.db")
with sqlite3.connect(other) as database:
    database.execute("CREATE TABLE t(a)")
    database.execute("CREATE TABLE meta(key TEXT, value TEXT)")
database.close()
png = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40
for name, content in (("text", b"hello, world\n" * 1000), ("a PNG", png), ("zeros", bytes(10000)),
                      ("an SQLite header alone", b"SQLite format 3\0" + bytes(4000))):
    path = damaged(content)
    all_refuse(path, name)
    refused(ingest(path), "ingest: " + name)
all_refuse(other, "another program's database", words=("leakdiff", "snapshot"))
all_refuse(stream, "a capture stream", words=("ingest", "stream"))
refused(ingest(later), "ingest: a snapshot file")
for path, what in ((folder, "a folder"), (os.path.join(folder, "none.snap"), "a missing file"), ("/dev/null", "/dev/null")):
    all_refuse(path, what)
    refused(ingest(path), "ingest: " + what)
if os.getuid() == 0:
    own = os.path.join(scratch("own"), "leakdiff")
    os.chmod(os.path.dirname(own), 0o755)
    shutil.copy(COMMAND, own)
    private = os.path.join(os.path.dirname(own), "private.snap")
    shutil.copy(later, private)
    os.chmod(private, 0o600)
    for name, argv in READERS:
        words = [private if word == later or word == good else word for word in argv(private)]
        refused(run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", own, *words], env=clean_environment()),
                "%s: a file that may not be read" % name, words=("permission", "read", "allowed"))
expect(os.stat(good).st_mode & 0o777 == 0o600, "a snapshot should have mode 0600, not %o" % (os.stat(good).st_mode & 0o777))

# -- newer versions
path = damaged(SNAPSHOT)
with sqlite3.connect(path) as database:
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if version:       # the major may be the whole number or its upper part: make both newer
        database.execute("PRAGMA user_version = %d" % (version + 100 * 65536 + 100))
    for key, value in database.execute("SELECT key, value FROM meta WHERE key LIKE '%format%' OR key LIKE '%major%'").fetchall():
        number = str(value).split(".")[0]
        if number.isdigit():
            database.execute("UPDATE meta SET value = ? WHERE key = ?", (str(int(number) + 100) + str(value)[len(number):], key))
database.close()
all_refuse(path, "a snapshot of a newer version", words=("newer", "version"))
refused(ingest(damaged(STREAM[:8] + struct.pack("<H", 2) + STREAM[10:], "newer.stream")), "ingest: a newer stream", words=("newer", "version"))

# -- streams: cut anywhere, changed anywhere
headers = set(range(24))
at, chunks = 24, []
while at + 16 <= len(STREAM):
    length = struct.unpack_from("<Q", STREAM, at + 8)[0]
    headers |= set(range(at, at + 16))
    chunks.append(at)
    at += 16 + length
expect(at == len(STREAM) and len(chunks) > 5, "the stream should be a run of whole chunks")
for length in sorted({0, 7, 8, 23, 24, 30, len(STREAM) - 1, len(STREAM) - 72, *(c for c in chunks), *rng.sample(range(len(STREAM)), 25)}):
    if length == len(STREAM):
        continue
    refused(ingest(damaged(STREAM[:length], "cut.stream")), "ingest: stream cut to %d of %d bytes" % (length, len(STREAM)))
for round_ in range(60):
    content = bytearray(STREAM)
    at = rng.choice(sorted(headers)) if round_ % 2 else rng.randrange(24, len(STREAM))
    content[at] ^= 1 << rng.randrange(8)
    done = ingest(damaged(content, "bits.stream"))
    what = "ingest: bit flipped in byte %d of the stream" % at
    if at in headers:
        no_crash(done, what)
    else:
        refused(done, what)
    if os.path.exists(out):
        expect(done.returncode == 0, "%s: a refused stream left a snapshot file" % what)
        no_crash(leakdiff("check", out), what + ", then check")
        os.unlink(out)
for cut in chunks[1:-1][::max(1, len(chunks) // 8)]:
    length = struct.unpack_from("<Q", STREAM, cut + 8)[0]
    done = ingest(damaged(STREAM[:cut] + STREAM[cut + 16 + length:], "hole.stream"))
    no_crash(done, "ingest: the chunk of type %d left out" % struct.unpack_from("<I", STREAM, cut)[0])
    if os.path.exists(out):
        os.unlink(out)
expect(sorted(f for f in os.listdir(folder) if f.startswith(("out", "."))) == [], "refused streams left files: %s" % os.listdir(folder))
expect(digest(good) == GOOD, "the snapshot that every command also read should be unchanged")
finish()
