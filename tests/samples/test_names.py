# SPDX-License-Identifier: Apache-2.0
"""Build the C and the C++ sample as others build their services, and read the chain to what they keep:

    gcc and clang, -O0, -O2 and -O2 -flto      the names of fields and types
    -gsplit-dwarf, separate debug file, type   the same
    units
    without -g, stripped, .dwo files gone      the allocation site, and the vtable's class in C++; the
                                               answer says that there is nothing better
    tails.c                                    blocks whose size alone would mislead; names that are not UTF-8;
                                               the name that a program was called by
    tails.rs                                   Rust, where there is a rustc

Compilers that are not there are passed over, and said."""
import concurrent.futures
import http.client
import json
import os
import re
import shutil
import socket
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from support import *  # noqa: E402,F403


# name, source, compiler, options, then what is done to the program, then what is expected
C, CC = "http_cache/http_cache.c", "sessions/sessions.cc"
VARIANTS = [
    ("gcc-O0", C, "gcc", "-g -O0", None), ("gcc-O2", C, "gcc", "-g -O2", None), ("gcc-lto", C, "gcc", "-g -O2 -flto", None),
    ("clang-O0", C, "clang", "-g -O0", None), ("clang-O2", C, "clang", "-g -O2", None),
    ("clang-lto", C, "clang", "-g -O2 -flto -fuse-ld=lld", None),
    ("split", C, "gcc", "-g -O2 -gsplit-dwarf", None), ("separate", C, "gcc", "-g -O2", "separate"),
    ("no-g", C, "gcc", "-O2", "plain"), ("stripped", C, "gcc", "-g -O2", "strip"),
    ("g++-O0", CC, "g++", "-g -O0", None), ("g++-O2", CC, "g++", "-g -O2", None), ("g++-lto", CC, "g++", "-g -O2 -flto", None),
    ("clang++-O0", CC, "clang++", "-g -O0", None), ("clang++-O2", CC, "clang++", "-g -O2", None),
    ("clang++-lto", CC, "clang++", "-g -O2 -flto -fuse-ld=lld", None), ("g++-stripped", CC, "g++", "-g -O2", "strip"),
    ("g++-types", CC, "g++", "-g -O2 -fdebug-types-section", None),
    ("gone", C, "clang", "-g -O2 -gsplit-dwarf", "gone"),
]


def build(folder, name, source, compiler, options, then):
    """The program, or None when the compiler (or its linker) is not there."""
    if not shutil.which(compiler) or ("lld" in options and not shutil.which("ld.lld")):
        return None
    program = os.path.join(folder, name)
    made = run([compiler, *options.split(), "-D_GNU_SOURCE", "-pthread", "-o", program, os.path.join(SOURCE, "samples", source)]
               + (["-std=c++17"] if source == CC else []), cwd=folder)
    if made.returncode:
        expect(False, "%s should be compiled: %s" % (name, made.stderr[-500:]))
        return None
    if then == "separate":
        run(["objcopy", "--only-keep-debug", program, program + ".debug"])
        run(["objcopy", "--strip-all", "--add-gnu-debuglink=" + program + ".debug", program])
    elif then == "strip":
        run(["strip", program])
    elif then == "gone":
        os.remove(os.path.join(folder, os.path.splitext(os.path.basename(source))[0] + ".dwo"))
    return program


