# SPDX-License-Identifier: Apache-2.0
"""Runs inside the interpreter under test: makes objects of every shape, dumps the graph, and compares
it with what gc and sys say. Prints one line per expectation that does not hold, then a summary.

    python inside.py DUMP_LIBRARY OUTPUT [freeze] [paste]

With "paste" the words of every edge are written behind their object and evaluated: the target must come out.
"""
import array
import ast
import collections
import contextvars
import ctypes
import functools
import gc
import os
import sys
import threading

LABELS = ("OFFSET ATTR KEY INDEX LOCAL CELL DICT_KEY CACHE_KEY CACHE_RESULT NAMED OWNS CAPSULE").split()
failures = []
held = 0


def expect(condition, sentence):
    global held
    if condition:
        held += 1
    else:
        failures.append(sentence)
        if len(failures) <= 40:
            print("NOT SO: " + sentence)


class Graph:
    def __init__(self, path):
        self.objects, self.edges, self.buffers, self.roots, self.facts = {}, {}, {}, [], {}
        self.owners, self.caches = {}, {}
        with open(path, encoding="utf-8", errors="replace", newline="\n") as f:
            for line in f:
                parts = line.rstrip("\n").split("\t")
                kind = parts[0]
                if kind == "O":
                    self.objects[int(parts[1])] = (int(parts[2]), int(parts[3]), int(parts[4]), parts[5])
                elif kind == "E":
                    self.edges.setdefault(int(parts[1]), []).append(
                        (LABELS[int(parts[2])], int(parts[3]), parts[4], int(parts[5]), parts[6] == "1"))
                elif kind == "B":
                    self.buffers.setdefault(int(parts[1]), []).append((int(parts[2]), parts[3] == "1"))
                elif kind == "R":
                    self.roots.append((int(parts[1]), int(parts[2]), parts[3], []))
                elif kind == "r" and parts[5] == "1":
                    self.roots[-1][3].append((LABELS[int(parts[1])], int(parts[2]), parts[3], int(parts[4])))
                elif kind == "L":
                    self.caches[int(parts[1])] = tuple(map(int, parts[2:]))
                elif kind == "F":
                    self.facts[parts[1]] = parts[2]

    def targets(self, address):
        """What the object refers to: through folded dicts, closures and cache entries, and what a
        folded dict holds, which is shown as its owner's."""
        if not self.owners:
            for source, edges in self.edges.items():
                self.owners.update((e[3], source) for e in edges if e[0] == "OWNS")
        found = set()
        if address in self.owners:
            address = self.owners[address]
        for label, _, text, target, is_object in self.edges.get(address, ()):
            if is_object:
                found.add(target)
                if label == "OWNS" or (label == "NAMED" and text == "module"):
                    found.update(t for _, _, _, t, o in self.edges.get(target, ()) if o)
        return found

    def labels(self, source, target):
        return sorted((label, text or value) for label, value, text, t, _ in self.edges.get(id(source), ())
                      if t == id(target))


class Plain:
    def __init__(self):
        self.first = "a text that is not interned %d" % os.getpid()
        self.second = ["x", 1.5]


class Slots:
    __slots__ = ("left", "right", "__weakref__")


class Child(Slots):
    pass


class MyDict(dict):
    pass


class MyList(list):
    __slots__ = ("extra",)


class MyTuple(tuple):
    pass


class MyStr(str):
    pass


class PySize:
    def __sizeof__(self):
        return 12345


class Meta(type):
    pass


class WithMeta(metaclass=Meta):
    shared = []


class Handler:
    @functools.lru_cache()
    def header_for(self, name):
        return Plain()

    @functools.lru_cache(maxsize=None)
    def unbounded(self, name):
        return Plain()


@functools.lru_cache(maxsize=0)
def nothing_kept(n):
    return n


@functools.lru_cache(maxsize=2, typed=True)
def full(n):
    return n


for n in (1, 2, 3, 3):
    full(n), nothing_kept(n)


def closure_maker():
    kept, other = Plain(), [1, 2]

    def closure():
        return kept, other
    return closure


