# SPDX-License-Identifier: Apache-2.0
"""Services on jemalloc, and the profiles that allocators write: mode sample with jemalloc preloaded by
`leakdiff run` and linked as Debian's redis is, Python's frames in it, what is said when it cannot be had;
heap_v2 and gperftools files as snapshots."""
import json
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from support import *  # noqa: E402,F403

sys.path.insert(1, os.path.join(SOURCE, "tests", "shim"))
from test_stress import stress  # noqa: E402

LIBRARIES = "/usr/lib/x86_64-linux-gnu/"
PROFILED = os.path.join(BUILD, "shim", "shim_profiled")
PLANTED = 40000		# blocks of 1000 bytes, served from the size class of 1024
RATE = 16		# lg: one block for each 64 KiB, so that 40 MB are known to some percent


class Talk:
    """A program that answers each line with one."""

    def __init__(self, argv, env):
        self.process = start(argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)
        self.first = self.process.stdout.readline().strip()

    def say(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def end(self):
        _, err = self.process.communicate(timeout=60)
        stop(self.process)
        return self.process.returncode, err.decode("utf-8", "replace")


def snap(pid, path):
    done = leakdiff("snap", pid, "-o", path)
    expect(done.returncode == 0 and os.path.exists(path), "a snapshot is made: %s" % done.stderr)
    return path


def judge(first, second, what, function):
    """The diff names the site that grew, by about what was planted, and no holder."""
    done = leakdiff(first, second, "--json")
    if not expect(done.returncode == 1, "%s: growth is found, not status %s %s" % (what, done.returncode, done.stderr)):
        return
    answer = json.loads(done.stdout)
    suspect = answer["suspects"][0]
    expect(suspect["verdict"] == "growing" and suspect["confidence"] == "likely",
           "%s: likely growing, not %s %s" % (what, suspect["confidence"], suspect["verdict"]))
    expect(suspect["holder"]["kind"] == "none" and not suspect["chain"],
           "%s: no holder is claimed: %s" % (what, suspect["holder"]))
    names = [frame["function"] for frame in suspect["sites"][0]["stack"]]
    expect(function in names[:2], "%s: the stack begins at %s: %s" % (what, function, names))
    expect(0.7 * PLANTED < suspect["count"] < 1.3 * PLANTED,
           "%s: about %d blocks grew, not %d" % (what, PLANTED, suspect["count"]))
    expect(0.7 * PLANTED * 1024 < suspect["bytes"] < 1.3 * PLANTED * 1024,
           "%s: about %d bytes grew, not %d" % (what, PLANTED * 1024, suspect["bytes"]))
    notes = " ".join(note for shot in answer["snapshots"] for note in shot["notes"])
    expect("nothing is said about who holds what" in notes, "%s: the notes say what is missing: %s" % (what, notes))
    for row in answer["growth"]:
        expect(row["state"] == "referenced", "%s: nothing is called unreachable: %s" % (what, row))


def preloaded():
    folder = scratch()
    env = clean_environment(MALLOC_CONF="lg_prof_sample:%d" % RATE)
    talk = Talk([COMMAND, "run", "-o", folder, "--mode", "sample", "--", PROFILED], env)
    pid = talk.process.pid
    expect(talk.first == b"ready", "the program runs under run --mode sample")
    first = snap(pid, os.path.join(folder, "1.snap"))
    talk.say("leak %d" % PLANTED)
    second = snap(pid, os.path.join(folder, "2.snap"))
    judge(first, second, "mode sample, preloaded", "grow")
    status = json.loads(leakdiff("status", pid, "--json").stdout)
    expect(status["mode"] == "sample" and status["state"] == "on", "status tells mode sample, on: %s" % status)
    leakdiff("off", pid)
    expect(json.loads(leakdiff("status", pid, "--json").stdout)["state"] == "off", "off stops jemalloc's profiler")
    talk.say("leak %d" % PLANTED)
    third = snap(pid, os.path.join(folder, "3.snap"))
    expect(leakdiff(second, third).returncode == 0, "what is allocated while it is off is not known")
    expect(leakdiff("on", pid).returncode == 0, "on wakes it")
    talk.say("leak %d" % PLANTED)
    judge(third, snap(pid, os.path.join(folder, "4.snap")), "woken again", "grow")
    expect(leakdiff("check", second).returncode == 0, "check finds the snapshot whole")
    # the program's own dump still works, our frames and all
    heap = os.path.join(folder, "own.heap")
    expect(talk.say("dump " + heap) == b"0", "jemalloc still dumps for the program")
    done = leakdiff("top", heap, "--by", "site")
    expect("grow" in done.stdout, "a dump made under mode sample is read: %s%s" % (done.stdout, done.stderr))
    status, err = talk.end()
    expect(status == 0 and "libleakdiff" not in err, "it ends as ever, with nothing said: %s %s" % (status, err))


def cannot_be_had():
    folder = scratch()
    for what, more, words in (
            ("without the profiler", {"LD_PRELOAD": LIBRARY + ":" + LIBRARIES + "libjemalloc.so.2"}, "MALLOC_CONF=prof:true"),
            ("without jemalloc", {"LD_PRELOAD": LIBRARY}, "not jemalloc's")):
        talk = Talk([PROFILED], clean_environment(LEAKDIFF_DIR=folder, LEAKDIFF_MODE="sample", **more))
        status = json.loads(leakdiff("status", talk.process.pid, "--json").stdout)
        expect(status["mode"] == "lite", "%s lite is used: %s" % (what, status["mode"]))
        status, err = talk.end()
        lines = [line for line in err.splitlines() if "libleakdiff" in line]
        expect(status == 0 and len(lines) == 1 and words in lines[0],
               "%s one line says what to do: %s %s" % (what, status, err))


def link(folder, name, source, flags=(), libraries=("-l:libjemalloc.a", "-lpthread", "-lm", "-ldl", "-lstdc++")):
    """A program with an allocator inside."""
    program = os.path.join(folder, name)
    made = run(["gcc", "-g", "-O1", "-D_GNU_SOURCE", "-I", os.path.join(SOURCE, "tests", "shim"), "-o", program, source, *flags, *libraries])
    return program if expect(made.returncode == 0, "a program with its own malloc is linked: %s" % made.stderr) else None


FAKE = """
#include <string.h>
#include <unistd.h>
static char pool[1 << 25] __attribute__((aligned(4096)));
static size_t used;
static void (*hook)(void *, int, void *, unsigned long, unsigned long *);
static void *extra;
static void *take(size_t n, size_t align, int type)
{
	size_t at = (used + align - 1) & -align;
	unsigned long args[3] = { n + LIE, n, n };
	used = at + n;
	if (used > sizeof(pool)) return 0;
	if (hook) hook(extra, type, pool + at, 0, args);
	return pool + at;
}
void *malloc(size_t n) { return take(n, 16, 0); }
void free(void *p) { (void)p; }
void *calloc(size_t a, size_t b) { return take(a * b, 16, 3); }
void *realloc(void *p, size_t n) { void *q = take(n, 16, 7); if (p && q) memcpy(q, p, n < 100 ? n : 100); return q; }
int posix_memalign(void **r, size_t a, size_t n) { *r = take(n, a, 1); return !*r; }
int mallctl(const char *name, void *old, size_t *old_bytes, void *new, size_t new_bytes)
{
	static const char *version = VERSION;
	(void)old_bytes, (void)new_bytes;
	if (!strcmp(name, "version")) { memcpy(old, &version, sizeof(version)); return 0; }
	if (!strcmp(name, "experimental.hooks.install")) {
		memcpy(&hook, new, sizeof(hook)); memcpy(&extra, (char *)new + 24, sizeof(extra)); memcpy(old, &extra, sizeof(extra)); return 0;
	}
	if (!strcmp(name, "experimental.hooks.remove")) { hook = 0; return 0; }
	return 2;
}
int main(void) { return hook || !malloc(100) ? 1 : write(1, "well\\n", 5) != 5; }
"""


def every_block():
    """Mode full of a program with jemalloc inside: its hooks tell each call, and who holds what is found as ever; they are
    proven first, and what cannot be proven is not used."""
    if not os.path.exists(LIBRARIES + "libjemalloc.a") or not shutil.which("gcc"):
        return
    folder = scratch()
    exported = ["-Wl,--export-dynamic"]
    program = link(folder, "service", os.path.join(SOURCE, "tests", "shim", "profiled.c"), exported)
    for settings in ({}, {"LEAKDIFF_START": "off"}):
        talk = Talk([program], shim_environment(folder, **settings))
        if settings:
            expect(leakdiff("on", talk.process.pid).returncode == 0, "a dormant one wakes")
            talk.say("leak 10")
        first = snap(talk.process.pid, os.path.join(folder, "e1.snap"))
        talk.say("leak 300")
        second = snap(talk.process.pid, os.path.join(folder, "e2.snap"))
        answer = json.loads(leakdiff(first, second, "--json").stdout)
        row, suspect = answer["growth"][0], answer["suspects"][0]
        expect(row["size"] == 1000 and row["count"][1] - row["count"][0] == 300 and row["new_count"] == 300, "each block is counted: %s" % row)
        names = [frame["function"] for frame in suspect["sites"][0]["stack"]]
        expect(names[:1] == ["grow"] and "main" in names, "the stack begins above jemalloc's own frames: %s" % names)
        expect(suspect["holder"]["kind"] == "global" and suspect["holder"]["name"] == "profiled_kept", "and who holds them is found: %s" % suspect["holder"])
        expect(answer["snapshots"][1]["mode"] == "full" and answer["snapshots"][1]["mappings"] == 0,
               "what jemalloc maps is no mapping of the program: %s" % answer["snapshots"][1])
        if settings:
            expect(leakdiff("off", talk.process.pid).returncode == 0 and talk.say("leak 10") == b"0", "and sleeps again")
        status, err = talk.end()
        expect(status == 0 and "libleakdiff" not in err, "it ends as ever, in silence: %s %s" % (status, err))
    stress(4, link(folder, "stress", os.path.join(SOURCE, "tests", "shim", "stress.c"), exported))
    fake = os.path.join(folder, "fake.c")
    with open(fake, "w") as file:
        file.write(FAKE)
    for version, lie, word in (("5.3.0-0-gfake", 0, "did not tell exactly"), ("5.3.0-0-gfake", 1, "did not tell exactly"),
                               ("5.4.0-0-gnew", 0, "5.2.0 to 5.3.1")):
        program = link(folder, "fake", fake, exported + ["-fno-builtin", '-DVERSION="%s"' % version, "-DLIE=%d" % lie], ())
        done = run([program], env=shim_environment(folder))
        lines = done.stderr.splitlines()
        expect(done.returncode == 0 and done.stdout == "well\n", "%s: the program goes on without hooks: %s" % (version, done))
        expect(len(lines) == 1 and word in lines[0] and "switched off" in lines[0], "%s: one line says why: %s" % (version, lines))


def linked_statically():
    """Nothing can be interposed in a program with a malloc of its own, but its jemalloc can be asked."""
    if not os.path.exists(LIBRARIES + "libjemalloc.a") or not shutil.which("gcc"):
        return print("libjemalloc-dev or gcc is not installed: a jemalloc inside the program is not tested")
    folder = scratch()
    for what, flags in (("hidden", []), ("exported", ["-Wl,--export-dynamic"])):
        program = link(folder, what, os.path.join(SOURCE, "tests", "shim", "profiled.c"), flags)
        if not program:
            return
        env = shim_environment(folder, LEAKDIFF_MODE="sample", MALLOC_CONF="prof:true,lg_prof_sample:%d" % RATE)
        talk = Talk([program], env)
        if what == "exported":
            first = snap(talk.process.pid, os.path.join(folder, "s1.snap"))
            talk.say("leak %d" % PLANTED)
            judge(first, snap(talk.process.pid, os.path.join(folder, "s2.snap")), "jemalloc inside", "grow")
            # children, which call nothing of ours before jemalloc asks for a stack
            life = link(folder, "life", os.path.join(SOURCE, "tests", "shim", "life.c"), flags + ["-fno-builtin"])
            for word, number in (("fork", 10), ("forks", 30), ("clone", 10)):
                done = run([life, word, str(number)], 60, env=env)
                expect(done.returncode == 0 and "ledger 0" in done.stdout and not done.stderr, "jemalloc inside, %s: %s" % (word, done))
        status, err = talk.end()
        lines = [line for line in err.splitlines() if "libleakdiff" in line]
        expect(status == 0 and len(lines) == (what == "hidden"), "%s: %s %s" % (what, status, err))
        expect(what == "exported" or "mallctl" in lines[0], "one line says why it cannot be asked: %s" % err)


def files():
    folder = scratch()
    paths = [os.path.join(folder, name) for name in ("a.heap", "b.heap")]
    talk = Talk([PROFILED], clean_environment(LD_PRELOAD=LIBRARIES + "libjemalloc.so.2",
                                              MALLOC_CONF="prof:true,lg_prof_sample:%d" % RATE))
    talk.say("dump " + paths[0])
    talk.say("leak %d" % PLANTED)
    talk.say("dump " + paths[1])
    talk.end()
    judge(*paths, "heap_v2 files", "grow")
    top = json.loads(leakdiff("top", paths[1], "--json").stdout)["rows"][0]
    expect("grow" in top["type"], "top shows the heaviest site of a profile: %s" % top)
    expect(leakdiff("check", *paths).returncode == 0, "check takes profiles")
    made = os.path.join(folder, "made.snap")
    expect(leakdiff("ingest", paths[1], "-o", made).returncode == 0, "ingest makes a snapshot of a profile")
    expect(leakdiff(made, paths[1]).returncode == 0, "which is equal to the profile")
    for verb in (["leaks"], ["chain", "--site", "grow"]):
        done = leakdiff(verb[0], paths[1], *verb[1:])
        expect(done.returncode == 2 and "no references" in done.stderr,
               "%s says that a profile has no references: %s" % (verb[0], done.stderr))
    with open(paths[1]) as file:
        text = file.read()
    for what, damaged, words in (("cut", text[:len(text) // 3], "truncated"), ("newer", text.replace("heap_v2", "heap_v9", 1), "newer leakdiff"),
                                 ("foreign", "heap profile: 1: 1 [1: 1] @ growthz\n", "another kind"),
                                 ("corrupt", text.replace("\n@ ", "\n@ hello ", 1), "no address")):
        path = os.path.join(folder, what + ".heap")
        with open(path, "w") as file:
            file.write(damaged)
        done = leakdiff(paths[0], path)
        expect(done.returncode == 2 and words in done.stderr and len(done.stderr.splitlines()) == 1,
               "a %s profile is refused with one sentence: %s %s" % (what, done.returncode, done.stderr))


def gperftools():
    tcmalloc = LIBRARIES + "libtcmalloc.so.4"
    if not os.path.exists(tcmalloc):
        return print("gperftools is not installed: its profiles are not tested")
    folder = scratch()
    talk = Talk([PROFILED], clean_environment(LD_PRELOAD=tcmalloc, HEAPPROFILE=os.path.join(folder, "g"),
                                              HEAP_PROFILE_ALLOCATION_INTERVAL="1000000"))
    talk.say("leak %d" % PLANTED)
    talk.end()
    heaps = sorted(os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".heap"))
    if not expect(len(heaps) > 2, "gperftools wrote profiles: %s" % heaps):
        return
    judge(heaps[0], heaps[-1], "gperftools' files", "grow")


def redis():
    if not shutil.which("redis-server"):
        return print("redis is not installed: it is not tested")
    folder = scratch()
    path = os.path.join(folder, "s")
    service = start(["redis-server", "--port", "0", "--unixsocket", path, "--save", ""], stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    env=shim_environment(folder, LEAKDIFF_MODE="sample", MALLOC_CONF="prof:true,lg_prof_sample:%d" % RATE))

    def ask(text):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(path)
            s.sendall(text.encode() + b"PING\r\n")
            got = b""
            while not got.endswith(b"+PONG\r\n"):
                got += s.recv(1 << 16)
        return got

    until = time.monotonic() + 30
    while not os.path.exists(path) and time.monotonic() < until:
        time.sleep(0.05)
    ask("")
    first = snap(service.pid, os.path.join(folder, "r1.snap"))
    for i in range(0, 20000, 500):
        ask("".join("SET key:%d %s\r\n" % (i + k, "v" * 900) for k in range(500)))
    second = snap(service.pid, os.path.join(folder, "r2.snap"))
    done = leakdiff(first, second, "--json")
    answer = json.loads(done.stdout)
    grew = sum(s["bytes"] for s in answer["suspects"] if s["confidence"] == "likely")
    expect(done.returncode == 1 and 15e6 < grew < 40e6, "redis: 20 MB of values are found: %s" % grew)
    functions = [f["function"] for s in answer["suspects"] for site in s["sites"] for f in site["stack"]]
    expect("setCommand" in functions or "processCommand" in functions, "redis: by the command that made them: %s" % functions[:20])
    expect(answer["snapshots"][1]["mode"] == "sample", "redis: in mode sample")
    ask("BGSAVE\r\n")
    expect(ask("").endswith(b"+PONG\r\n"), "redis forks and answers")
    stop(service)
    err = service.stderr.read().decode("utf-8", "replace")
    expect("libleakdiff" not in err, "redis: nothing to complain of: %s" % err)


def python():
    folder = scratch()
    script = os.path.join(folder, "service.py")
    with open(script, "w") as file:
        file.write("import sys\nkept = []\n\n\ndef body(n):\n    for _ in range(n):\n        kept.append(b'x' * 100000)\n\n\n"
                   "print('ready', flush=True)\nfor line in sys.stdin:\n    body(int(line))\n    print('0', flush=True)\n")
    talk = Talk([COMMAND, "run", "-o", folder, "--mode", "sample", "--", "/usr/bin/python3", script],
                clean_environment(MALLOC_CONF="lg_prof_sample:%d" % RATE))
    talk.say("10")
    first = snap(talk.process.pid, os.path.join(folder, "p1.snap"))
    talk.say("400")
    second = snap(talk.process.pid, os.path.join(folder, "p2.snap"))
    answer = json.loads(leakdiff(first, second, "--json").stdout)
    stack = answer["suspects"][0]["sites"][0]["stack"] if answer["suspects"] else []
    expect(stack and stack[0]["function"] == "body" and stack[0]["language"] == "python" and stack[0]["line"] == 7,
           "Python's frames are in jemalloc's samples: %s" % stack[:3])
    status, err = talk.end()
    expect(status == 0, "Python ends as ever: %s %s" % (status, err))


if not os.path.exists(LIBRARIES + "libjemalloc.so.2"):
    skip("libjemalloc2 is not installed")
preloaded()
cannot_be_had()
linked_statically()
every_block()
files()
gperftools()
redis()
python()
finish()
