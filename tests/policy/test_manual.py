# SPDX-License-Identifier: Apache-2.0
"""The manual and the program say the same: every command of commands.inc has docs/leakdiff-NAME.1, whose
SYNOPSIS is the one that --help prints and whose options are the same; leakdiff(1) names every command;
libleakdiff(7) names every variable of preload/options.inc."""
import os
import re
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from support import *  # noqa: E402,F403
from sources import files, read


def rendered(page):
    """A page's text by section heading, as a reader sees it."""
    done = run(["mandoc", "-T", "ascii", "-O", "width=400", os.path.join(SOURCE, page)], env=clean_environment())
    text = re.sub(".\x08", "", done.stdout)
    sections, name = {}, ""
    for line in text.splitlines()[1:-1]:
        if re.match(r"[A-Z]", line):
            name = line.strip()
        else:
            sections.setdefault(name, []).append(line.strip())
    return {key: "\n".join(value).strip() for key, value in sections.items()}


def words(text):
    return " ".join(text.split())


need("mandoc")
pages = set(files())
commands = re.findall(r"^X\((\w+)\)", read("analyzer/cli/commands.inc"), re.MULTILINE)
expect(len(commands) >= 14, "expected the commands of commands.inc, found %s" % commands)
expect("docs/leakdiff.1" in pages, "docs/leakdiff.1 should exist")
overview = rendered("docs/leakdiff.1") if "docs/leakdiff.1" in pages else {}

for command in commands:
    page = "docs/leakdiff-%s.1" % command
    help_ = leakdiff(command, "--help")
    expect(help_.returncode == 0 and not help_.stderr, "leakdiff %s --help: status %s, stderr %r"
           % (command, help_.returncode, help_.stderr))
    usage = words(help_.stdout.split("\n\n")[0])
    expect(usage.startswith("usage: leakdiff "), "leakdiff %s --help should begin with its usage, not %r" % (command, usage[:60]))
    expect(len(help_.stdout.splitlines()) <= 60, "leakdiff %s --help should fit a screen" % command)
    for line in help_.stdout.splitlines()[1:]:
        expect(len(line) <= 110, "leakdiff %s --help: a line of %d columns: %s" % (command, len(line), line))
    if overview:
        expect(re.search(r"\b%s\b" % command, "\n".join(overview.values())), "leakdiff(1) should name the command %s" % command)
    if not expect(page in pages, "%s should exist" % page):
        continue
    sections = rendered(page)
    for section in ("NAME", "SYNOPSIS", "DESCRIPTION"):
        expect(section in sections, "%s should have a section %s" % (page, section))
    synopsis = words(sections.get("SYNOPSIS", ""))
    expect("usage: " + synopsis == usage, "%s: SYNOPSIS is \"%s\", --help says \"%s\"" % (page, synopsis, usage[7:]))
    printed = help_.stdout.split("\noptions:\n", 1)
    offered = set(re.findall(r"^  (?:-\w, )?(--[\w-]+)", printed[-1], re.MULTILINE)) | {"--help"}
    explained = set(re.findall(r"^(?:-\w(?: [\w|]+)?, )?(--[\w-]+)", sections.get("OPTIONS", ""), re.MULTILINE)) | {"--help"}
    for option in sorted(offered - explained):
        expect(False, "%s should explain %s in OPTIONS" % (page, option))
    for option in sorted(explained - offered):
        expect(False, "%s explains %s, which leakdiff %s does not have" % (page, option, command))
    letters = dict(re.findall(r"^  -(\w), (--[\w-]+)", printed[-1], re.MULTILINE))
    for letter, option in letters.items():
        expect(re.search(r"^-%s\b.*%s" % (letter, option), sections.get("OPTIONS", ""), re.MULTILINE),
               "%s should name the short form -%s of %s" % (page, letter, option))

for page in sorted(p for p in pages if re.match(r"docs/.*\.[17]$", p)):
    lint = run(["mandoc", "-T", "lint", "-W", "error", os.path.join(SOURCE, page)], env=clean_environment())
    expect(lint.returncode == 0, "%s: %s" % (page, lint.stdout[:300]))
    match = re.match(r"docs/leakdiff-(\w+)\.1$", page)
    expect(not match or match.group(1) in commands, "%s explains a command that does not exist" % page)

variables = {"LEAKDIFF_" + name for name, parser in re.findall(r"^X\((\w+), *(\w+),", read("preload/options.inc"), re.MULTILINE)
             if parser != "parse_nothing"}       # those are the tests' own
expect(len(variables) >= 12, "expected the variables of preload/options.inc, found %s" % sorted(variables))
if expect("docs/libleakdiff.7" in pages, "docs/libleakdiff.7 should exist"):
    manual = set(re.findall(r"\bLEAKDIFF_[A-Z_]+\b", "\n".join(rendered("docs/libleakdiff.7").values())))
    for name in sorted(variables - manual):
        expect(False, "libleakdiff(7) should name %s" % name)
    for name in sorted(manual - variables):
        expect(False, "libleakdiff(7) names %s, which preload/options.inc does not have" % name)

top = leakdiff("--help")
expect(top.returncode == 0 and len(top.stdout.splitlines()) <= 30, "leakdiff --help should fit a screen and end with 0")
for command in commands:
    expect(re.search(r"^  %s\b" % command, top.stdout, re.MULTILINE), "leakdiff --help should list %s" % command)
finish()
