# SPDX-License-Identifier: Apache-2.0
"""test_hooks.py - every hook records what it should, whatever allocator stands behind it."""
import ctypes.util
import os

from shim import MODE, check, finish, matches, modes, program, run

STEPS = "200000"

for settings in [{}, {"DEPTH": "1"}, {"RING": "256"}] + [{"MODE": "lite"}] * (MODE.name == "full"):
    matches("entries", [STEPS], ["0"], f"entry points {settings or ''}", mappings=True, **settings)
matches("crossfree", ["200000"], ["0"], "eight threads free each other's blocks")
matches("crossfree", ["50000"], ["0"], "the same with the smallest rings", RING=256)
matches("cxx", [STEPS], ["0"], "C++ operators on libc")

if not MODE.live_table:
    modes.left_out("other allocators", "jemalloc is what samples")
for name in ("jemalloc", "tcmalloc", "mimalloc") if MODE.live_table else ():
    library = ctypes.util.find_library(name)
    if not library:
        print("skipped: no", name)
        continue
    # Debian's mimalloc is built as C: its operator new ends the program where others throw
    quiet = ["noexcept"] if name == "mimalloc" else []
    matches("cxx", [STEPS, *quiet], ["0", *quiet], f"C++ operators of {name}", preload=[library])
    matches("crossfree", ["100000"], ["0"], f"eight threads on {name}", preload=[library])

off = run(program("entries"), STEPS, START="off")
if MODE.live_table:
    check(off.code == 0 and off.lines[-1]["blocks"] == 0 and off.lines[-1]["events"] == 0, "off: nothing is recorded")
else:			# jemalloc's profiler was active before our constructor
    before = run(program("entries"), "0", START="off")
    check(off.code == 0 and off.lines[-1]["blocks"] == before.lines[-1]["blocks"], "off: nothing is sampled")
check(off.lines[-1]["since"] == "not recording", "and it says so")

own = run(program("ownmalloc"), START="on")		# in mode sample, too, though a jemalloc stands behind it
check(own.code == 0 and own.out == "own\n", "a program with its own malloc runs")
check(own.err.count("\n") == 1 and "defines malloc itself" in own.err,
      "and it is said in one line that it cannot be recorded")

plain = run("/bin/true", preload=["libdoesnotexist-" + str(os.getpid()) + ".so"])
check(plain.code == 0, "another broken preload does not harm")
finish()
