# SPDX-License-Identifier: Apache-2.0
"""What `leakdiff ... --json` promises, checked key by key.

A schema is a type, None, a tuple of allowed values or schemas, a list [schema of each item], or a
dict of keys; a key may be added to an object, none may be missing. Each check_*() returns sentences
about what is not so; the empty list means that the answer keeps every promise."""
import re

NUMBER = "number"           # int or float, not bool
COUNT = "count"             # int >= 0
DELTA = "delta"             # int
HEX = re.compile(r"^0x[0-9a-f]+$")
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$")

# Code without debug information has no file and no line; code outside of any module not even a name.
FRAME = {"function": (str, None), "file": (str, None), "line": (COUNT, None), "module": (str, None),
         "language": (str, None)}
SITE = {"count": COUNT, "bytes": COUNT, "truncated": bool, "stack": [FRAME]}
STEP = {"type": str, "name": (str, None), "size": (COUNT, None), "count": COUNT, "edge": (str, None)}
HOLDER = {"kind": ("'global'", "'stack'", "'tls'", "'register'", "'python-module'", "'python-frame'",
                   "'python-c'", "'mapping'", "'none'"),
          "name": (str, None), "type": (str, None), "module": (str, None), "thread": (str, None)}
SUSPECT = {"rank": COUNT,
           "verdict": ("'unreachable'", "'growing'", "'warming'", "'stable'", "'allocator'"),
           "confidence": ("'certain'", "'likely'", "'possible'"), "reason": str, "type": str,
           "count": COUNT, "bytes": COUNT, "retained_bytes": COUNT, "sites": [SITE], "holder": HOLDER,
           "accumulates_in": ({"type": str, "name": (str, None), "children": COUNT}, None),
           "chain": [STEP], "cycle": ([STEP], None)}
SNAPSHOT = {"path": str, "pid": COUNT, "command": str, "taken": TIME, "uptime_s": NUMBER,
            "mode": ("'full'", "'lite'", "'sample'"), "pause_ms": NUMBER, "blocks": COUNT, "bytes": COUNT,
            "mappings": COUNT, "mapped_bytes": COUNT, "objects": COUNT, "object_bytes": COUNT,
            "rss_bytes": COUNT, "lost_events": COUNT, "consistent": bool, "python": (str, None),
            "gc_enabled": (bool, None), "notes": [str]}
SOURCE = ("'python'", "'rtti'", "'dwarf'", "'site'", "'kind'")
STATE = ("'referenced'", "'unreachable'", "'mixed'")
GROWTH = {"type": str, "type_source": SOURCE, "size": (COUNT, None), "count": [COUNT], "bytes": [COUNT],
          "new_count": COUNT, "new_bytes": COUNT, "state": STATE}
ACCOUNT = {"live_bytes": COUNT, "allocator_bytes": COUNT, "python_bytes": COUNT, "stacks_bytes": COUNT,
           "files_bytes": COUNT, "leakdiff_bytes": COUNT, "other_bytes": COUNT, "total_bytes": COUNT}
DIFF = {"schema": ("1",), "snapshots": [SNAPSHOT], "growth": [GROWTH], "suspects": [SUSPECT], "rss": [ACCOUNT]}
GROWN = {key: DELTA for key in ACCOUNT}
RSS = {"schema": ("1",), "snapshots": [SNAPSHOT], "rss": [ACCOUNT], "growth": (GROWN, None),
       "others_share_bytes": [COUNT], "swapped_bytes": [COUNT], "notes": [str]}
LEAK = {"type": str, "size": (COUNT, None), "count": COUNT, "bytes": COUNT, "direct": bool,
        "confidence": ("'certain'", "'likely'", "'possible'"), "reason": str, "truncated": bool, "stack": [FRAME]}
LEAKS = {"schema": ("1",), "notes": [str], "leaks": [LEAK]}
TOP = {"schema": ("1",), "rows": [{"type": str, "type_source": SOURCE, "size": (COUNT, None), "count": COUNT,
                                   "bytes": COUNT, "retained_bytes": (COUNT, None), "state": STATE}]}
CHAIN = {"schema": ("1",), "chains": [{"addr": HEX, "type": str, "size": (COUNT, None),
                                       "state": ("'referenced'", "'unreachable'"), "holder": HOLDER,
                                       "chain": [STEP]}]}


def _fits(value, schema, path):
    if schema is None:
        return [] if value is None else ["%s is %r, not null" % (path, value)]
    if isinstance(schema, tuple):
        for choice in schema:
            if isinstance(choice, str) and choice[0] in "'0123456789":
                if repr(value) == choice:
                    return []
            elif not _fits(value, choice, path):
                return []
        if len(schema) == 2 and schema[1] is None and value is not None:
            return _fits(value, schema[0], path)        # say what is wrong inside
        return ["%s is %r" % (path, value)]
    if isinstance(schema, list):
        if not isinstance(value, list):
            return ["%s is %r, not an array" % (path, value)]
        return [e for i, item in enumerate(value) for e in _fits(item, schema[0], "%s[%d]" % (path, i))]
    if isinstance(schema, dict):
        if not isinstance(value, dict):
            return ["%s is %r, not an object" % (path, value)]
        errors = ["%s has no key %s" % (path, key) for key in schema if key not in value]
        return errors + [e for key in schema if key in value
                         for e in _fits(value[key], schema[key], "%s.%s" % (path, key))]
    if schema == DELTA:
        good = isinstance(value, int) and not isinstance(value, bool)
    elif isinstance(schema, re.Pattern):
        good = isinstance(value, str) and schema.match(value)
    elif schema == NUMBER:
        good = isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0
    elif schema == COUNT:
        good = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    else:
        good = isinstance(value, schema)
    return [] if good else ["%s is %r" % (path, value)]


