# SPDX-License-Identifier: Apache-2.0
"""The memory account: its parts sum to what the kernel says, and each is what an independent source says of it:
mallinfo2() and malloc_trim() for glibc's arenas, mallctl and MallocExtension for other allocators, redis for its own,
smaps for the rest."""
import socket

from service import *  # noqa: F403

ACCOUNT = os.path.join(BUILD, "shim", "shim_account")
LIBRARIES = "/usr/lib/x86_64-linux-gnu/"
MIB = 1 << 20


def near(a, b, least=MIB):
    return abs(a - b) <= least + 0.01 * max(a, b)


def smaps(pid, key):
    with open("/proc/%d/smaps_rollup" % pid) as f:
        return int(re.search(r"^%s:\s+(\d+)" % key, f.read(), re.MULTILINE).group(1)) << 10


def agrees(pid, ours, *keys, least=MIB):
    """With what the kernel says, once the snapshot's own process is gone, which shares the service's pages."""
    until = time.monotonic() + 20
    while not near(ours, sum(smaps(pid, key) for key in keys), least):
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def rss(*snapshots):
    done = leakdiff("rss", "--json", *[snapshot.path for snapshot in snapshots])
    expect(done.returncode == 0, "rss should succeed: %s" % done.stderr)
    return json.loads(done.stdout)


def parts(name, snapshot, pid):
    """The account, after a look at what is true of every one."""
    account = rss(snapshot)["rss"][0]
    total, details = account["total_bytes"], account["details"]
    summed = sum(value for key, value in account.items() if key.endswith("_bytes") and key != "total_bytes")
    expect(summed == total, "%s: the parts sum to %d, the total is %d" % (name, summed, total))
    expect(agrees(pid, total, "Rss"), "%s: %d bytes are resident, the kernel says %d" % (name, total, smaps(pid, "Rss")))
    files = MIB + account["files_bytes"]	# whoever else has the same libraries mapped comes and goes
    expect(agrees(pid, account["beside"]["pss_bytes"], "Pss", least=files),
           "%s: PSS is %d, the kernel says %d" % (name, account["beside"]["pss_bytes"], smaps(pid, "Pss")))
    for part in ("live", "allocator", "files"):
        of_part = sum(value for key, value in details.items() if key.startswith(part + "_"))
        expect(of_part == account[part + "_bytes"], "%s: what %s is made of sums to %d, not %d" % (name, part, of_part, account[part + "_bytes"]))
    check = leakdiff("check", snapshot.path)
    expect(check.returncode == 0, "%s: the file should be whole: %s" % (name, check.stdout[-300:]))
    return account


def arenas(account, kind):
    return [arena for arena in account["arenas"] if arena["allocator"] == kind]


def of(found, *keys):
    return sum(arena[key] for arena in found for key in keys)


def allocator_suspect(name, first, last):
    done = leakdiff(first.path, last.path, "--json")
    found = [s for s in json.loads(done.stdout)["suspects"] if s["verdict"] == "allocator"]
    if expect(len(found) == 1, "%s: the allocator should be a suspect: %s" % (name, done.stdout[:300])):
        return found[0]["reason"]
    return ""


# -- glibc, chunk by chunk, against its own statistics ------------------------------------------------

service = Service(ACCOUNT)
first = service.snap()			# the agent's thread has its arena from here on
for line in ("fragment 20000", "keep 30", "threads 2", "large 8", "cache", "pool 16", "shared 4", "lazy 3", "unforked 9", "stacks 2"):
    service.ask(line)
before = [int(number) for number in service.ask("mallinfo").split()]
last = service.snap()
after = [int(number) for number in service.ask("mallinfo").split()]
expect(before == after, "the service should stand still: %s, %s" % (before, after))
arena, hblks, hblkhd, uordblks, fordblks, _, fsmblks = after
account = parts("glibc", last, service.pid)
found, mapped = arenas(account, "glibc"), arenas(account, "glibc-mapped")[0]
expect(all(a["unread"] is None for a in found), "every arena should be read: %s" % [a["unread"] for a in found])
expect(of(found, "mapped_bytes") == arena, "the arenas have %d bytes, glibc says %d" % (of(found, "mapped_bytes"), arena))
expect((mapped["used_count"], mapped["mapped_bytes"]) == (hblks, hblkhd),
       "%s blocks with mappings of %s bytes, glibc says %d, %d" % (mapped["used_count"], mapped["mapped_bytes"], hblks, hblkhd))
