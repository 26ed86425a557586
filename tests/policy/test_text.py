# SPDX-License-Identifier: Apache-2.0
"""What every file owes its reader: a licence line, no reminders left in it, no path of one machine, no
stray white space, a size that can be read, and a stated purpose."""
import os
import re
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from support import *  # noqa: E402,F403
from sources import files, read

CODE = (".c", ".h", ".cc", ".S", ".inc", ".map", ".sql", ".py", ".sh", ".js")
NAMED = ("CMakeLists.txt", "packages.txt")
LIMIT = 1100
# Spelt in pieces, so that this file passes.
REMINDERS = re.compile(r"\b(%s)\b" % "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK", "WI" + "P")))
MACHINE = re.compile("|".join(("/wor" + "k/(main|shared)\\b", "/tmp/" + "lk\\b", "/ro" + "ot/", "\\.py" + "env/")))

checked = 0
for name in files():
    source = name.endswith(CODE) or os.path.basename(name) in NAMED
    if not source and not name.endswith((".md", ".1", ".7", ".json", ".txt", ".yml", ".yaml")):
        continue
    text = read(name)
    checked += 1
    lines = text.splitlines()
    if source:
        expect("SPDX-License-Identifier: Apache-2.0" in "\n".join(lines[:3]),
               "%s should have the SPDX line among its first three" % name)
    if name.endswith((".c", ".h", ".cc", ".py", ".sh")):
        expect(len(lines) <= LIMIT, "%s has %d lines; one file, one job: at most %d" % (name, len(lines), LIMIT))
    for number, line in enumerate(lines, 1):
        match = REMINDERS.search(line)
        expect(not match, "%s:%d: a reminder was left in: %s" % (name, number, match and match.group(0)))
        match = MACHINE.search(line)
        expect(not match, "%s:%d: a path of one machine: %s" % (name, number, match and match.group(0)))
        if source:
            expect(line == line.rstrip(), "%s:%d: white space at the end of the line" % (name, number))
    if source and text:
        expect(text.endswith("\n") and not text.endswith("\n\n"), "%s should end with one newline" % name)
    if name.endswith(".sh") or text.startswith("#!"):
        interpreter = text.split("\n", 1)[0]
        if interpreter.startswith("#!"):
            expect(os.access(os.path.join(SOURCE, name), os.X_OK), "%s has an interpreter line but is not executable" % name)
            expect("\r" not in interpreter, "%s: carriage return in the interpreter line" % name)
expect(checked > 20, "expected to have read more than %d files" % checked)
finish()