def generator():
    inside = Plain()
    yield inside
    yield 2


async def coroutine(argument):
    mine = Plain()
    await Wait()
    return mine, argument


class Wait:
    def __await__(self):
        waiting = Plain()
        yield waiting


def with_traceback():
    local_of_failed = Plain()
    raise ValueError("kept", local_of_failed)


things = {}
things["plain"] = Plain()
things["dict_used"] = Plain()
things["dict_used_kept"] = vars(things["dict_used"])
things["deleted_attribute"] = Plain()
del things["deleted_attribute"].first
things["slots"] = Slots()
things["slots"].left, things["slots"].right = Plain(), "r"
things["child"] = Child()
things["child"].left, things["child"].other = [], {}
things["mydict"] = MyDict(a=Plain(), b=[])
things["mydict"].attribute = Plain()
things["mylist"] = MyList([Plain(), Plain()])
things["mylist"].extra = Plain()
things["mytuple"] = MyTuple((Plain(), [2]))
things["mytuple"].named = Plain()
things["mystr"] = MyStr("a subclass")
things["mystr"].named = Plain()
things["pysize"] = PySize()
things["meta"] = WithMeta()
things["deque"] = collections.deque([Plain() for _ in range(200)], 1000)
things["odict"] = collections.OrderedDict((str(n), Plain()) for n in range(20))
things["default"] = collections.defaultdict(list, x=[1])
things["counter"] = collections.Counter("hello")
things["set"] = {Plain(), Plain(), "s", 4.5}
things["bigset"] = set(range(1000, 3000))
things["frozen"] = frozenset([Plain()])
things["array"] = array.array("d", range(1000))
things["bytearray"] = bytearray(5000)
things["memory"] = memoryview(things["bytearray"])
things["handler"] = Handler()
things["handler"].header_for("x")
things["handler"].header_for("y")
things["handler"].unbounded("z")
things["closure"] = closure_maker()
things["partial"] = functools.partial(closure_maker, Plain(), key=Plain())
things["method"] = things["handler"].header_for
things["generator"] = generator()
next(things["generator"])
things["coroutine"] = coroutine(Plain())
things["coroutine"].send(None)
things["variable"] = contextvars.ContextVar("request_of_context")
things["variable"].set(Plain())
things["context"] = contextvars.copy_context()
things["keys"] = {1: Plain(), -7: [], 2.5: [], None: [], True: [], b"by\xff": [], (1, "a"): [], "qu'o\nte": [],
                  "long" * 60: [], Plain: []}
things["big"] = {n: str(n) for n in range(5000)}
things["biglist"] = [str(n) for n in range(70000, 75000)]
things["atoms"] = {"a": 1, "b": 2}
things["nonascii"] = "é" * 300
things["nonascii"].encode()
things["property"] = property(closure_maker, None)
things["ctypes"] = (ctypes.c_int * 100)()
things["huge"] = 1 << 5000
things["negative"] = -(1 << 100)
things["local"] = threading.local()
things["local"].here = Plain()
things["types"] = type("Made", (Plain,), {"attr": Plain(), "__slots__": ("q",)})
things["odd_names"] = Plain()
vars(things["odd_names"]).update({"class": [1], "content-type": [2], "2nd": [3], "it's": [4], "ümlaut": [5]})
if "paste" in sys.argv:			# they cost a second: asyncio is large
    import asyncio
    import inspect
    loop = asyncio.new_event_loop()
    things["future"] = loop.create_future()
    things["future"].set_result(Plain())
    awaited_future = loop.create_future()

    async def waiting(argument):
        return await awaited_future

    things["task"] = loop.create_task(waiting(Plain()))
    loop.run_until_complete(asyncio.sleep(0))
try:
    with_traceback()
except ValueError as e:
    things["exception"] = e
cycle = [Plain()]
cycle.append(cycle)
things["cycle"] = cycle
held_only_by_c = Plain()
ctypes.pythonapi.Py_IncRef(ctypes.py_object(held_only_by_c))
only_c = id(held_only_by_c)
del held_only_by_c, cycle