free = of(found, "free_bytes", "top_bytes")
expect(abs(free - (fordblks - fsmblks)) < 4096, "%d bytes are free, glibc says %d" % (free, fordblks - fsmblks))
used = of(found, "used_bytes", "cached_bytes", "metadata_bytes")
expect(abs(used - (uordblks + fsmblks)) < 4096, "%d bytes are in use or cached, glibc says %d" % (used, uordblks + fsmblks))
expect(of(found, "cached_bytes") >= 7 * 1000, "the thread's cache has at least seven blocks of 1000 bytes: %d" % of(found, "cached_bytes"))
sizes = [row for a in found for row in a["sizes"]]
expect(of(sizes, "free_bytes") == of(found, "free_bytes") and of(sizes, "free_count") == of(found, "free_count"),
       "the holes by size are all holes")
expect(sum(a["free_count"] >= 400 for a in found) == 3, "three arenas have many holes: %s" % [a["free_count"] for a in found])
details = account["details"]
expect(details["allocator_free_bytes"] == of(found, "free_resident_bytes") and details["allocator_free_bytes"] > 70 * MIB,
       "the holes are most of the allocator's part: %s" % details)
expect(near(details["live_mappings_bytes"], 28 * MIB) and near(account["shared_bytes"], 4 * MIB) and near(account["stacks_bytes"], 2 * MIB),
       "16, 3 and 9 MiB of mappings, 4 of shared memory and 2 of stacks: %s" % account)
lazy = smaps(service.pid, "LazyFree")	# the kernel may take some at any time
expect(lazy - MIB <= account["beside"]["lazy_free_bytes"] <= 4 * MIB, "3 MiB were given back lazily, %d are there: %s" % (lazy, account["beside"]))
expect(agrees(service.pid, account["beside"]["private_bytes"], "Private_Clean", "Private_Dirty", least=MIB + account["files_bytes"]),
       "nothing is shared but files: %s" % account["beside"])
reason = allocator_suspect("fragmentation", first, last)
for words in ("holes between blocks (fragmentation)", "holes, largest", "pinned by", "malloc_trim(0) would give back"):
    expect(words in reason, "the reason should have %r: %s" % (words, reason))
answer = rss(first, last)
expect(any("MALLOC_ARENA_MAX" in line for line in answer["advice"]), "and so many arenas should be named: %s" % answer["advice"])
expect(answer["growth"]["details"]["allocator_free_bytes"] > 70 * MIB, "and the growth of each detail: %s" % answer["growth"])
text = leakdiff("rss", first.path, last.path).stdout
expect("main arena: " in text and "what helps: malloc_trim(0)" in text and "holes between blocks" in text, "the text says it too: %s" % text)
promised, given = of(found, "trim_bytes"), int(service.ask("trim"))
expect(near(promised, given), "malloc_trim(0) would give back %d, it gave %d" % (promised, given))
service.ask("fork")			# pages that a worker shares with its parent count half
account = parts("fork", service.snap(), service.pid)
expect(account["beside"]["pss_bytes"] < 0.8 * account["total_bytes"], "a forked worker's pages are not counted twice: %s" % account["beside"])
service.quit()

service = Service(ACCOUNT)
first = service.snap()
service.ask("keep 40")
last = service.snap()
parts("kept", last, service.pid)
reason = allocator_suspect("freed memory that is kept", first, last)
expect("keep its heap from shrinking" in reason and "malloc_trim(0) would give back about 40" in reason, "what is kept is named: %s" % reason)
service.quit()

# -- others, asked by the program itself --------------------------------------------------------------

