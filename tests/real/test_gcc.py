# SPDX-License-Identifier: Apache-2.0
"""gcc under the shim compiles a large generated file: the object is the same, byte for byte. The
driver, cc1 and as all get the library through the environment; cc1 is the one worth a snapshot."""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from support import *  # noqa: E402,F403

need("gcc")
FUNCTIONS = 800


def source():
    """C that keeps an optimiser busy: structs, switches, loops, calls between functions."""
    out = ["#include <stddef.h>", "#include <string.h>", "struct node { struct node *next, *prev; int key, value; char name[24]; };",
           "extern int puts(const char *);"]
    for i in range(FUNCTIONS):
        out.append("""
static int step_%(i)d(struct node *list, int n)
{
	int sum = %(i)d;
	for (struct node *at = list; at; at = at->next) {
		switch ((at->key ^ n) & 7) {
		case 0: sum += at->value * %(a)d; break;
		case 1: sum ^= at->key << %(b)d; break;
		case 2: if (at->prev) sum -= at->prev->value; break;
		case 3: memset(at->name, %(b)d, sizeof(at->name)); break;
		case 4: sum += (int)strlen(at->name) * n; break;
		default: for (int i = 0; i < %(b)d; i++) sum = sum * 31 + at->name[i]; break;
		}
	}
	return %(call)s;
}""" % {"i": i, "a": i % 13 + 2, "b": i % 7 + 3,
        "call": "sum > %d ? step_%d(list, sum & 15) : sum" % (i * 3, i - 1) if i % 4 else "sum"})
    out.append("int (*const steps[])(struct node *, int) = {%s};" % ", ".join("step_%d" % i for i in range(FUNCTIONS)))
    return "\n".join(out) + "\n"


folder, captures = scratch("gcc"), scratch("ld")
with open(os.path.join(folder, "large.c"), "w") as f:
    f.write(source())


def session(env, shimmed):
    done = run(["gcc", "-O2", "-g", "-Wall", "-c", "large.c", "-o", "large.o"], 150, env=env, cwd=folder)
    if shimmed:
        silent_about_itself("gcc", done.stderr)
    try:
        with open(os.path.join(folder, "large.o"), "rb") as f:
            code = f.read()
        os.unlink(os.path.join(folder, "large.o"))
    except OSError:
        code = b""
    return done.returncode, done.stderr, code


plain = session(clean_environment(TMPDIR=folder), False)
expect(plain[0] == 0 and len(plain[2]) > 100000, "gcc without the shim: status %s, %d bytes" % (plain[0], len(plain[2])))
ENV = shim_environment(captures, TMPDIR=folder)


def work():
    status, messages, code = session(ENV, True)
    expect(status == plain[0], "gcc: status %s without the shim, %s with it: %s" % (plain[0], status, messages[-300:]))
    expect(messages == plain[1], "gcc: other messages with the shim: %r" % messages[-300:])
    expect(code == plain[2], "gcc: the object differs (%d bytes without the shim, %d with it)" % (len(plain[2]), len(code)))


while_snapping("gcc", work, captures, programs=("cc1",))
finish()
