# SPDX-License-Identifier: Apache-2.0
"""Links point one way. Every file of preload/, analyzer/ and viz/ states its level (L0 lowest) in its
first comment; it includes only lower levels of its folder, its own header (same name, or the same
name up to the first underscore) and the public headers of the folders below:

    preload/ <- nothing            analyzer/core <- preload/stream.h, preload/protocol.h, preload/ring_file.h
    viz/     <- core/picture.h, core/temporary.h, core/text.h
    analyzer/cli <- core, viz/viz.h, preload/protocol.h, preload/stream.h

And one fence per foreign thing: the table FENCES. And one predicate, reach_edge_counts(), for every pass over references.

    test_includes.py --levels     print which stated levels would have to be raised to satisfy the rule
    test_includes.py --relevel    write them into the first comments"""
import os
import re
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from support import *  # noqa: E402,F403
from sources import files, read

FOLDERS = ("preload", "analyzer/core", "analyzer/cli", "viz")
BELOW = {
    "preload": {},
    "analyzer/core": {"preload": {"stream.h", "protocol.h", "ring_file.h"}},
    "viz": {"analyzer/core": {"picture.h", "temporary.h", "text.h"}},
    "analyzer/cli": {"analyzer/core": None, "viz": {"viz.h"}, "preload": {"stream.h", "protocol.h", "ring_file.h"}},
}

# (what, includes or words, files that may)
FENCES = (
    ("SQLite", r'#\s*include\s*[<"]sqlite3(ext)?\.h', r"analyzer/core/store\w*\.[ch]$"),
    ("elfutils", r'#\s*include\s*[<"](elfutils/|dwarf\.h|libelf\.h|gelf\.h|libdw)', r"analyzer/core/symbols\w*\.[ch]$"),
    ("liblzma", r'#\s*include\s*[<"]lzma\.h', r"analyzer/core/symbols\w*\.c$"),
    ("libunwind", r'#\s*include\s*[<"](libunwind|unwind\.h)', r"preload/unwind\w*\.c$"),
    ("Graphviz", r'#\s*include\s*[<"](graphviz/)?(gvc|cgraph|cdt|gvcext)\w*\.h', r"viz/\w+\.[ch]$"),
    ("jansson", r'#\s*include\s*[<"]jansson', r"analyzer/cli/json\w*\.[ch]$"),
    ("zlib", r'#\s*include\s*[<"]zlib', r"analyzer/cli/export_pprof\.c$"),
    ("zstd", r'#\s*include\s*[<"]zstd', r"analyzer/core/\w+\.[ch]$"),
    ("the demangler", r'\bcplus_demangle\b|\b__cxa_demangle\b|#\s*include\s*[<"](libiberty/)?demangle\.h', r"analyzer/core/\w+\.[ch]$"),
    ("the dynamic linker's dlsym", r"\bdl[v]?sym\s*\(", r"preload/(real|unwind|python|jemalloc)\w*\.c$"),
    ("CPython", r'#\s*include\s*[<"]Python\.h', r"preload/python\w*\.[ch]$"),
    ("ptrace", r'#\s*include\s*<sys/ptrace\.h>', r"preload/stop\w*\.[ch]$"),
)

# Files of analyzer/core that pass over references and ask reach_edge_counts() of none of them, and why.
UNFILTERED = {
    "heap.c": "builds them", "reach.c": "decides what counts", "store_load.c": "reads them",
    "dominators.c": "asks the same of a source once for all its targets",
    "near.c": "shows what is there", "store_vtab.c": "serves them to SQL", "why.c": "shows what is there", "type_view.c": "counts what is there",
}

CODE = [name for name in files() if name.endswith((".c", ".h", ".S", ".cc"))]
OURS = {name: read(name) for name in CODE if os.path.dirname(name) in FOLDERS}


def level(name):
    match = re.match(r"/\* SPDX-License-Identifier: Apache-2\.0\s*\n \* L(\d+)\s+([\w.]+)\s+-\s+\S", OURS[name])
    if not expect(match, "%s should begin with the SPDX line and \" * L<level>  %s - purpose\""
                  % (name, os.path.basename(name))):
        return None
    expect(match.group(2) == os.path.basename(name), "%s: its first comment names %s" % (name, match.group(2)))
    return int(match.group(1))


