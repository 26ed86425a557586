# SPDX-License-Identifier: Apache-2.0
"""The pages under docs/ say what the code does: FORMAT.md has every chunk type, label, META key, table, view and
column and no other; its worked example is read by the program as it says; every query of SQL.md runs on
snapshots made here and has the columns that the page shows; links lead to files; command lines parse."""
import os
import re
import shlex
import socket
import sqlite3
import struct
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from support import *  # noqa: E402,F403
from sources import files, read

PAGES = ["README.md"] + [name for name in files() if re.match(r"docs/[^/]*\.md$", name)]
FORMAT = read("docs/FORMAT.md")


def same(what, documented, real):
    """The page's names are the code's, once each, and there are some."""
    expect(len(real) > 0, "%s: expected to find some in the code" % what)
    for name in sorted(set(real) - set(documented)):
        expect(False, "docs/FORMAT.md should have %s `%s`" % (what, name))
    for name in sorted(set(documented) - set(real)):
        expect(False, "docs/FORMAT.md has %s `%s`, which the code does not know" % (what, name))
    expect(len(documented) == len(set(documented)), "docs/FORMAT.md has a %s twice: %s"
           % (what, sorted(n for n in documented if documented.count(n) > 1)))


def section(title, level="###"):
    """The lines below a heading, up to the next one of its rank or above."""
    match = re.search(r"^%s %s\n(.*?)(?=^#{1,%d} |\Z)" % (level, re.escape(title), len(level)), FORMAT,
                      re.MULTILINE | re.DOTALL)
    return match.group(1) if expect(match, "docs/FORMAT.md should have a section %s" % title) else ""


def rows(text):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()
            if re.match(r"\| `?[\w`]", line) and not re.match(r"\| (bytes|chunk|kind|key|column|field) \|", line)]


def names(cell):
    return re.findall(r"`([^`]+)`", cell)


# -- the stream ---------------------------------------------------------------

header = read("preload/stream.h")
types = re.findall(r"^\tX\((\w+), (\d+),", header, re.MULTILINE)
documented = [(names(row[0])[0], row[1]) for row in rows(section("Chunks")) if names(row[0])]
same("chunk type", ["%s %s" % pair for pair in documented], ["%s %s" % pair for pair in types])

sizes = dict(re.findall(r"sizeof\(struct stream_(\w+)\) == (\d+)", header))
chunk_struct = dict(re.findall(r"X\((\w+), \d+, \"(?:array of )?struct stream_(\w+)", header))
for row in rows(section("Chunks")):
    if names(row[0]) and names(row[0])[0] in chunk_struct:
        expect(row[2] == sizes.get(chunk_struct[names(row[0])[0]]),
               "docs/FORMAT.md: an element of %s has %s bytes, not %s" % (row[0], sizes.get(chunk_struct[names(row[0])[0]]), row[2]))
expect(len(chunk_struct) >= 12, "expected the structures of the chunks, found %s" % chunk_struct)

labels = re.search(r"enum stream_label \{(.*?)STREAM_LABELS", header, re.DOTALL).group(1)
labels = re.findall(r"^\tSTREAM_LABEL_(\w+)", labels, re.MULTILINE)
same("label", ["%s %s" % (row[0], names(row[1])[0]) for row in rows(section("References")) if len(row) == 4],
     ["%d %s" % pair for pair in enumerate(labels)])


# -- META keys -----------------------------------------------------------------

def written_keys():
    """Every key that some code writes. A call of the writer whose key is no literal must be known here."""
    found, calls, literal = set(), 0, 0
    for name in files():
        if not re.match(r"(preload|analyzer)/.*\.c$", name):
            continue
        text = read(name)
        here = re.findall(r"\bld__writer_meta(?:_number)?\(\s*[\w.>-]+,\s*\"(\w+)\"", text)
        literal += len(here)
        calls += len(re.findall(r"\bld__writer_meta(?:_number)?\((?!struct)", text))
        if name.startswith("preload/python"):
            here += re.findall(r"\bfact\(\"(\w+)\",", text)
            here += re.findall(r"\bgive_count\(fact, data,\s*\"(\w+)\"", text)
        if name == "analyzer/core/ingest.c":
            counted = re.search(r"\} counted\[\] = \{(.*?)\n\t\};", text, re.DOTALL).group(1)
            here += re.findall(r"\{ \"(\w+)\",", counted) + re.findall(r"\"meta\", \"ss\", \"(\w+)\"", text)
        if name == "analyzer/cli/take.c":
            here += re.findall(r"\bmeta = text_format\(\"(\w+)=", text)
        found.update(here)
    expect(literal > 40, "expected more than %d writers of META keys in the sources" % literal)
    expect(calls - literal == 2, "%d calls write META keys that are no literal; two are known (a number in writer.c, "
           "Python's facts in objects.c)" % (calls - literal))
    return found


keys = written_keys()
same("META key", [key for row in rows(section("META")) for key in names(row[0])], sorted(keys))


# -- a stream made by the page's own words ---------------------------------------

