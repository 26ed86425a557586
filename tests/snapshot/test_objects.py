# SPDX-License-Identifier: Apache-2.0
"""C++ classes by their vtables: with symbols, stripped, and nothing that only looks like one."""
from service import *  # noqa: F403

PROGRAM = os.path.join(BUILD, "shim", "shim_snap_objects")
WANTED = {"shop::Book": 11, "shop::Box<std::string>": 7,
          "(anonymous namespace)::Hidden": 5, "main::Local": 3, "shop::Both": 1}


def classes(program, what):
    service = Service(program)
    snapshot = service.snap()
    rows = dict(snapshot.rows("select t.name, count(*) from nodes n join types t on t.name = n.type where t.source = 3 group by t.name"))
    for name, count in WANTED.items():
        found = [int(n) for other, n in rows.items() if other == name]
        expect(found == [count], what + ": %d objects of %s, not %s in %s" % (count, name, found, rows))
    fakes = snapshot.rows("select distinct n.type from nodes n join types t on t.name = n.type where n.size = 777 and t.source = 3")
    expect(fakes == [], what + ": a block that only looks like an object should have no class: %s" % fakes)
    held = snapshot.number("select count(*) from edges e join roots r on r.id = e.root where r.name = 'g_second' and e.interior")
    expect(held == 1, what + ": a pointer to a second base is an interior reference")
    service.quit()


classes(PROGRAM, "with symbols")
if shutil.which("strip"):
    stripped = os.path.join(scratch("strip"), "stripped")
    if run(["strip", "-s", "-o", stripped, PROGRAM]).returncode == 0:
        service = Service(stripped)
        snapshot = service.snap()
        rows = dict(snapshot.rows("select t.name, count(*) from nodes n join types t on t.name = n.type where t.source = 3 group by t.name"))
        for name, count in WANTED.items():
            expect(rows.get(name) == str(count), "stripped: %d objects of %s: %s" % (count, name, rows))
        service.quit()
finish()
