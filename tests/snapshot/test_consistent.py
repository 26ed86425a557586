# SPDX-License-Identifier: Apache-2.0
"""Snapshots of eight threads that replace blocks as fast as they can. Every slot of the ledger points at
a live block at every instruction, and a thread has at most one block beside its slots: so must it be
in every snapshot, or events and memory are not of one moment."""
from service import *  # noqa: F403

if not MODE.live_table:
    does_not_apply("jemalloc's profile has neither addresses nor references, and no thread is stopped for it")
THREADS, SLOTS, SIZE = 8, 500, 3001
LEDGER = "root in (select id from roots where name = 'g_ledger')"

service = Service()
service.ask("churn %d" % THREADS)
births = {}
for turn in range(6):
    time.sleep(0.1)
    snapshot = service.snap()
    what = "snapshot %d: " % turn
    expect(snapshot.consistent and snapshot.meta["lost_events"] == "0" and snapshot.meta["anomalies"] == "0",
           what + "should be consistent, nothing lost: %s %s" % (snapshot.meta["lost_events"], snapshot.meta["anomalies"]))
    live = snapshot.number("select count(*) from nodes where size = %d" % SIZE)
    expect(THREADS * SLOTS <= live <= THREADS * (SLOTS + 1), what + "%d blocks live, %d slots" % (live, THREADS * SLOTS))
    held = snapshot.number("select count(distinct e.dst) from edges e join nodes n on n.id = e.dst where n.size = %d and e.%s and not e.interior"
                           % (SIZE, LEDGER))
    expect(held == THREADS * SLOTS, what + "%d blocks are held by slots, not %d" % (held, THREADS * SLOTS))
    slots = snapshot.number("select count(*) from edges e where e.%s" % LEDGER)
    expect(slots == THREADS * SLOTS, what + "%d slots point at a block, not %d" % (slots, THREADS * SLOTS))
    same = 0
    for addr, birth in snapshot.rows("select addr, birth from nodes where size = %d" % SIZE):
        same += births.get(addr) == birth
        births[addr] = birth
    expect(turn == 0 or same < THREADS * SLOTS / 2, what + "blocks at old addresses are new ones: %d look old" % same)
service.quit()

# Threads that never enter the kernel are stopped too, and their registers are read.
service = Service()
service.ask("spin 3")
service.ask("masked 3")
snapshot = service.snap()
for _ in range(20):			# a thread that was just made may not have run yet
    if snapshot.number("select count(distinct tid) from v_tracebacks where function in ('spin', 'wait_for_ever')") == 6:
        break
    snapshot = service.snap()
expect(snapshot.consistent and snapshot.meta["thread_count"] == "7", "seven threads: %s" % snapshot.meta["thread_count"])
spinning = snapshot.number("select count(*) from v_tracebacks where depth = 0 and function = 'spin'")
expect(spinning == 3, "three threads should be seen in spin(), not %d" % spinning)
waiting = snapshot.number("select count(distinct tid) from v_tracebacks where function = 'wait_for_ever'")
expect(waiting == 3, "three threads should be seen in wait_for_ever(), not %d" % waiting)
service.quit()

# A stack in a block of the heap is a root from its stack pointer on.
service = Service()
service.ask("altstack")
time.sleep(0.2)
snapshot = service.snap()
held = snapshot.number("select count(*) from edges e join nodes n on n.id = e.dst join roots r on r.id = e.root"
                       " where n.size = 4321 and r.kind = 'stack'")
expect(held >= 1, "what only a coroutine's stack knows is held by that stack")
service.quit()

# Where nothing may stop the threads the snapshot is taken all the same, and says what it is worth.
service = Service(LEAKDIFF_STOP="none")
service.ask("churn 2")
snapshot = service.snap()
expect(not snapshot.consistent and "ran on" in snapshot.notes(), "threads that ran on should be confessed: %r" % snapshot.notes())
expect("NOT consistent" in snapshot.said, "snap should say it: %r" % snapshot.said)
service.quit()
finish()