def crc32c(data):
    value = 0xffffffff
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82f63b78 if value & 1 else 0)
    return value ^ 0xffffffff


def chunk(kind, payload):
    return struct.pack("<IIQ", kind, crc32c(payload), len(payload)) + payload


def worked_example():
    """The two payloads in hexadecimal that the page has, in its order."""
    text = section("References")
    blocks = re.findall(r"(?:^    (?:[0-9a-f]{2} *)+\n)+", text, re.MULTILINE)
    return [bytes.fromhex("".join(block.split())) for block in blocks]


def example_stream(edges, root_edges):
    strings = b"\0body\0shared memory\0"
    number = dict((name, int(value)) for name, value in types)
    nodes = b"".join(struct.pack("<QQQIIIHHII", addr, size, 1, 0, 0xffffffff, 1, 1, 0, 0, 1)
                     for addr, size in ((0x1000, 64), (0x1040, 32), (0x1100, 4096)))
    root = struct.pack("<QQIIII", 0x500000, 0x501000, 5, 0xffffffff, 0xffffffff, strings.index(b"shared"))
    clock = struct.pack("<Qqq", 0, 10**18, 0) + struct.pack("<Qqq", 10, 10**18 + 10**9, 10**9)
    end = struct.pack("<8QII", 3, 3, 1, 1, 0, 0, 0, 0, 0, 0)
    return (struct.pack("<8sHHIQ", b"LDSTREAM", 1, 0, 24, 0) + chunk(number["META"], b"pid\0" + b"7\0")
            + chunk(number["STRINGS"], strings) + chunk(number["CLOCK"], clock) + chunk(number["NODES"], nodes)
            + chunk(number["ROOTS"], root) + chunk(number["EDGES"], edges)
            + chunk(number["ROOT_EDGES"], root_edges) + chunk(number["END"], end))


folder = scratch()
payloads = worked_example()
if expect(len(payloads) == 2, "docs/FORMAT.md should have an example of EDGES and one of ROOT_EDGES, not %d" % len(payloads)):
    stream, made = os.path.join(folder, "example.stream"), os.path.join(folder, "example.snap")
    with open(stream, "wb") as f:
        f.write(example_stream(*payloads))
    ingest = leakdiff("ingest", stream, "-o", made)
    expect(ingest.returncode == 0, "a stream made as docs/FORMAT.md says should be ingested: %s" % ingest.stderr)
    got = leakdiff("sql", made, "SELECT src, root, dst, label, value, interior, \"offset\" FROM edges").stdout.splitlines()[1:]
    wanted = ["0\t\t1\t+8\t8\t0\t0", "0\t\t2\t+16\t16\t1\t256", "1\t\t0\t.body\t\t0\t0", "\t0\t0\t+8\t%d\t0\t0" % 0x500008]
    expect(got == wanted, "the example of docs/FORMAT.md should read as\n%s\nand reads as\n%s"
           % ("\n".join(wanted), "\n".join(got)))


# -- two snapshots of the sample that SQL.md is about -----------------------------