def thread_body(started, stop):
    local_of_thread = Plain()
    things["id of local_of_thread"] = id(local_of_thread)
    started.set()
    stop.wait()
    return local_of_thread


started, stop = threading.Event(), threading.Event()
thread = threading.Thread(target=thread_body, args=(started, stop))
thread.start()
started.wait()
dump = ctypes.PyDLL(sys.argv[1]).dump
path = sys.argv[2].encode()
gc.collect()


def compare():
    running_local = Plain()
    status = dump(path, 1)
    expect(status == 0, "the child ended with 0, not %d" % status)
    return running_local


gc.disable()
addresses, sizes = [], []
for o in gc.get_objects():
    addresses.append(id(o))
    sizes.append(sys.getsizeof(o, 0))
if "freeze" in sys.argv:
    gc.freeze()
running_local = compare()
if "freeze" in sys.argv:
    gc.unfreeze()
known = dict(zip(addresses, sizes))
before = [o for o in gc.get_objects() if id(o) in known]
gc.enable()
graph = Graph(sys.argv[2])
expect("end" in graph.facts, "the dump is whole")
caches = [o for o in before if type(o).__name__ == "_lru_cache_wrapper"] + [nothing_kept, full]
for o in caches:
    hits, misses, maxsize, entries = o.cache_info()
    expect(graph.caches.get(id(o)) == (entries, 0 if maxsize is None else maxsize + 1, hits, misses),
           "cache %s is %s, it says %s itself" % (o, graph.caches.get(id(o)), o.cache_info()))
expect(len(caches) > 4, "there are caches to compare: %d" % len(caches))
skip = {id(before), id(addresses), id(sizes), id(known), id(compare.__code__), id(globals()), id(failures), id(gc.get_referents), id(sys._getframe()),
        id(things["default"])}

missing = wrong_size = missing_edges = edges = 0
for o in before:
    address = id(o)
    if address in skip:
        continue
    if address not in graph.objects:
        missing += 1
        expect(missing > 5, "%s at %x is in gc.get_objects() but not in the graph" % (type(o), address))
        continue
    size = graph.objects[address][1]
    if "__sizeof__" not in "".join(k for c in type(o).__mro__[:-1] if not c.__module__ == "builtins"
                                   for k in vars(c) if k == "__sizeof__" and
                                   type(vars(c)[k]).__name__ == "function"):
        real = known[address]
        if real != size and o is not addresses and o is not sizes:
            wrong_size += 1
            expect(wrong_size > 8, "%s at %x is %d bytes, sys.getsizeof says %d" % (type(o), address, size, real))
    targets = None
    for r in gc.get_referents(o):
        if id(r) in skip or id(r) not in graph.objects:
            continue
        edges += 1
        if targets is None:
            targets = graph.targets(address)
        if id(r) not in targets and type(o).__name__ not in ("frame", "lock") and o is not globals():
            missing_edges += 1
            expect(missing_edges > 12, "%s -> %s (%s) is missing" % (type(o), type(r), repr(r)[:60]))
expect(len(before) > 3000, "there is something to compare")

class NoWords(Exception):
    pass


def pasted(o, label, number, text, target):
    """What a person gets who pastes the words of an edge behind an expression for o; NoWords: they are no expression."""
    if label == "ATTR" and text == "__dict__" and isinstance(o, type):
        behind = gc.get_referents(o.__dict__)[0]	# of the mappingproxy
        return behind if id(behind) == target else vars(o)[text]
    if label == "ATTR" and text == "__annotations__" and type(o).__name__ == "function":
        raise NoWords			# from 3.10 on a tuple until somebody asks
    if label == "ATTR" and text.isidentifier():
        raw = inspect.getattr_static(o, text, None)
        if isinstance(o, type) and text in vars(o):
            return raw			# o.text would bind a method
        return raw if isinstance(raw, property) else getattr(o, text)
    if label == "ATTR":
        return eval("o." + text, {"o": o})
    if label == "KEY" and isinstance(o, dict) and "<" not in text and "..." not in text:
        return o[ast.literal_eval(text)]
    if label == "INDEX" and isinstance(o, (list, tuple, collections.deque)):
        return o[number]
    if label == "CELL":
        return inspect.getattr_static(o, "__closure__").__get__(o)[o.__code__.co_freevars.index(text)]
    if label == "LOCAL" and hasattr(o, "gi_frame"):
        return o.gi_frame.f_locals[text]
    if label == "LOCAL" and hasattr(o, "cr_frame"):
        return o.cr_frame.f_locals[text]
    raise NoWords


