# SPDX-License-Identifier: Apache-2.0
"""LEAKDIFF_BUDGET in mode lite: the interval between two stacks grows when stacks cost more than they may and shrinks
when there is room; each sampled block is un-biased by the interval that it was sampled with, so that the sums by site
stay within the stated error, also of blocks that came with different intervals."""
import struct

from service import *  # noqa: F403

SAMPLED = os.path.join(BUILD, "shim", "shim_sampled")
DEFAULT = 512 << 10
TIMED_EVENTS_AT = 64 + 14 * 8  # asserted in preload/ring.h


def status(pid):
    done = leakdiff("status", pid, "--json")
    return json.loads(done.stdout) if expect(done.returncode == 0, "status should answer: %s" % done.stderr) else {}


def timed_events(pid):
    """In the rings of a process: events whose time was taken for the budget, and all (struct ring in preload/ring.h)."""
    with open("/proc/%d/maps" % pid) as f:
        path = next(line.split(None, 5)[5].strip() for line in f if line.rstrip().endswith("/%d.ring" % pid))
    with open(path, "rb") as f:
        data = f.read()
    count, size = struct.unpack_from("<2I", data, 20)
    rings = [data[4096 + size * i:][:4096] for i in range(count)]
    return tuple(sum(struct.unpack_from("<Q", ring, at)[0] for ring in rings) for at in (TIMED_EVENTS_AT, 64))


def run_on(budget, there, seconds=60):
    """A busy program under a budget until its interval is where it should get to; what it holds, what is said of it."""
    service = Service(SAMPLED, LEAKDIFF_MODE="lite", LEAKDIFF_BUDGET=budget)
    end = time.monotonic() + seconds
    said = status(service.pid)
    while not (there(said["interval_bytes"]) and said["budget_spent"]) and time.monotonic() < end:
        time.sleep(0.1)
        said = status(service.pid)
    expect(there(said["interval_bytes"]), "budget %s: the interval is %d after %d s" % (budget, said["interval_bytes"], seconds))
    expect(said["mode"] == "lite" and abs(said["budget"] * 100 - float(budget[:-1])) < 1e-9 and said["budget_spent"] > 0,
           "budget %s: status tells %s" % (budget, said))
    time.sleep(0.3)
    words = service.ask("rest").split()
    timed, events = timed_events(service.pid)
    expect(events >= timed > events / (64 * 8) > 0, "budget %s: of %d events one in 64 of the allocations should be timed: %d are" % (budget, events, timed))
    truth = {"take_small": (int(words[1]), int(words[2])), "take_large": (int(words[4]), int(words[5]))}
    text = leakdiff("status", service.pid).stdout
    expect("stacks         of one block in" in text and "budget         %s of the processor time" % budget in text, "status says so: %s" % text)
    snapshot = service.snap()
    service.process.stdin.close()
    expect(service.process.wait(60) == 9, "the program ends with its own status")
    expect(int(snapshot.meta["interval_bytes"]) > 0 and snapshot.meta["budget_ppm"] == "%d" % round(float(budget[:-1]) * 1e4)
           and int(snapshot.meta["budget_spent_ppm"]) > 0, "the snapshot holds the interval and the budget: %s" % snapshot.meta)
    exact = snapshot.number("select count(*) from nodes where size between 100 and 2099 or size = 5000")
    expect(exact >= truth["take_small"][0] + truth["take_large"][0], "every block is there, sampled or not: %d" % exact)
    return truth, snapshot, said


# Next to nothing may be spent: fewer stacks.
truth, snapshot, said = run_on("0.01%", lambda interval: interval > DEFAULT)
print("0.01%%: a stack for %d bytes" % int(snapshot.meta["interval_bytes"]))
expect(snapshot.number("select coalesce(sum(samples), 0) from estimates") < truth["take_small"][0] / 10, "few blocks have a stack")

# Much may be spent: more stacks. What lives came with several intervals.
truth, snapshot, said = run_on("90%", lambda interval: interval < DEFAULT / 8)
for site, (count, size) in truth.items():
    rows = snapshot.rows("select samples, count, bytes, error_bytes from v_estimates where stack_text like '%s %%'" % site)
    if not expect(len(rows) == 1, "%s should be one site: %s" % (site, rows)):
        continue
    samples, estimated, estimated_bytes, error = map(int, rows[0])
    print("90%%: %s: %d blocks, %d bytes; of %d samples estimated: %d blocks, %d bytes +- %d"
          % (site, count, size, samples, estimated, estimated_bytes, error))
    expect(samples > 100 and 0 < error < size / 4, "%s: the error is stated: %d of %d" % (site, error, size))
    expect(abs(estimated_bytes - size) < 5 * error, "%s: %d bytes estimated, %d are right, %d is the error" % (site, estimated_bytes, size, error))

# The comparison by site and the page show them, too.
text = leakdiff(snapshot.path, snapshot.path, "--by", "site").stdout
page = os.path.join(scratch("page"), "page.html")
leakdiff("report", snapshot.path, snapshot.path, "-o", page)
with open(page, encoding="utf-8") as f:
    html = f.read()
expect("estimated by site" not in leakdiff(snapshot.path, snapshot.path).stdout, "rows by type have no estimates")
for site in truth:
    row = re.search(r"^ +0 B +([\d.]+ \w+) +([\d.]+ \w+) +\2 +[\d.]+ \w+ +[\d ]+ +%s" % site, text.split("estimated by site")[-1], re.M)
    expect(row, "%s is estimated by site, with its error: %s" % (site, text))
    expect(site in html.split("Estimated by site")[-1].split("</section>")[0], "%s is estimated in the page" % site)

# It is of that mode alone, and a full one says so in one line.
service = Service(LEAKDIFF_BUDGET="1%")
expect("budget" not in leakdiff("status", service.pid).stdout and status(service.pid)["budget"] is None, "mode full has no budget")
expect("budget_ppm" not in service.snap().meta, "nor has its snapshot")
said = service.quit()
expect(said.count("\n") == 1 and "LEAKDIFF_BUDGET is of mode lite" in said, "one line says so: %r" % said)

# leakdiff run --budget is mode lite; without a percentage it is a wrong word.
folder = scratch("run")
program = start([COMMAND, "run", "-o", folder, "--budget", "2.5%", "--", SAMPLED], env=clean_environment(), stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, text=True)
expect(program.stdout.readline() == "ready\n", "the program begins")
said = status(program.pid)
expect(said["mode"] == "lite" and said["budget"] == 0.025, "run --budget: %s" % said)
program.communicate("rest\n", 60)
expect(leakdiff("run", "--budget", "5", "--", "true").returncode == 64, "--budget takes a percentage")
finish()
