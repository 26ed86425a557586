# SPDX-License-Identifier: Apache-2.0
"""What `leakdiff export` writes, read by readers of our own that know nothing of how it is written, and
compared stack by stack with the rows of `top --by site --json` and of the diff."""
import gzip
import json

KINDS = ("bytes", "count", "new-bytes", "new-count", "growth-bytes", "growth-count")
PPROF = {"inuse_space": "bytes", "inuse_objects": "count", "new_space": "new-bytes", "new_objects": "new-count",
         "growth_space": "growth-bytes", "growth_objects": "growth-count"}
SPEEDSCOPE = {"live bytes": ("bytes", 1), "live blocks": ("count", 1), "new bytes": ("new-bytes", 1),
              "new blocks": ("new-count", 1), "grown bytes": ("growth-bytes", 1), "grown blocks": ("growth-count", 1),
              "shrunk bytes": ("growth-bytes", -1), "shrunk blocks": ("growth-count", -1)}
NONE, CUT = "(no stack was recorded)", "(cut at the depth limit)"


# -- profile.proto, as https://github.com/google/pprof/blob/main/proto/profile.proto has it ------------

def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 0x7f) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            return value, at


def fields(data):
    """(number, value) of a message: an int, or bytes."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
        elif key & 7 == 2:
            length, at = varint(data, at)
            value, at = data[at:at + length], at + length
            if len(value) != length:
                raise ValueError("a field is longer than its message")
        else:
            raise ValueError("wire type %d" % (key & 7))
        yield key >> 3, value


def packed(data):
    result, at = [], 0
    while at < len(data):
        value, at = varint(data, at)
        result.append(value - (1 << 64) if value >= 1 << 63 else value)
    return result


def message(data):
    """A message whose fields occur once."""
    result = {}
    for number, value in fields(data):
        if number in result:
            raise ValueError("field %d occurs twice" % number)
        result[number] = value
    return result


def read_pprof(data):
    """{stack: {kind: value}}, stacks as tuples of (function, line, inlined), innermost first."""
    profile = {}
    for number, value in fields(gzip.decompress(data)):
        profile.setdefault(number, []).append(value)
    strings = [s.decode() for s in profile[6]]
    if strings[0] != "":
        raise ValueError("the first string is not empty")
    kinds = [PPROF[strings[message(t)[1]]] for t in profile[1]]
    units = [strings[message(t)[2]] for t in profile[1]]
    if units != ["bytes" if kind.endswith("bytes") else "count" for kind in kinds]:
        raise ValueError("units are %s" % units)
    if strings[profile[14][0]] not in PPROF:
        raise ValueError("the default sample type is %r" % strings[profile[14][0]])
    functions = {message(f)[1]: strings[message(f)[2]] for f in profile[5]}
    mappings = {message(m)[1] for m in profile.get(3, [])}
    locations = {}
    for location in profile[4]:
        lines, facts = [], {}
        for number, value in fields(location):
            if number == 4:
                lines.append(message(value))
            else:
                facts[number] = value
        if facts[2] and facts[2] not in mappings:
            raise ValueError("a location is in mapping %d, which is not there" % facts[2])
        locations[facts[1]] = [(functions[line[1]], line[2], i + 1 < len(lines)) for i, line in enumerate(lines)]
    if 0 in functions or 0 in locations or 0 in mappings:
        raise ValueError("an id is 0")
    stacks = {}
    for sample in profile[2]:
        parts = [(number, value) for number, value in fields(sample)]
        values = packed(next(v for n, v in parts if n == 2))
        stack = tuple(f for location in packed(next(v for n, v in parts if n == 1)) for f in locations[location])
        if len(values) != len(kinds):
            raise ValueError("%d values of %d kinds" % (len(values), len(kinds)))
        for n, label in parts:
            label = message(label) if n == 3 else None
            count, size = values[kinds.index("count")], values[kinds.index("bytes")]
            if label and (strings[label[1]] != "bytes" or count * label[3] != size):
                raise ValueError("a sample of %d x %d B has %d bytes" % (count, label[3], size))
        into = stacks.setdefault(stack, dict.fromkeys(kinds, 0))
        for kind, value in zip(kinds, values):
            into[kind] += value
    return stacks


# -- the others -------------------------------------------------------------------------------------

def read_collapsed(text):
    """{(frame, ...): value}, innermost first."""
    stacks = {}
    for line in text.splitlines():
        stack, value = line.rsplit(" ", 1)
        stack = tuple(reversed(stack.split(";")))
        stacks[stack] = stacks.get(stack, 0) + int(value)
    return stacks


def read_speedscope(text):
    """{kind: {stack: value}}, stacks as tuples of (function, line), innermost first."""
    answer = json.loads(text)
    frames = [(f["name"], f.get("line", 0)) for f in answer["shared"]["frames"]]
    if not 0 <= answer["activeProfileIndex"] < len(answer["profiles"]):
        raise ValueError("the active profile is none")
    kinds = {}
    for profile in answer["profiles"]:
        kind, sign = SPEEDSCOPE[profile["name"]]
        if profile["type"] != "sampled" or len(profile["samples"]) != len(profile["weights"]):
            raise ValueError("%s: %d samples, %d weights" % (kind, len(profile["samples"]), len(profile["weights"])))
        if sum(profile["weights"]) != profile["endValue"] - profile["startValue"] or min(profile["weights"], default=1) < 1:
            raise ValueError("%s: weights sum to %d, not %d" % (kind, sum(profile["weights"]), profile["endValue"]))
        into = kinds.setdefault(kind, {})
        for stack, weight in zip(profile["samples"], profile["weights"]):
            stack = tuple(frames[f] for f in reversed(stack))
            into[stack] = into.get(stack, 0) + sign * weight
    return kinds


# -- what they should say --------------------------------------------------------------------------

def stack_of(row):
    """As an export has it: a frame without a function is named by its module."""
    return tuple((f["function"] or f["module"] or "(unknown)", f["line"] or 0) for f in row["stack"]) or ((NONE, 0),)


def without_cut(stack):
    return stack[:-1] if stack[-1][0] == CUT else stack


def by_stack(rows, values):
    result = {}
    for row in rows:
        into = result.setdefault(stack_of(row), dict.fromkeys(KINDS, 0))
        for kind, value in values(row).items():
            into[kind] += value
    return result


def of_top(row):
    return {"bytes": row["bytes"], "count": row["count"]}


def of_growth(row):
    return {"bytes": row["bytes"][-1], "count": row["count"][-1], "new-bytes": row["new_bytes"],
            "new-count": row["new_count"], "growth-bytes": row["bytes"][-1] - row["bytes"][0],
            "growth-count": row["count"][-1] - row["count"][0]}


def compared(what, got, wanted):
    if got == wanted:
        return []
    missing = [(k, v) for k, v in wanted.items() if got.get(k) != v][:1]
    return ["%s: sums to %d, should be %d; first difference %s, got %s" % (
        what, sum(got.values()), sum(wanted.values()), missing, [got.get(k) for k, _ in missing])]


def check(export, rows, values, kinds):
    """export(*words) -> bytes. Returns sentences about what is not so."""
    errors, wanted = [], by_stack(rows, values)

    def column(kind, stacks=wanted):
        return {stack: row[kind] for stack, row in stacks.items() if row[kind]}
    try:
        merged = {}
        for stack, row in read_pprof(export("--format", "pprof")).items():
            into = merged.setdefault(without_cut(tuple((f, line) for f, line, _ in stack)), dict.fromkeys(kinds, 0))
            for kind in kinds:
                into[kind] += row[kind]
        for kind in kinds:
            errors += compared("pprof %s" % kind, column(kind, merged), column(kind))
        scope = read_speedscope(export("--format", "speedscope").decode())
        for kind in kinds:
            got = {}
            for stack, value in scope.get(kind, {}).items():
                got[without_cut(stack)] = got.get(without_cut(stack), 0) + value
            errors += compared("speedscope %s" % kind, got, column(kind))
        for kind in kinds:
            text = export("--format", "collapsed", "--value", kind).decode()
            got = read_collapsed(text)
            if sum(got.values()) != sum(column(kind).values()):
                errors.append("collapsed %s: sums to %d, should be %d" % (kind, sum(got.values()), sum(column(kind).values())))
            # functions without file and line: a frame's text begins with its function
            begins = {tuple(f.replace(";", ",") for f, _ in stack): 0 for stack in column(kind)}
            for stack in got:
                stack = stack[:-1] if stack[-1] == CUT else stack
                if not any(len(b) == len(stack) and all(x.startswith(y) for x, y in zip(stack, b)) for b in begins):
                    errors.append("collapsed %s: the stack %s is none of the table's" % (kind, stack))
                    break
        found = json.loads(export("--format", "json"))["rows"]
        if sorted(map(json.dumps, found)) != sorted(map(json.dumps, rows)):
            errors.append("json: its %d rows are not those of the table" % len(found))
    except (ValueError, KeyError, IndexError, EOFError, OSError) as e:
        errors.append("%s: %s" % (type(e).__name__, e))
    return errors