for library, kind, names in (
        ("libjemalloc.so.2", "jemalloc-all", {"stats.allocated": ("used_bytes", "cached_bytes"), "stats.metadata": ("metadata_bytes",),
                                              "stats.resident": ("resident_bytes",), "stats.retained": ("retained_bytes",)}),
        ("libtcmalloc.so.4", "tcmalloc", {"generic.current_allocated_bytes": ("used_bytes",), "generic.heap_size": ("mapped_bytes",),
                                          "tcmalloc.pageheap_free_bytes": ("dirty_bytes",)}),
        ("libmimalloc.so.2", "mimalloc", {})):
    if not os.path.exists(LIBRARIES + library):
        print("%s is not installed" % library)
        continue
    folder = scratch("snap")
    env = shim_environment(folder)
    env["LD_PRELOAD"] = LIBRARY + ":" + LIBRARIES + library
    service = Service(ACCOUNT, folder=folder, env=env)
    first = service.snap()
    for line in ("fragment 20000", "keep 20", "large 4"):
        service.ask(line)
    last = service.snap()
    account = parts(library, last, service.pid)
    said = arenas(account, kind)
    expect(len(said) == 1, "%s should be asked: %s" % (library, account["arenas"]))
    for name, keys in names.items():
        ours, theirs = of(said, *keys), int(service.ask("ask " + name))
        expect(near(ours, theirs), "%s: %s is %d, the snapshot says %d" % (library, name, theirs, ours))
    if kind != "mimalloc":
        reason = allocator_suspect(library, first, last)
        expect("freed pages that the allocator keeps" in reason, "%s: what it keeps is named: %s" % (library, reason))
        details = account["details"]
        expect(details["allocator_dirty_bytes"] > 10 * MIB and details["allocator_overhead_bytes"] < 0.1 * account["allocator_bytes"],
               "%s: nearly all of its part is explained: %s" % (library, details))
    else:
        expect(account["details"]["allocator_unread_bytes"] == account["allocator_bytes"], "mimalloc does not say: %s" % account["details"])
    service.quit()

# -- redis, which asks its jemalloc for its own report, and CPython -----------------------------------

redis = next((p for p in ("/usr/bin/redis-server", "/usr/local/bin/redis-server") if os.path.exists(p)), None)
if redis:
    port, folder = free_port(), scratch("snap")
    process = start([redis, "--port", str(port), "--save", "", "--bind", "127.0.0.1", "--dir", folder], stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL, env=shim_environment(folder))
    expect(wait_for_port(port, process), "redis should listen")
    with socket.create_connection(("127.0.0.1", port)) as connection:
        stream = connection.makefile("rb")

        def allocated():
            """As of redis's last look at its allocator, some times a second."""
            connection.sendall(b"info memory\r\n")
            answer = stream.read(int(stream.readline()[1:]) + 2).decode()
            return int((re.search(r"^allocator_allocated:(\d+)\r$", answer, re.MULTILINE) or [0, 0])[1])

        connection.sendall(b"".join(b"set key:%d %s\r\n" % (i, b"x" * 500) for i in range(20000)))
        for _ in range(20000):
            stream.readline()
        until = time.monotonic() + 30
        while allocated() < 10 * MIB and time.monotonic() < until:
            time.sleep(0.05)
        done = leakdiff("snap", process.pid, "-o", os.path.join(folder, "redis.snap"))
        expect(done.returncode == 0, "snap should succeed: %s" % done.stderr)
        account = parts("redis", Snapshot(done.stdout.strip()), process.pid)
        whole = arenas(account, "jemalloc-all")
        if whole:
            ours = of(whole, "used_bytes", "cached_bytes")
            expect(near(ours, allocated()) and ours > 10 * MIB, "redis says that %d bytes are allocated, the snapshot %d" % (allocated(), ours))
    stop(process)

PYTHON = """
import sys
kept = [[i, str(i), {i: i}] for i in range(30000)]
del kept[1::2]
print("ready", flush=True)
sys.stdin.readline()
sys._debugmallocstats()
"""
folder = scratch("snap")
process = start(["/usr/bin/python3", "-S", "-c", PYTHON], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                text=True, env=shim_environment(folder))
expect(process.stdout.readline().strip() == "ready", "python3 should begin")
done = leakdiff("snap", process.pid, "-o", os.path.join(folder, "python.snap"))
expect(done.returncode == 0, "snap should succeed: %s" % done.stderr)
account = parts("python3", Snapshot(done.stdout.strip()), process.pid)
_, stats = process.communicate("\n", timeout=60)
used = int(re.search(r"# bytes in allocated blocks\s+=\s+([\d,]+)", stats).group(1).replace(",", ""))
count, size = map(int, re.search(r"^(\d+) arenas \* (\d+) bytes/arena", stats, re.MULTILINE).groups())
expect(near(account["details"]["live_python_bytes"], used), "Python has %d bytes in use, the snapshot says %d" % (used, account["details"]["live_python_bytes"]))
expect(near(account["details"]["live_python_bytes"] + account["python_bytes"], count * size, 2 * MIB),
       "its arenas have %d bytes, the snapshot says %d in use and %d free" % (count * size, account["details"]["live_python_bytes"], account["python_bytes"]))
finish()
