# SPDX-License-Identifier: Apache-2.0
"""sqlite3 under the shim runs a script of a million rows: same output, same database file."""
import hashlib
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from support import *  # noqa: E402,F403

need("sqlite3")
SCRIPT = """
PRAGMA journal_mode=off; PRAGMA synchronous=off; PRAGMA cache_size=-65536; PRAGMA temp_store=memory;
CREATE TABLE event(id INTEGER PRIMARY KEY, site INTEGER, bytes INTEGER, name TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000)
INSERT INTO event SELECT i, (i * 7919) % 997, (i * 104729) % 65536, 'event ' || ((i * 31) % 5003) FROM n;
CREATE INDEX event_site ON event(site, bytes);
SELECT count(*), sum(bytes), min(name), max(name) FROM event;
SELECT site, count(*), sum(bytes) FROM event GROUP BY site ORDER BY 3 DESC, 1 LIMIT 20;
SELECT name, count(*) FROM event GROUP BY name ORDER BY count(*) DESC, name LIMIT 10;
SELECT a.site, count(*) FROM event a JOIN event b ON b.site = a.site AND b.bytes = a.bytes
 WHERE a.id < 20000 GROUP BY a.site ORDER BY 2 DESC, 1 LIMIT 5;
DELETE FROM event WHERE id % 3 = 0;
UPDATE event SET name = upper(name) WHERE id % 5 = 0;
SELECT count(*), sum(length(name)), group_concat(id) FROM (SELECT * FROM event ORDER BY bytes, id LIMIT 500);
PRAGMA integrity_check;
"""


def session(env, folder, shimmed):
    database = os.path.join(folder, "million.db")
    if os.path.exists(database):
        os.unlink(database)
    script = os.path.join(folder, "script.sql")
    with open(script, "w") as f:
        f.write(SCRIPT)
    with open(script) as f:
        done = run(["sqlite3", "-batch", database], 120, env=env, stdin=f)
    if shimmed:
        silent_about_itself("sqlite3", done.stderr)
    with open(database, "rb") as f:
        digest = hashlib.sha256(f.read()).hexdigest()
    return done.returncode, done.stdout, digest


plain = session(clean_environment(), scratch("sqlite"), False)
expect(plain[0] == 0 and plain[1].rstrip().endswith("ok"), "sqlite3 without the shim: status %s, %r" % (plain[0], plain[1][-40:]))
captures, folder = scratch("ld"), scratch("sqlite")
ENV = shim_environment(captures)


def work():
    status, output, digest = session(ENV, folder, True)
    expect(status == plain[0], "sqlite3: status %s without the shim, %s with it" % (plain[0], status))
    expect(output == plain[1], "sqlite3: output differs: ...%r without the shim, ...%r with it" % (plain[1][-200:], output[-200:]))
    expect(digest == plain[2], "sqlite3: the database file differs from the one that was made without the shim")


while_snapping("sqlite3", work, captures)
finish()