evaluated = wrong = 0
by_address = {id(o): o for o in before}
mine = skip | {id(graph), id(graph.__dict__), id(by_address), id(sys.modules["__main__"]), id(sys.modules["__main__"].__dict__)}
for o in before if "paste" in sys.argv else ():
    if id(o) in mine or type(o).__name__ in ("frame", "lock"):
        continue
    for label, number, text, target, is_object in graph.edges.get(id(o), ()):
        if not is_object or target not in by_address or target in mine:
            continue
        try:
            value = pasted(o, label, number, text, target)
        except NoWords:
            continue
        except Exception as error:
            value = error
        evaluated += 1
        if id(value) != target:
            wrong += 1
            expect(wrong > 12, "%s: %s %s is %s, not the %s it should be" % (
                type(o), label, text or number, repr(value)[:80], type(by_address[target])))
expect((evaluated > 5000 or "paste" not in sys.argv) and not wrong, "%d words of %d lead elsewhere when they are pasted" % (wrong, evaluated))
expect(missing == 0, "%d objects are missing" % missing)
expect(wrong_size == 0, "%d sizes differ" % wrong_size)
expect(missing_edges == 0, "%d of %d edges are missing" % (missing_edges, edges))

for name, o in things.items():
    if isinstance(o, PySize):
        continue
    size = graph.objects.get(id(o), (0, -1))[1]
    expect(size == sys.getsizeof(o), "%s is %d bytes, sys.getsizeof says %d" % (name, size, sys.getsizeof(o)))


def says(source, target, *wanted):
    got = graph.labels(source, target)
    expect(got == sorted(wanted), "%s -> %s reads %s, expected %s" %
           (type(source).__name__, type(target).__name__, got, sorted(wanted)))


A = "ATTR"
t = things
module = sys.modules["__main__"]
says(module, things, (A, "things"))
says(things, t["plain"], ("KEY", "'plain'"))
says(t["plain"], t["plain"].first, (A, "first"))
says(t["plain"], t["plain"].second, (A, "second"))
says(t["dict_used"], t["dict_used_kept"], (A, "__dict__"))
says(t["dict_used"], t["dict_used"].first, (A, "first"))
says(t["dict_used_kept"], t["dict_used"].first, ("KEY", "'first'"))
owned = {addr for buffers in graph.buffers.values() for addr, counted in buffers}
expect(id(vars(t["deleted_attribute"])) in owned or sys.version_info >= (3, 11), "an instance's dict is known as its own")
expect(id(t["dict_used_kept"]) in owned, "an instance's dict that somebody holds is known as its own")
expect(id(things) not in owned, "a dict of its own belongs to nobody")
says(t["plain"], Plain, (A, "__class__"))
says(t["slots"], t["slots"].left, (A, "left"))
says(t["child"], t["child"].left, (A, "left"))
says(t["child"], t["child"].other, (A, "other"))
says(t["mydict"], t["mydict"]["a"], ("KEY", "'a'"))
says(t["mydict"], t["mydict"].attribute, (A, "attribute"))
says(t["mylist"], t["mylist"][1], ("INDEX", 1))
says(t["mylist"], t["mylist"].extra, (A, "extra"))
says(t["mytuple"], t["mytuple"][0], ("INDEX", 0))
says(t["mytuple"], t["mytuple"].named, (A, "named"))
says(t["mystr"], t["mystr"].named, (A, "named"))
says(t["deque"], t["deque"][150], ("INDEX", 150))
says(t["odict"], t["odict"]["7"], ("KEY", "'7'"))
says(t["biglist"], t["biglist"][4321], ("INDEX", 4321))
for key, text in ((-7, "-7"), (None, "None"), (b"by\xff", "b'by\\xff'"), ((1, "a"), "(1, 'a')"),
                  ("qu'o\nte", "'qu\\'o\\nte'"), (Plain, "<class __main__.Plain>"), (2.5, "<float>")):
    says(t["keys"], t["keys"][key], ("KEY", text))