def upload(port, first, count):
    body = b"x" * (1 << 20)
    with socket.create_connection(("127.0.0.1", port), 20) as s:
        for i in range(first, first + count):
            s.sendall(b"PUT /item/%d HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (i, len(body)) + body)
            answer = b""
            while b"\r\n\r\n" not in answer:
                more = s.recv(65536)
                if not more:
                    return False
                answer += more
    return True


def make_snapshots():
    program = os.path.join(BUILD, "samples", "sample_http_cache")
    if not os.path.exists(program):
        skip("the sample http_cache was not built")
    out = os.path.join(folder, "out")
    os.mkdir(out, 0o700)
    server = start([program], env=shim_environment(out), stdout=subprocess.PIPE)
    port = int(server.stdout.readline().split()[-1])
    snaps = []
    for first, count in ((0, 10), (10, 30)):
        expect(upload(port, first, count), "the sample should take %d uploads" % count)
        snaps.append(os.path.join(folder, "%d.snap" % len(snaps)))
        snap = leakdiff("snap", server.pid, "-o", snaps[-1])
        expect(snap.returncode == 0, "snap of the sample: %s" % snap.stderr)
    expect(stop(server) == 0, "the sample should end with status 0")
    return snaps


before, after = make_snapshots()

# -- tables, views and columns ---------------------------------------------------

schema = {}
for kind, name in [line.split("\t") for line in
                   leakdiff("sql", after, "SELECT type, name FROM sqlite_schema WHERE type IN ('table', 'view') "
                            "AND name NOT LIKE 'sqlite%'").stdout.splitlines()[1:]]:
    info = leakdiff("sql", after, "PRAGMA table_info(%s)" % name).stdout.splitlines()[1:]
    schema[name] = [line.split("\t")[1] for line in info]
declared = re.findall(r"^CREATE (?:TABLE|VIEW|VIRTUAL TABLE) (\w+)", read("analyzer/core/schema.sql"), re.MULTILINE)
expect(sorted(declared) == sorted(schema), "a snapshot has the tables %s, schema.sql %s" % (sorted(schema), sorted(declared)))
pages_tables = re.findall(r"^### `(\w+)`$", FORMAT, re.MULTILINE)
same("table", pages_tables, sorted(schema))
for name, columns in schema.items():
    if name in pages_tables:
        listed = [names(row[0])[0] for row in rows(section("`%s`" % name)) if names(row[0])]
        expect(listed == columns, "docs/FORMAT.md: %s has the columns %s, the page says %s" % (name, columns, listed))

keys_there = leakdiff("sql", after, "SELECT key FROM meta").stdout.splitlines()[1:]
for key in keys_there:
    expect(key in keys, "the snapshot has the META key %s, which no writer was found for" % key)

# -- queries ----------------------------------------------------------------------

SQL = read("docs/SQL.md")
queries = re.findall(r"^```sql\n(.*?)^```\n\n```\n(.*?)\n", SQL, re.MULTILINE | re.DOTALL)
expect(len(queries) >= 12 and len(queries) == SQL.count("```sql"),
       "docs/SQL.md should have 12 queries or more, each with its output, not %d of %d" % (len(queries), SQL.count("```sql")))
for query, shown in queries:
    two = re.search(r"\bb\.\w|\bv_growth\b", query)
    done = leakdiff("sql", *([before, "--attach", after, query] if two else [after, query]))
    what = "docs/SQL.md: " + " ".join(query.split())[:70]
    if expect(done.returncode == 0 and not done.stderr, "%s: status %s, %s" % (what, done.returncode, done.stderr)):
        lines = done.stdout.splitlines()
        expect(lines[0].split("\t") == shown.split(), "%s: columns %s, the page shows %s" % (what, lines[0].split(), shown.split()))
        expect(len(lines) > 1, "%s: no row" % what)

plain = sqlite3.connect("file:%s?mode=ro&immutable=1" % after, uri=True)
for name in sorted(set(schema) - {"nodes", "edges"}):
    expect(plain.execute("SELECT count(*) FROM %s" % name).fetchone()[0] >= 0, "any SQLite reads %s" % name)
plain.close()

# -- links --------------------------------------------------------------------------

links = 0
for page in PAGES:
    for target in re.findall(r"\]\(([^)\s]+)\)", read(page)):
        path, _, anchor = target.partition("#")
        if re.match(r"\w+://", target):
            continue
        links += 1
        where = os.path.normpath(os.path.join(os.path.dirname(page), path)) if path else page
        if expect(os.path.exists(os.path.join(SOURCE, where)), "%s: the link %s leads nowhere" % (page, target)) and anchor:
            anchors = [re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-")
                       for title in re.findall(r"^#+ (.*)$", read(where), re.MULTILINE)]
            expect(anchor in anchors, "%s: the link %s leads to no heading of %s" % (page, target, where))
expect(links >= 8, "expected more than %d links" % links)

# -- command lines ---------------------------------------------------------------------

commands = re.findall(r"^X\((\w+)\)", read("analyzer/cli/commands.inc"), re.MULTILINE)
SAMPLES = {"N": "1", "TIME": "1s", "SIZE": "1M", "ADDR": "0x10", "PID": "1"}


def command_lines(text):
    """Every command line of ours: in blocks but those of ```text, and between backticks. What follows a pipe, a comment or a
    redirection is not ours; alternatives and what may be left out are taken as given."""
    spans = re.findall(r"`+([^`]+)`+", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    blocks = re.findall(r"^```(?!text)\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    spans += [line for block in blocks for line in block.splitlines()]
    spans += re.findall(r"^(?:    |\t)(.*)$", text, re.MULTILINE)
    for span in spans:
        match = re.search(r"^(?:\$ |.*\bsudo -u \w+ |.*\()?(leakdiff(?: (?! )[^()]*(?:\".*)?)?)$", span.strip())
        if match:
            yield match.group(1)


def words(line):
    lexer = shlex.shlex(line.replace("[", " ").replace("]", " ").replace("...", " "), posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split, lexer.commenters = True, "#"
    result = []
    for word in lexer:
        if re.fullmatch(r"[|&;<>]+", word):
            break
        result.append(SAMPLES.get(word, word))
    return result


parsed = 0
for page in PAGES:
    for line in command_lines(read(page)):
        line_words = words(line)[1:]
        if not line_words or line_words[0] in ("COMMAND", "VERB"):
            continue
        if line_words[0] not in commands and line_words[0] not in ("--help", "--version", "help"):
            is_file = re.search(r"\.snap\b|^SNAP|^[$/]|/", line_words[0])
            if not expect(is_file, "%s: `%s`: %s is neither a command nor a snapshot" % (page, line, line_words[0])):
                continue
            line_words.insert(0, "diff")
        at = line_words.index("--") if "--" in line_words else len(line_words)
        done = leakdiff(*(line_words[:at] + ["--help"]))
        parsed += 1
        expect(done.returncode == 0, "%s: `%s` should parse: %s" % (page, line, done.stderr.strip()))
expect(parsed >= 15, "expected more than %d command lines in the pages" % parsed)
finish()
