# SPDX-License-Identifier: Apache-2.0
"""test_lifecycle.py - the traps of a process's life: boot, threads, forks, signals, odd stacks."""
import os
import shutil
import stat
import subprocess
import sys
import tempfile

sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "python"))
import interpreters  # noqa: E402
from shim import BUILD, LIBRARY, MODE, agree, check, finish, matches, modes, program, run


SHORT = 5000 if os.environ.get("TEST_QUICK") else 100000


def life(what, number, text, idle=0, **options):
    # idle=1 where the first thread leaves libc something that it keeps for the next
    return matches("life", [what, str(number)], [what, str(idle)], text, **options)


life("early", 1, "blocks of a constructor before ours are known and can be freed", older=(-10, -10000))
# jemalloc samples nothing in a thread whose data of its own is gone
life("tls", 200, "destructors of thread-local data allocate and free", 1, unsampled=True)
many = life("short", SHORT, f"{SHORT} short threads", 1, timeout=300)
check(many.lines[-1]["rings"] <= 64, f"{SHORT} short threads share {many.lines[-1]['rings']} rings")
life("small", 20, "threads with the smallest stack, deep enough to drain", 1, RING=256)
life("small", 20, "threads with the smallest stack, 128 frames", 1, DEPTH=128)

forked = life("fork", 20, "fork in a threaded process")
inherit = run(program("life"), "inherit", "1")
idle = run(program("life"), "inherit", "0")
if check(inherit.code == 0 and len(inherit.lines) == 2 and len(idle.lines) == 2,
         "a forked child ends with a line of its own"):
    child, before = inherit.lines[0], idle.lines[0]
    check(child["pid"] != inherit.lines[1]["pid"], "under its own number")
    blocks, size = (-3, -4300) if MODE.from_start else (2, 700)		# what is older than recording is not known
    check(child["blocks"] - before["blocks"] == blocks and agree(child["bytes"] - before["bytes"], size, "bytes", 7),
          "it knows the blocks that it inherited, freed and made")
    check(child["lost"] == 0 and child["anomalies"] == 0, "and lost nothing")

life("forks", 50, "four threads fork at once", 1)
life("clone", 30, "forks by the bare system call")
life("waits", 20, "a child of the bare system call that waits before it allocates")
life("twice", 20, "a child that forks before it allocates")
if MODE.live_table:
    reuse = run(program("life"), "reuse")
    # 16 others were freed whose addresses do not come again
    check(reuse.code == 0 and len(reuse.lines) == 2 and reuse.lines[0]["blocks"] - reuse.lines[1]["blocks"] <= 16,
          "what was freed before such a fork is gone in the child once its address was given out again")
life("spawn", 30, "posix_spawn and vfork")
image = run(program("life"), "exec", "0")
check(image.code == 0 and len(image.lines) == 1 and image.lines[0]["blocks"] >= 0 and "ledger" in image.out,
      "exec: the new image records anew, in the same process")
life("closeall", 1, "a program that closes all descriptors")
life("descriptors", 1, "no descriptor of ours in the program's table")
life("blocked", 1, "a program that blocks all signals")
life("faults", 300, "a program that catches its own faults on another stack")
life("narrow", 200, "a signal handler that allocates on a stack of 8 KiB")
life("storm", 2000, "signal handlers interrupt the hooks", lost=200)
STRICT = os.path.join(BUILD, "shim", "shim_strict.so")
life("allocator", 50, "a handler that maps memory enters no allocator, in a thread's first moment neither", 1,
     preload=[] if MODE.name == "sample" else [STRICT])		# which is jemalloc's
life("jumpout", 2000, "signal handlers leave the hooks with siglongjmp", lost=2000)
life("forkover", 500, "a signal handler forks over a hook, and the child comes back into it")
for how, what, line in ((1, "by prctl", True), (2, "by seccomp", True), (3, "for all threads", True),
                        (4, "of a vfork child", False), (5, "that refuses", False)):
    locked = run(program("life"), "lockin", str(how))
    if locked.code == 77:
        print("skipped: no filters of system calls here", file=sys.stderr)
        break
    check(locked.code == 0 and "ledger 0 0 0 0" in locked.out, f"a filter of system calls {what}: the program lives ({locked.code})")
    check((locked.err.count("switched off") == 1) == line, f"a filter of system calls {what}: recording goes on unless it would end us")
life("coroutines", 20000, "coroutines with stacks of their own")
life("longjmp", 20000, "longjmp out of deep stacks")

# which calls no hook from inside either, so that it takes the same short hooks as libc
if MODE.live_table and os.path.exists(modes.JEMALLOC):
    for what, number, idle, lost in (("short", 2000, 1, 0), ("tls", 200, 1, 0), ("fork", 20, 0, 0), ("forks", 50, 1, 0),
                                     ("waits", 20, 0, 0), ("storm", 2000, 0, 200), ("jumpout", 2000, 0, 2000)):
        life(what, number, f"on jemalloc: {what}", idle, lost=lost, preload=[modes.JEMALLOC])

shim = os.path.join(BUILD, "shim")
plugin = os.path.join(shim, "shim_plugin.so")
loop = matches("dl", ["plugin", plugin, "300"], ["plugin", plugin, "1"],
               "dlopen and dlclose while three threads allocate")
longer = run(program("dl"), "plugin", plugin, "900")
check(longer.lines and longer.lines[-1]["stacks"] <= loop.lines[-1]["stacks"] + 60,
      "a library that comes and goes adds no stacks for ever")
cxx = os.path.join(shim, "shim_cxxplugin.so")
probe = run(program("dl"), "cxx", cxx, "2000")
check(probe.code == 0 and probe.lines and probe.lines[-1]["lost"] == 0 and probe.lines[-1]["anomalies"] == 0,
      "C++ exceptions in a library that a C program opened")

FORKS = """
import os, sys, time, warnings
warnings.simplefilter("error")
os.register_at_fork(after_in_parent=lambda: [bytearray(5000) for _ in range(100)])
for _ in range(10):
    child = os.fork()
    if not child:
        kept = [bytearray(1000) for _ in range(100)]
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    kept = [bytearray(1000) for _ in range(100)]
time.sleep(0.2)
kept = [bytearray(1000) for _ in range(100)]
time.sleep(0.1)
print("threads", len(os.listdir("/proc/self/task")))
"""
for python in [path for path, version in interpreters.found() if version >= (3, 12)]:
    done = run(python, "-c", FORKS)
    check(done.code == 0 and "Warning" not in done.err and "threads 2" in done.out,
          f"{python}: os.fork() does not warn of our thread, which comes back afterwards")

if os.getuid() == 0 and shutil.which("setpriv"):
    folder = tempfile.mkdtemp(prefix="leakdiff-setuid-")
    os.chmod(folder, 0o755)
    copy = shutil.copy(program("life"), os.path.join(folder, "life"))
    os.chmod(copy, 0o755 | stat.S_ISUID)
    done = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--",
                           "sh", "-c", f"LD_PRELOAD={LIBRARY} exec {copy} early 1"], capture_output=True,
                          text=True, env={"PATH": os.environ["PATH"], "LEAKDIFF_LOG": "1"}, check=False)
    check(done.returncode == 0 and "ledger" in done.stdout and "pid" not in done.stderr,
          "a setuid program runs and the loader leaves us out")
    shutil.rmtree(folder)
else:
    print("skipped: setuid needs root and setpriv", file=sys.stderr)
finish()