def uncommented(text):
    return re.sub(r"/\*.*?\*/", lambda m: "\n" * m.group(0).count("\n"), text, flags=re.DOTALL)


def resolve(name, include):
    """The project's file that an include means, or None for a foreign one."""
    for base in (os.path.dirname(name), "", "analyzer", "viz", "preload"):
        path = os.path.normpath(os.path.join(base, include))
        if path in OURS:
            return path
    return None


def included(name):
    """The project's files that a file includes, with the text of each include."""
    for match in re.finditer(r'^\s*#\s*include\s*"([^"]+)"', uncommented(OURS[name]), re.MULTILINE):
        if not match.group(1).endswith((".inc", ".sql")):
            yield match.group(1), resolve(name, match.group(1))


def family(name):
    """store.c, store.h, store_write.c: they may include each other's headers at one level."""
    return os.path.basename(name).split(".")[0].split("_")[0]


def raised_levels():
    """The stated levels, raised as little as the includes need."""
    levels, needs = {}, set()
    for name, text in OURS.items():
        stated = re.match(r"/\*.*\n \* L(\d+)", text)
        levels[name] = int(stated.group(1)) if stated else 0
        for _, target in included(name):
            if target and os.path.dirname(target) == os.path.dirname(name):
                needs.add((name, target, 0 if family(name) == family(target) else 1))
    for _ in range(60):
        changed = False
        for user, used, step in needs:
            if levels[user] < levels[used] + step:
                levels[user], changed = levels[used] + step, True
        if not changed:
            return levels
    sys.exit("the includes go in a circle among: %s" % ", ".join(sorted(m for m in levels if levels[m] > 20)))


if sys.argv[1:] in (["--levels"], ["--relevel"]):
    for name, wanted in sorted(raised_levels().items()):
        match = re.match(r"(/\* SPDX-License-Identifier: Apache-2\.0\s*\n \* L)(\d+)", OURS[name])
        if match and int(match.group(2)) != wanted:
            print("%s: L%s should be L%d" % (name, match.group(2), wanted))
            if sys.argv[1] == "--relevel":
                with open(os.path.join(SOURCE, name), "w", encoding="utf-8") as f:
                    f.write(match.group(1) + str(wanted) + OURS[name][match.end():])
    sys.exit(0)

LEVELS = {name: level(name) for name in OURS}
for name, text in sorted(OURS.items()):
    folder = os.path.dirname(name)
    for include, target in included(name):
        if not expect(target, "%s includes \"%s\", which is none of the project's headers" % (name, include)):
            continue
        other, header = os.path.split(target)
        if other == folder:
            own = family(name) == family(header)
            lower = LEVELS[target] is not None and LEVELS[name] is not None and LEVELS[target] < LEVELS[name]
            same = own and LEVELS[target] is not None and LEVELS[name] is not None and LEVELS[target] <= LEVELS[name]
            expect(lower or same, "%s (L%s) includes %s (L%s): only lower levels and its own header are allowed"
                   % (name, LEVELS[name], header, LEVELS[target]))
        else:
            allowed = BELOW[folder].get(other, set())
            expect(allowed is None or header in allowed, "%s includes %s: %s may include %s of %s"
                   % (name, target, folder, ", ".join(sorted(allowed)) if allowed else "nothing", other))

# One predicate says which references count: a pass that follows or counts them asks it.
for name, text in sorted(OURS.items()):
    code, short = uncommented(text), os.path.basename(name)
    if name.startswith("analyzer/core/") and re.search(r"\bedge_to\s*\[", code):
        expect(short in UNFILTERED or "reach_edge_counts(" in code,
               "%s follows references and never asks reach_edge_counts() whether they count" % name)
        loops = re.split(r"\bfor \([^;]*edge_start\[", code)[1:]
        for number, loop in enumerate(loops if short not in UNFILTERED else []):
            expect("reach_edge_counts(" in loop[:900], "%s: its loop %d over references does not ask reach_edge_counts()"
                   % (name, number + 1))
for short in UNFILTERED:
    expect("analyzer/core/" + short in OURS, "UNFILTERED names analyzer/core/%s, which is not there" % short)

for what, pattern, allowed in FENCES:
    users = [name for name, text in OURS.items() if re.search(pattern, uncommented(text))]
    for name in users:
        expect(re.match(allowed, name), "%s uses %s; only %s may" % (name, what, allowed))

finish()
