# SPDX-License-Identifier: Apache-2.0
"""What costs nothing costs nothing: a reservation of 100 GiB. Five hundred threads. The pause against a
bare fork of the same process."""
from service import *  # noqa: F403

service = Service()
service.ask("reserve 100")
begin = time.monotonic()
snapshot = service.snap()
took = time.monotonic() - begin
expect(took < 10, "a reserved mapping of 100 GiB should cost nothing: %.1f s" % took)
for size in (5001, 5002, 5003):
    held = snapshot.number("select count(*) from edges e join nodes n on n.id = e.dst join nodes m on m.id = e.src"
                           " where n.size = %d and m.size = %d" % (size, 100 << 30))
    expect(held == 1, "the mapping should hold the block of %d bytes" % size)
expect(snapshot.number("select count(*) from maps where kind = 'program' and end - start >= %d" % (100 << 30)) == 1,
       "the reservation should be the program's own mapping")
service.quit()

# Memory that is hard to read: the snapshot is taken, finds what can be found, and counts the rest.
service = Service()
service.ask("shared")
snapshot = service.snap()


def holders(size):
    return snapshot.rows("select coalesce(r.kind, 'node') from edges e join nodes n on n.id = e.dst left join roots r on r.id = e.root where n.size = %d" % size)


for size, kinds in ((6001, ("mapping",)), (6002, ("mapping",)), (6004, ("node",)), (6005, ("node",))):
    expect(any(kind[0] in kinds for kind in holders(size)), "the block of %d bytes should be held by a %s: %s" % (size, kinds, holders(size)))
expect(not any(kind[0] == "node" for kind in holders(6003)), "what is kept out of forks cannot be read")
expect("out of forks" in snapshot.notes(), "and the snapshot says so: %r" % snapshot.notes())
expect(snapshot.consistent and service.ask("children") == "ECHILD 0", "otherwise all is well")
service.quit()

service = Service()
service.ask("threads 500")
time.sleep(0.3)
snapshot = service.snap()
expect(snapshot.consistent and snapshot.meta["thread_count"] == "501", "501 threads should be stopped: %s" % snapshot.meta["thread_count"])
expect(snapshot.pause_ms < 1000, "500 threads should not make a pause of %.0f ms" % snapshot.pause_ms)
print("500 threads: pause %.1f ms, stop %.1f ms" % (snapshot.pause_ms, float(snapshot.meta["stop_ns"]) / 1e6))
named = snapshot.number("select count(distinct tid) from v_tracebacks where function = 'wait_for_ever'")
expect(named == 500, "500 tracebacks should lead to wait_for_ever(), not %d" % named)
expect(service.ask("children") == "ECHILD 0", "nothing should be seen")
service.quit()

# The child's own memory: of what it needs for each block, little is kept.
service = Service()
service.ask("heap 300000")
snapshot = service.snap()
peak = int(snapshot.meta["child_peak_bytes"])
print("300000 blocks of 64 bytes: the child has %.1f MB, %.1f bytes a block" % (peak / 1e6, peak / 3e5))
expect(peak < 300000 * 20 + (6 << 20), "the child should need less than 20 bytes a block and 6 MiB: %d" % peak)
BORN = "select count(*) from nodes where size = 64 and birth > 0 and thread = %d" % service.pid
expect(snapshot.number(BORN) == 300000, "each block should have its birth and thread")
known = snapshot.number(BORN + " and stack is not null")
expect(known == 300000 if MODE.every_stack else known > 0 or MODE.budget_ppm, "and its stack, or a sample its: %d" % known)
service.quit()

service = Service()
service.ask("touch 512")
forks, pauses = [], []
for taken in range(40):			# the best of each: what else runs here only ever adds
    forks.append(int(service.ask("fork")) / 1e6)
    pauses.append(service.snap().pause_ms)
    if taken >= 6 and min(pauses) <= min(forks) * 1.25 + 2:
        break
fork, pause = min(forks), min(pauses)
print("512 MiB: pause %.2f ms, bare fork %.2f ms" % (pause, fork))
expect(pause <= fork * 1.25 + 2, "the pause should be at most 1.25 x a bare fork + 2 ms: %.2f ms, fork %.2f ms" % (pause, fork))
done = leakdiff("snap", service.pid, "--max-pause", "1ms")
expect(done.returncode == 2 and "limit" in done.stderr and not done.stdout, "a pause above the limit should be refused: %r" % done.stderr)
snapshot = service.snap()
total = snapshot.number("select sum(rss_bytes) from maps")
expect(abs(total - int(snapshot.meta["rss_bytes"])) < 4096, "the mappings' resident bytes should sum to the whole")
live = snapshot.number("select sum(live_resident_bytes) from maps")
expect(live >= 512 << 20, "512 MiB of live blocks are resident: %d" % live)
service.quit()
finish()
