#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every stack found by rules must be libunwind's: over programs whose stacks are hard to walk, and over
git, gcc, python3, redis and a C++ program with exceptions.

Builds the library once more with the comparison compiled in (LEAKDIFF_VERIFY), beside the build. Says
for each program how many stacks were compared and how many were handed over to libunwind, and why.
"""
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [TESTS, os.path.join(TESTS, "python")]
import interpreters  # noqa: E402
from support import BUILD, SOURCE, expect, finish, skip  # noqa: E402

FOLDER = tempfile.mkdtemp(prefix="leakdiff-unwind-")
VERIFY = os.path.join(BUILD, "verify")
LIBRARY = os.path.join(VERIFY, "lib", "libleakdiff.so")

PYTHON_WORK = """
import asyncio, json, re, sys, threading, xml.dom.minidom
def tree(n): return [tree(n - 1) for _ in range(2)] if n else {}
tree(9)
threads = [threading.Thread(target=lambda: json.loads(json.dumps(list(range(500))))) for _ in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
for i in range(60):
    try: re.compile("(" * i)
    except re.error: pass
try:
    import ctypes
    call = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
    numbers = (ctypes.c_int * 50)(*range(50, 0, -1))
    ctypes.CDLL(None).qsort(numbers, 50, 4, call(lambda a, b: len(bytearray(600 + a[0])) - 600 - b[0]))
except ImportError: pass
async def task():
    for i in range(50): await asyncio.sleep(0)
asyncio.run(task())
sys.setrecursionlimit(3000)
def deep(n): return sorted([1], key=lambda x: deep(n - 1) if n else len(bytearray(1000)))
deep(150)
xml.dom.minidom.parseString("<a>" + "<b/>" * 300 + "</a>")
"""


def build():
    """The library with the comparison. Its build folder stays, so only the first run takes long."""
    settings = ["cmake", "-S", SOURCE, "-B", VERIFY, "-DLEAKDIFF_VERIFY=ON", "-DLEAKDIFF_TESTS=OFF"]
    if shutil.which("ninja") and not os.path.exists(os.path.join(VERIFY, "CMakeCache.txt")):
        settings += ["-G", "Ninja"]
    for command in (settings, ["cmake", "--build", VERIFY, "--target", "leakdiff_preload"]):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode:
            sys.stdout.write(done.stdout.decode(errors="replace")[-3000:])
            expect(False, "the library builds with LEAKDIFF_VERIFY")
            finish()


def environment(**more):
    env = dict(os.environ, LD_PRELOAD=LIBRARY, LEAKDIFF_LOG="1", LEAKDIFF_DIR=FOLDER, LEAKDIFF_PYTHON="off")
    env.update(more)
    return env


def judge(name, text, at_least, reasons=()):
    """at_least: stacks that must have been compared; reasons: words of the only allowed hand-overs."""
    compared = different = 0
    handed = {}
    for line in text.splitlines():
        match = re.search(r"verify: (\d+) stacks compared.*, (\d+) differ", line)
        if match:
            compared += int(match.group(1))
            different += int(match.group(2))
        match = re.search(r"stacks: (\d+) handed over to libunwind because (.*)", line)
        if match:
            handed[match.group(2)] = handed.get(match.group(2), 0) + int(match.group(1))
    total = compared + sum(handed.values())
    print("%-28s %8d compared, %d differ, %5.2f %% handed over%s" % (
        name, compared, different, 100.0 * sum(handed.values()) / total if total else 0,
        "".join("; %d %s" % (n, why) for why, n in sorted(handed.items()))))
    if different or "verify: a stack differs" in text:
        print("\n".join(line for line in text.splitlines() if "libleakdiff:" in line)[:6000])
    expect(compared >= at_least, "%s: at least %d stacks compared, not %d" % (name, at_least, compared))
    expect(different == 0 and "verify: a stack differs" not in text,
           "%s: no stack differs from libunwind's, not %d" % (name, different))
    for why, number in handed.items():
        # constructors that the loader runs before main are called from a function without a word
        few = number <= 20 + compared // 10000
        expect(few or any(word in why for word in reasons),
               "%s: %d stacks handed over because %s" % (name, number, why))
    return handed


def run(name, command, at_least, reasons=(), **more):
    try:
        done = subprocess.run(command, env=environment(**more), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=240, cwd=FOLDER)
    except FileNotFoundError:
        print("%-28s not installed" % name)
        return {}
    text = done.stderr.decode(errors="replace")
    if not expect(done.returncode == 0, "%s ends well, not with %d" % (name, done.returncode)):
        print(text[-2000:])
    return judge(name, text, at_least, reasons)


def own_programs():
    def program(name):
        return os.path.join(BUILD, "shim", "shim_unwind_" + name)

    run("shapes of frames", [program("shapes")], 100000)
    if os.geteuid() == 0:
        root = os.path.join(FOLDER, "root")
        os.mkdir(root)
        run("shapes, no /proc", [program("shapes"), root], 100000)
    run("exceptions", [program("throw")], 100000)
    handed = run("stacks that come and go", [program("switch")], 10000, ("signal handler", "own stack"))
    expect(any("own stack" in why for why in handed), "coroutines are handed over")
    expect(any("signal handler" in why for why in handed), "signal handlers are handed over")
    handed = run("assembly", [program("asm")], 10000, ("no module", "register that is not followed",
                                                       "no unwind information"))
    if os.uname().machine == "x86_64":
        expect(len(handed) == 3, "three kinds of assembly are handed over, not %d" % len(handed))
    run("libraries in turn", [program("unload"), program("plugin_a") + ".so", program("plugin_b") + ".so"], 5000,
        ("being unloaded",))


def compilers():
    source = os.path.join(FOLDER, "program.cc")
    with open(source, "w") as f:
        f.write("#include <map>\n#include <string>\n#include <regex>\nint main() { std::map<std::string, int> m;"
                "for (int i = 0; i < 3000; i++) m[std::to_string(i)] = i; std::regex r(\"a+b*(c|d)\");"
                "return !std::regex_match(\"aab\" \"c\", r); }\n")
    run("gcc -O2", ["gcc", "-O2", "-D_GNU_SOURCE", "-I" + SOURCE, "-c", os.path.join(SOURCE, "preload", "cfi.c"),
                    "-o", os.path.join(FOLDER, "cfi.o")], 50000)
    run("g++", ["g++", "-c", source, "-o", os.path.join(FOLDER, "program.o")], 100000)


def git():
    repository = os.path.join(FOLDER, "repository")
    identity = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b",
                "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_PAGER": "cat"}
    if not shutil.which("git"):
        print("%-28s not installed" % "git")
        return
    subprocess.run(["git", "init", "-q", repository], check=True, stdin=subprocess.DEVNULL,
                   env=dict(os.environ, GIT_CONFIG_GLOBAL="/dev/null"))
    for i in range(3):
        shutil.copy(os.path.join(SOURCE, "preload", "step.c"), os.path.join(repository, "file%d.c" % i))
        run("git add", ["git", "-C", repository, "add", "."], 100, **identity)
        run("git commit", ["git", "-C", repository, "commit", "-qm", "commit %d" % i], 100, **identity)
    for command in ("log -p", "blame file1.c", "status", "gc", "fsck", "grep -n rule"):
        run("git " + command, ["git", "-C", repository] + command.split(), 100, **identity)


def pythons():
    for python, version in interpreters.found():
        run("python %d.%d.%d" % version, [python, "-c", PYTHON_WORK], 50000, PYTHONMALLOC="malloc")


def redis():
    if not shutil.which("redis-server"):
        print("%-28s not installed" % "redis")
        return
    path = os.path.join(FOLDER, "redis.sock")
    with open(os.path.join(FOLDER, "redis.log"), "w+b") as log:
        server = subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", path, "--save", ""], cwd=FOLDER,
                                  env=environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            for _ in range(100):
                if os.path.exists(path):
                    break
                time.sleep(0.05)
            subprocess.run(["redis-benchmark", "-s", path, "-n", "4000", "-q", "-t",
                            "set,get,lpush,sadd,hset,zadd,lrange_100,mset"], stdout=subprocess.DEVNULL, timeout=120)
            subprocess.run(["redis-cli", "-s", path, "eval", "for i=1,500 do redis.call('set','k'..i,string.rep('x',i)) end",
                            "0"], stdout=subprocess.DEVNULL, timeout=60)
            subprocess.run(["redis-cli", "-s", path, "shutdown", "nosave"], stdout=subprocess.DEVNULL, timeout=60)
            server.wait(30)
        finally:
            if server.poll() is None:
                server.send_signal(signal.SIGKILL)
                server.wait()
        log.seek(0)
        judge("redis", log.read().decode(errors="replace"), 50000)


def main():
    if os.uname().machine != "x86_64":
        skip("stacks are taken by rules on x86-64 only")
    try:
        build()
        own_programs()
        compilers()
        git()
        pythons()
        redis()
    finally:
        shutil.rmtree(FOLDER, ignore_errors=True)
    finish()


main()