long_text = graph.labels(t["keys"], t["keys"]["long" * 60])
expect(long_text and len(long_text[0][1]) < 90, "a long key is cut: %s" % long_text)
cell = t["closure"].__closure__[0]
says(t["closure"], cell, ("CELL", "kept"))
says(cell, cell.cell_contents, (A, "cell_contents"))
says(t["closure"], t["closure"].__code__, (A, "__code__"))
says(t["partial"], t["partial"].args, (A, "args"))
says(t["partial"], t["partial"].func, (A, "func"))
says(t["method"], t["handler"], (A, "__self__"))
says(Handler, vars(Handler)["header_for"], (A, "header_for"))
wrapper = vars(Handler)["header_for"]
keys = [target for label, _, _, target, _ in graph.edges[id(wrapper)] if label == "CACHE_KEY"]
results = [target for label, _, _, target, _ in graph.edges[id(wrapper)] if label == "CACHE_RESULT"]
expect(len(keys) == 2 and all(id(t["handler"]) in graph.targets(k) for k in keys),
       "the cache's two keys hold the handler: %s" % keys)
expect(len(results) == 2 and id(t["handler"].header_for("x")) in results, "the cache's results are shown")
wrapper = vars(Handler)["unbounded"]
keys = [target for label, _, _, target, _ in graph.edges[id(wrapper)] if label == "CACHE_KEY"]
expect(len(keys) == 1 and id(t["handler"]) in graph.targets(keys[0]), "an unbounded cache's key holds the handler")
says(wrapper, t["handler"].unbounded("z"), ("CACHE_RESULT", 0))
expect(id(t["variable"].get()) in [tgt for es in graph.edges.values() for l, _, x, tgt, _ in es
                                   if l == "KEY" and x == "ContextVar 'request_of_context'"],
       "the context variable's value is found under its name")
for thing, local in (("generator", "inside"), ("coroutine", "mine"), ("coroutine", "argument")):
    frame = getattr(t[thing], "gi_frame", None) or getattr(t[thing], "cr_frame", None)
    value = frame.f_locals[local]
    holder = frame if sys.version_info < (3, 11) else t[thing]
    says(holder, value, ("LOCAL", local))
awaited = t["coroutine"].cr_await
says(t["coroutine"] if sys.version_info >= (3, 11) else t["coroutine"].cr_frame, awaited,
     (A, "cr_await") if sys.version_info >= (3, 11) else ("NAMED", "temporary"))
says(t["exception"], t["exception"].__traceback__, (A, "__traceback__"))
says(t["exception"], t["exception"].args, (A, "args"))
failed_frame = t["exception"].__traceback__.tb_next.tb_frame
says(t["exception"].__traceback__.tb_next, failed_frame, (A, "tb_frame"))
says(failed_frame, failed_frame.f_locals["local_of_failed"], ("LOCAL", "local_of_failed"))
says(t["types"], vars(t["types"])["attr"], (A, "attr"))
odd = t["odd_names"]
says(odd, vars(odd)["class"], (A, "__dict__['class']"))
says(odd, vars(odd)["content-type"], (A, "__dict__['content-type']"))
says(odd, vars(odd)["2nd"], (A, "__dict__['2nd']"))
says(odd, vars(odd)["it's"], (A, "__dict__['it\\'s']"))
says(odd, vars(odd)["ümlaut"], (A, "ümlaut"))
if "task" in t:
    says(t["future"], t["future"].result(), (A, "_result"))
    says(t["task"], t["task"].get_coro(), (A, "_coro"))
    says(t["task"], awaited_future, (A, "_fut_waiter"))
says(t["cycle"], t["cycle"], ("INDEX", 1))