def take(folder, program, is_c):
    """A snapshot of it with five things kept."""
    told = ["--wrapper", "entry_new"] if program.endswith("gcc-O0") else []
    if program.endswith("gcc-O2"):		# from the start: each snapshot knows it, whoever takes it
        service = start([COMMAND, "run", "-o", folder, "--wrapper", "pass", "--wrapper", "entry_new", "--", program],
                        env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    else:
        service = start([program], env=shim_environment(folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    port = int(service.stdout.readline().split()[2])
    if is_c:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        for number in range(5):
            client.request("PUT", "/n%d" % number, b"x" * 5000)
            client.getresponse().read()
        client.close()
    else:
        with socket.create_connection(("127.0.0.1", port), 30) as client, client.makefile("rb") as answers:
            for number in range(5):
                for line in ("LOGIN u%d" % number, "SAY u%d hello" % number):
                    client.sendall(line.encode() + b"\n")
                    answers.readline()
    path = program + ".snap"
    taken = leakdiff("snap", service.pid, "-o", path, *told)
    expect(taken.returncode == 0, "snap of %s: %s" % (program, taken.stderr))
    stop(service)
    return path


def chain_to(path, size):
    answer = leakdiff("chain", path, "--size", str(size), "--json")
    chains = json.loads(answer.stdout)["chains"] if answer.returncode == 0 else []
    return chains[0] if chains else {"chain": [], "holder": {}}


def words(chain):
    return " ".join("%s %s %s" % (s["type"], s["name"] or "", s["edge"] or "") for s in chain["chain"])


def check_c(name, path, then):
    chain = chain_to(path, 5000)
    steps = [s for s in chain["chain"] if s["type"] != "global"]
    said = "%s: %s" % (name, words(chain))
    if then in ("plain", "strip", "gone"):
        expect(steps and all(re.match(r"^\d+ B from ", s["type"]) for s in steps), said + ": sites, as nothing better is known")
        # what was inlined has no name without -g
        expect(("stripped+0x" if then == "strip" else "from main") in (steps[-1]["type"] if steps else ""), said)
        top = leakdiff("top", path, "--json")
        sources = {r["type_source"] for r in json.loads(top.stdout)["rows"] if r["size"] in (40, 5000, 8208)}
        expect(sources == {"site"}, "%s says that the types are sites: %s" % (name, sources))
        if then == "gone":
            notes = leakdiff("sql", path, "SELECT note FROM notes").stdout
            expect("debug information of gone is incomplete" in notes, "%s: a note says so: %s" % (name, notes))
        return
    expect(chain["holder"].get("name") == "g_cache" and chain["holder"].get("type") == "struct table *",
           "%s: the holder is g_cache, a struct table *: %s" % (name, chain["holder"]))
    expect([s["type"] for s in steps][:2] == ["struct table", "struct entry"] and len(steps) >= 3, said)
    expect(len(steps) >= 3 and re.match(r"^\.buckets\[\d+\]$", steps[0]["edge"]) and steps[-2]["edge"] == ".body", said)
    expect(steps and re.match(r"^char\[5000\]", steps[-1]["type"]), said)
    top = leakdiff("top", path, "--json").stdout
    maker = "finish_put" if name in ("gcc-O0", "gcc-O2") else "entry_new"
    expect("char[] from %s http_cache.c" % maker in top, "%s: the key is named by %s, for --wrapper says so or not" % (name, maker))
    why = leakdiff("why", path, chain.get("addr", "0x0"), "--json")
    expect(why.returncode == 0, "why %s: %s" % (name, why.stderr))
    if why.returncode == 0:
        why = json.loads(why.stdout)
        expect([r["name"] for r in why["roots"]][:1] == ["g_cache"] and re.search(r"http_cache\.c$", why["roots"][0]["file"] or ""),
               "%s: why names the root and where it is declared: %s" % (name, why["roots"]))
        expect(why["evidence"] and why["evidence"][0]["agree"] == 5, "%s: five pointers agree: %s" % (name, why["evidence"]))
    labels = leakdiff("sql", path, "SELECT label, count(*) FROM edges WHERE dst IN (SELECT id FROM nodes WHERE size = 5000) AND "
                      "src IS NOT NULL GROUP BY 1").stdout
    expect(re.search(r"^\.body\s+5$", labels, re.M), "%s: SQL names the field: %s" % (name, labels))
    view = leakdiff("type", path, "entry", "--json")
    expect(view.returncode == 0, "type entry of %s: %s" % (name, view.stderr))
    if view.returncode == 0:
        view = json.loads(view.stdout)
        fields = {f["name"]: f for f in view["fields"]}
        expect(view["count"] == 5 and fields.get(".body", {}).get("references") == 5 and
               {"holder": "struct table.buckets[*]", "references": 5, "bytes": view["bytes"]} in view["referenced_by"],
               "%s: five entries, their bodies, their table: %s" % (name, view))


def check_cpp(name, path, then):
    chain = chain_to(path, 16384)
    steps = iter("%s %s" % (s["type"], s["name"] or "") for s in chain["chain"])
    said = "%s: %s" % (name, words(chain))
    if then:
        expect(any(s["type"] == "UserSession" for s in chain["chain"]), said + ": the vtable says the class without symbols")
        return
    expect(all(any(re.search(word, step) for step in steps) for word in
               (r"registry", r"^std::unordered_map<std::string, std::unique_ptr<Session>> ", r"^UserSession ",
                r"^std::vector<char> storage ")), said)
    expect(any((s["edge"] or "").startswith("._M_storage.second") for s in chain["chain"]), said + ": the pair in the node")
    expect(any(re.match(r"^\.history_", s["edge"] or "") for s in chain["chain"]), said + ": the field of the class")


def check_odd(folder, source, keeper):
    """Names of files, symbols, threads and arguments in which not all bytes are UTF-8: JSON stays JSON, pages stay pages."""
    called = os.path.join(folder, os.fsdecode(b'odd\xff"name'))
    expect(run(["gcc", "-O2", "-DODD", "-D_GNU_SOURCE", "-o", os.path.join(folder, "odd"), source, keeper]).returncode == 0, "odd")
    os.symlink("odd", os.path.join(folder, "called"))
    os.rename(os.path.join(folder, "odd"), called)
    os.symlink(os.path.basename(called), os.path.join(folder, "odd"))
    service = start([os.path.join(folder, "called"), os.fsdecode(b"\xfe\xff")], env=shim_environment(folder), stdout=subprocess.PIPE)
    service.stdout.readline()
    first, second = called + ".snap", os.path.join(folder, "odd.2.snap")
    for path in (first, second):
        taken = run([COMMAND, "snap", str(service.pid), "-o", path], text=False)
        expect(taken.returncode == 0, "snap: %s" % taken.stderr)
    addr = leakdiff("sql", first, "SELECT printf('0x%x', addr) FROM nodes WHERE size = 21")
    expect(addr.returncode == 0, "sql: %s" % addr.stderr)
    addr = addr.stdout.split()[-1]
    asked = [("status", service.pid), (first, second), (first, second, "--by", "site"), ("top", first, "--by", "site"),
             ("top", first, "--by", "module"), ("top", first, "--by", "thread"), ("top", first, "--by", "holder"), ("leaks", first),
             ("chain", first, "--addr", addr), ("backrefs", first, "--addr", addr), ("refs", first, "--addr", addr),
             ("threads", first), ("rss", first), ("why", first, addr)]
    asked = [(*words, "--json") for words in asked] + [("export", first, "--format", f) for f in ("json", "speedscope")]
    asked += [("sql", first, "--json", "SELECT *, 1 AS '%s' FROM %s" % (os.fsdecode(b"\xff"), table))
              for table in ("frames", "modules", "threads", "roots", "maps")] + [("sql", first, "--json", "SELECT key, value FROM meta")]
    seen = b""
    for words in asked:
        answer = run([COMMAND, *map(str, words)], text=False)
        seen += answer.stdout
        try:
            text = answer.stdout.decode()
            for part in text.splitlines() if words[0] == "sql" else [text]:
                json.loads(part)
        except ValueError as error:
            expect(False, "%s: %s: %s %s" % (words, error, answer.stdout[:200], answer.stderr[:200]))
    for word in (b"g_\\\\xffobjects", b"make\\\\xfe\\\\xffobject", b'odd\\\\xff\\"'):
        expect(word in seen, "%s is in the answers" % word)
    stop(service)
    page = os.path.join(folder, "odd.html")
    for words in (("report", first, second, "-o", page), ("chain", first, "--addr", addr, "--dot", page + ".dot"),
                  ("export", first, "--format", "collapsed", "-o", page + ".txt")):
        made = run([COMMAND, *words], text=False)
        expect(made.returncode in (0, 1), "%s: %s" % (words, made.stderr))
    for path in (page, page + ".dot", page + ".txt"):
        with open(path, "rb") as file:
            text = file.read()
        try:
            text.decode()
        except ValueError as error:
            expect(False, "%s: %s" % (path, error))


def check_called(folder, program):
    """redis-server is a link to redis-check-rdb, and is called redis-server."""
    other = os.path.join(folder, "tails-by-link")
    os.symlink(os.path.basename(program), other)
    service = start([other], env=shim_environment(folder), stdout=subprocess.PIPE)
    service.stdout.readline()
    leakdiff("snap", service.pid, "-o", other + ".snap")
    stop(service)
    names = leakdiff("sql", other + ".snap", "SELECT name || ' ' || path FROM modules LIMIT 1").stdout
    expect("tails-by-link %s" % program in names, "the name it was called by, the path of the file: %s" % names)
    rows = json.loads(leakdiff("top", other + ".snap", "--by", "module", "--json").stdout)["rows"]
    expect("tails-by-link" in [r["type"] for r in rows], "its blocks are those of tails-by-link: %s" % rows[:2])


def check_rust(folder):
    """The functions of Rust's own library, inlined or not, name no site; no Option is taken for what it leads to."""
    if not shutil.which("rustc"):
        print("passed over: rust")
        return
    program, captures = os.path.join(folder, "tails.rust"), scratch("rust")
    made = run(["rustc", "-g", "-O", "-o", program, os.path.join(os.path.dirname(os.path.abspath(__file__)), "tails.rs")])
    expect(made.returncode == 0, "tails.rs should be compiled: %s" % made.stderr[-500:])
    expect(run([program], env=shim_environment(captures, LEAKDIFF_AT_EXIT="1")).returncode == 0, "tails.rs runs")
    path = [os.path.join(captures, name) for name in os.listdir(captures) if name.endswith(".snap")][0]
    rows = json.loads(leakdiff("top", path, "--json").stdout)["rows"]
    bodies = [r for r in rows if r["size"] == 4096]
    expect(sum(r["count"] for r in bodies) == 100 and all("tails::make tails.rs:13" in r["type"] for r in bodies),
           "a hundred histories from make: %s" % bodies)
    expect(not any("Option" in r["type"] or "alloc.rs" in r["type"] for r in rows), "no Option, no site in the library: %s" % rows)


def check_tails(folder):
    """An object with a text behind it is no array; a library's own block is not what its caller calls something else."""
    source, keeper = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tails.c"), os.path.join(folder, "libpthread_keeper.so")
    program = os.path.join(folder, "tails")
    for words in (["-DKEEPER", "-shared", "-fPIC", "-o", keeper, source], ["-o", program, source, keeper]):
        made = run(["gcc", "-g", "-O2", "-D_GNU_SOURCE", *words])
        expect(made.returncode == 0, "tails.c should be compiled: %s" % made.stderr[-500:])
    service = start([program], env=shim_environment(folder), stdout=subprocess.PIPE, text=True)
    service.stdout.readline()
    taken = leakdiff("snap", service.pid, "-o", program + ".snap")
    expect(taken.returncode == 0, "snap of tails: %s" % taken.stderr)
    stop(service)
    rows = leakdiff("sql", program + ".snap", "--json", "SELECT types.name AS type, sum(count) AS count, sum(bytes) AS bytes, "
                    "group_concat(DISTINCT confidence) AS sure FROM type_evidence JOIN types ON types.id = type GROUP BY 1")
    expect(rows.returncode == 0, "sql of tails: %s" % rows.stderr)
    rows = {r["type"]: r for r in map(json.loads, rows.stdout.splitlines())}
    objects = rows.get("struct object", {"count": 0, "sure": ""})
    expect(objects["count"] == 40 and set(objects["sure"].split(",")) == {"likely", "certain"} and
           "struct object[]" not in rows, "forty times one object and a text: %s" % rows)
    texts = [r for name, r in rows.items() if name.startswith("char[] from ") and r["bytes"] == 3 * 48]
    expect(len(texts) == 1 and not any("struct answer" in name for name in rows), "three texts of 48 bytes: %s" % rows)
    check_called(folder, program)
    check_odd(folder, source, keeper)
    check_rust(folder)


def main():
    need("gcc", "g++", "strip", "objcopy")
    folder = scratch("names")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        programs = list(pool.map(lambda v: build(folder, *v), VARIANTS))
    for (name, source, _, _, then), program in zip(VARIANTS, programs):
        if not program:
            print("passed over: %s" % name)
            continue
        path = take(folder, program, source == C)
        check = check_c if source == C else check_cpp
        check(name, path, None if then == "separate" else then)
        whole = leakdiff("check", path)
        expect(whole.returncode == 0, "check %s: %s" % (name, whole.stdout[-300:]))
    check_tails(folder)
    finish()


main()