def _check_accounts(answer):
    errors = []
    for i, account in enumerate(answer["rss"]):
        parts = sum(v for k, v in account.items() if k.endswith("_bytes") and k != "total_bytes")
        if parts != account["total_bytes"]:
            errors.append("rss[%d]: the parts sum to %d, the total is %d" % (i, parts, account["total_bytes"]))
        if account["total_bytes"] != answer["snapshots"][i]["rss_bytes"]:
            errors.append("rss[%d]: total %d, the snapshot says RSS %d"
                          % (i, account["total_bytes"], answer["snapshots"][i]["rss_bytes"]))
    return errors


def check_rss(answer, diff):
    """The account of the same snapshots as the diff's, alone, with its growth."""
    errors = _fits(answer, RSS, "rss")
    if errors:
        return errors
    errors = _check_accounts(answer)
    if answer["rss"] != diff["rss"]:
        errors.append("the accounts are %s, the diff has %s" % (answer["rss"], diff["rss"]))
    first, last, growth = answer["rss"][0], answer["rss"][-1], dict(answer["growth"])
    details = growth.pop("details", {})
    grown = {key: last[key] - first[key] for key in growth}
    if growth != grown or not set(ACCOUNT) <= set(growth):
        errors.append("growth is %s, not %s" % (growth, grown))
    grown = {key: last["details"][key] - first["details"][key] for key in details}
    if details != grown:
        errors.append("growth's details are %s, not %s" % (details, grown))
    return errors


def check_diff(diff, snapshots=2, by_site=False):
    errors = _fits(diff, DIFF, "diff")
    if errors:
        return errors
    shots, rows = diff["snapshots"], diff["growth"]
    if len(shots) != snapshots or len(diff["rss"]) != snapshots:
        return ["%d snapshots and %d accounts, expected %d" % (len(shots), len(diff["rss"]), snapshots)]

    errors += _check_accounts(diff)

    for row in rows:
        what = "row %s size %s" % (row["type"], row["size"])
        if len(row["count"]) != snapshots or len(row["bytes"]) != snapshots:
            errors.append("%s: not one entry per snapshot" % what)
            continue
        if row["size"] is not None and any(b != c * row["size"] for b, c in zip(row["bytes"], row["count"])):
            errors.append("%s: bytes are not count x size" % what)
        if row["new_count"] > row["count"][-1] or row["new_bytes"] > row["bytes"][-1]:
            errors.append("%s: more is new than there is" % what)
        if by_site and _fits(row.get("stack"), [FRAME], "stack"):
            errors.append("%s: %s" % (what, _fits(row.get("stack"), [FRAME], "stack")[0]))
    for i, shot in enumerate(shots):
        # With an interpreter its objects lie inside blocks and mappings: one of the two is counted.
        if shot["python"] is None:
            count, size = sum(r["count"][i] for r in rows), sum(r["bytes"][i] for r in rows)
            if count != shot["blocks"] + shot["mappings"]:
                errors.append("snapshot %d: rows hold %d things, the snapshot %d blocks and %d mappings"
                              % (i, count, shot["blocks"], shot["mappings"]))
            if size != shot["bytes"] + shot["mapped_bytes"]:
                errors.append("snapshot %d: rows hold %d bytes, the snapshot %d and %d mapped"
                              % (i, size, shot["bytes"], shot["mapped_bytes"]))
    if sum(r["new_count"] for r in rows) < sum(r["count"][-1] - r["count"][0] for r in rows):
        errors.append("fewer blocks are new (%d) than came to be (%d)" % (
            sum(r["new_count"] for r in rows), sum(r["count"][-1] - r["count"][0] for r in rows)))
    grown = [r["bytes"][-1] - r["bytes"][0] for r in rows]
    if grown != sorted(grown, reverse=True):
        errors.append("rows are not sorted by growth in bytes")

    if [s["rank"] for s in diff["suspects"]] != list(range(1, len(diff["suspects"]) + 1)):
        errors.append("ranks are %s" % [s["rank"] for s in diff["suspects"]])
    for s in diff["suspects"]:
        what = "suspect %d" % s["rank"]
        if s["retained_bytes"] < s["bytes"] and s["verdict"] != "allocator":
            errors.append("%s retains %d, less than its own %d" % (what, s["retained_bytes"], s["bytes"]))
        if s["verdict"] == "allocator":
            if (s["type"], s["count"], s["holder"]["kind"]) != ("allocator", 0, "none"):
                errors.append("%s: an allocator's suspect has type %s, count %d, holder %s"
                              % (what, s["type"], s["count"], s["holder"]["kind"]))
            continue
        if sum(x["count"] for x in s["sites"]) != s["count"] or sum(x["bytes"] for x in s["sites"]) != s["bytes"]:
            errors.append("%s: its sites sum to %d and %d bytes, itself %d and %d" % (
                what, sum(x["count"] for x in s["sites"]), sum(x["bytes"] for x in s["sites"]),
                s["count"], s["bytes"]))
        if s["verdict"] == "unreachable" and s["holder"]["kind"] != "none":
            errors.append("%s is unreachable and held by %s" % (what, s["holder"]))
        if s["verdict"] == "unreachable" and "reference" not in s["reason"]:
            errors.append("%s: the reason does not say that no reference was found: %s" % (what, s["reason"]))
        if s["verdict"] in ("growing", "warming", "stable") and not s["chain"]:
            errors.append("%s has no chain" % what)
        if len(s["chain"]) > 64:
            errors.append("%s: a chain of %d" % (what, len(s["chain"])))
    return errors


def check_leaks(answer):
    return _fits(answer, LEAKS, "leaks")


def check_top(answer):
    return _fits(answer, TOP, "top")


def check_chain(answer):
    return _fits(answer, CHAIN, "chain")