by_name = {name: edges for kind, tid, name, edges in graph.roots if kind == 6}
expect(by_name.get("__main__") and by_name["__main__"][0][3] == id(module), "module __main__ is a root")
frames = [(tid, name, edges) for kind, tid, name, edges in graph.roots if kind == 7]
mine = [f for f in frames if f[1].startswith("compare (") and "inside.py:" in f[1]]
expect(len(mine) == 1 and ("LOCAL", 0, "running_local", id(running_local)) in mine[0][2],
       "the running frame's local is a root: %s" % [f[1] for f in frames])
with open(__file__) as source:
    wanted = [n for n, text in enumerate(source, 1) if "status = dump(path," in text][0]
expect(mine and mine[0][1].endswith(":%d)" % wanted), "its line is %d: %s" % (wanted, mine and mine[0][1]))
others = [f for f in frames if f[1].startswith("thread_body (")]
expect(len(others) == 1 and ("LOCAL", 0, "local_of_thread", t["id of local_of_thread"]) in others[0][2],
       "the other thread's local is a root: %s" % [f[1] for f in frames])
if sys.version_info >= (3, 11):
    expect(others and others[0][0] == thread.native_id, "its thread is named: %s" % others)
from_c = {target for kind, _, _, edges in graph.roots if kind == 8 for _, _, _, target in edges}
expect(only_c in from_c and graph.objects[only_c][2] == 1, "what only C holds is a root of kind C, with 1 reference")
for name in ("plain", "slots", "mydict", "deque", "handler", "generator", "coroutine", "context", "exception",
             "keys", "biglist"):
    extra = graph.objects[id(t[name])][2]
    expect(extra == 0, "%s has no unexplained reference, got %d" % (name, extra))
expect(graph.objects[id(t["plain"])][3] == "__main__.Plain", "a type is named with its module")
expect(graph.objects[id(t["deque"])][3] == "collections.deque", "a built-in type is named as it names itself")
expect(graph.facts["python"] == sys.version.split()[0], "the version is right: %s" % graph.facts["python"])
expect(graph.facts["gc_enabled"] == "0", "gc was disabled at the dump")
fault = graph.facts.get("python_first_fault", "")
if fault:				# the child's modules lie where ours do: which one met it, and where in it
    at = int(fault.rpartition(" in ")[2], 16) if " in " in fault else 0
    fault += "".join("; of " + line for line in open("/proc/self/maps")
                     if int(line.split("-")[0], 16) <= at < int(line.split("-")[1].split()[0], 16)).rstrip()
expect(graph.facts["python_faults"] == "0" and not fault, "no fault was met: %s, %s" % (graph.facts["python_faults"], fault))

reached, todo = set(), [tgt for _, _, _, es in graph.roots for _, _, _, tgt in es]
while todo:
    address = todo.pop()
    if address not in reached:
        reached.add(address)
        todo += [tgt for _, _, _, tgt, o in graph.edges.get(address, ()) if o]
lost = [a for a in graph.objects if a not in reached]
by_type = collections.Counter(graph.objects[a][3] for a in lost)
expect(len(lost) < 20, "%d objects are reached from no root: %s" % (len(lost), by_type.most_common(8)))
stop.set()
thread.join()
c = collections.Counter(graph.objects[a][3] for a in from_c)
print("%s: %d held, %d failed; %d objects, %d edges, %d lost, held from C %d, enumerate %s us, references %s us, facts %s" % (
    sys.version.split()[0], held, len(failures), len(graph.objects), sum(map(len, graph.edges.values())),
    len(lost), len(from_c), graph.facts.get("enumerate_us"), graph.facts.get("references_us"),
    {k: v for k, v in graph.facts.items() if k.startswith("python_")}))
if "verbose" in sys.argv:
    print("lost:", [(graph.objects[a][3], hex(a)) for a in lost][:20])
    print("held from C:", c.most_common(25))
    odd = [a for a in from_c if graph.objects[a][3] not in ("str", "int", "bytes", "tuple")]
    for a in odd[:60]:
        print("   ", graph.objects[a][3], graph.objects[a][2])
os._exit(1 if failures else 0)
