/* SPDX-License-Identifier: Apache-2.0
 * L3  python_roots.c - where Python's graph hangs: modules, running frames, C; names of types; facts. */
#include <signal.h>
#include <string.h>

#include "python_private.h"
#include "stream.h"

/* --- roots --------------------------------------------------------------------------------- */

static void (*give_root)(const struct python_root *root, void *data);
static void *root_data;

static void give_start(const struct python_root *root)
{
	ld__py_guard_pause(true);
	give_root(root, root_data);
	ld__py_guard_pause(false);
}

static void give_modules(uint64_t modules)
{
	py_object *key, *value;
	long at = 0;

	while (ld__py.PyDict_Next((py_object *)(uintptr_t)modules, &at, &key, &value)) {
		uint64_t module = (uint64_t)(uintptr_t)value;
		struct python_root root = { .start = module, .kind = STREAM_ROOT_PY_MODULE };

		if (module == ld__py._Py_NoneStruct || !is_str((uint64_t)(uintptr_t)key))
			continue;
		root.name = ld__py_text((uint64_t)(uintptr_t)key);
		give_start(&root);
		ld__py_give(module, STREAM_LABEL_OWNS, 0, NULL, 0, true);
	}
}

static void give_running_frame(const struct py_frame *frame, uint64_t tstate)
{
	static char name[512];
	struct py_text text = { name, name + sizeof(name) - 1 };
	const struct python_layout *l = &ld__py.layout;
	struct python_root root = { .start = frame->frame, .kind = STREAM_ROOT_PY_FRAME, .name = name };
	int qualname = l->code_qualname >= 0 ? l->code_qualname : l->code_name;

	ld__py_put(&text, ld__py_text(py_word(frame->code, qualname)));
	ld__py_put(&text, " (");
	ld__py_put(&text, ld__py_text(py_word(frame->code, l->code_file)));
	ld__py_put(&text, ":");
	ld__py_put_number(&text, ld__py.PyCode_Addr2Line((py_object *)(uintptr_t)frame->code,
							 ld__py_frame_at(frame)));
	ld__py_put(&text, ")");
	root.thread_pointer = py_word(tstate, l->thread_id);
	if (l->native_id >= 0)
		root.tid = (uint32_t)py_word(tstate, l->native_id);
	give_start(&root);
	for (uint32_t i = 0; i < frame->slot_count; i++) {
		uint64_t value = py_word(frame->slots, 8l * i), slot = ld__py_slot_name(frame->code, i);

		ld__py_give(value, STREAM_LABEL_LOCAL, 0, slot ? ld__py_text(slot) : "?", slot, true);
	}
	for (uint32_t i = 0; i < frame->stack_count; i++)
		ld__py_give_named(py_word(frame->slots, 8l * (frame->slot_count + i)), STREAM_LABEL_NAMED, "temporary");
	ld__py_give_named(frame->func, STREAM_LABEL_NAMED, "function");
	ld__py_give_named(frame->code, STREAM_LABEL_ATTR, "f_code");
	ld__py_give_named(frame->globals, STREAM_LABEL_ATTR, "f_globals");
	ld__py_give_named(frame->locals, STREAM_LABEL_ATTR, "f_locals");
	ld__py_give_named(frame->object, STREAM_LABEL_NAMED, "frame");
}

static void give_thread(uint64_t tstate)
{
	uint64_t at = ld__py_tstate_frame(tstate);
	struct py_frame frame;

	for (int depth = 0; at && depth < 100000; depth++, at = frame.back)
		if (ld__py_frame_read(at, &frame))
			give_running_frame(&frame, tstate);
}

void ld__python_roots(bool (*placed)(uint32_t index, void *data),
		      void (*root)(const struct python_root *root, void *data),
		      void (*reference)(const struct python_reference *ref, void *data), void *data)
{
	struct python_root from_c = { .kind = STREAM_ROOT_PY_C, .name = "held from C" };

	ld__py_give_to(reference, data);
	give_root = root;
	root_data = data;
	ld__py_guarded("modules", give_modules, (uint64_t)(uintptr_t)ld__py.PyImport_GetModuleDict());
	for (void *interp = ld__py.PyInterpreterState_Head(); interp;
	     interp = ld__py.PyInterpreterState_Next(interp))
		for (void *tstate = ld__py.PyInterpreterState_ThreadHead(interp); tstate;
		     tstate = ld__py.PyThreadState_Next(tstate))
			ld__py_guarded("roots", give_thread, (uint64_t)(uintptr_t)tstate);
	root(&from_c, data);
	for (uint32_t n = 0; n < py_count(); n++)
		if (!placed(n, data))
			ld__python_references(n, reference, data);
	for (uint32_t n = 0; n < py_count(); n++) {
		struct python_reference ref = { .is_object = true, .label = STREAM_LABEL_NAMED, .text = "C",
						.index = n };

		if (!ld__python_unexplained(n))
			continue;
		ref.target = ld__py_object(n);
		reference(&ref, data);
	}
}

/* --- caches -------------------------------------------------------------------------------- */

static struct python_cache cache_read;

/* functools' C structure is the same from 3.8 to 3.13: root link (prev 16, next 24), cache 72, hits 80,
 * function 88, maxsize 96, misses 104. Each object is asked whether that is true of it: the dict must be
 * the one that the traversal showed, and a ring has links only where there is a bound and an entry. */
static void read_cache(uint64_t index)
{
	const struct py_item *item = py_item((uint32_t)index);
	uint64_t object = ld__py_object((uint32_t)index), dict = ld__py_lru_dict(py_info(item), object);
	int64_t maxsize, hits, misses;
	bool linked;

	cache_read.entries = dict ? py_word(dict, 16) : 0;
	maxsize = (int64_t)py_word(object, 96);
	hits = (int64_t)py_word(object, 80);
	misses = (int64_t)py_word(object, 104);
	linked = py_word(object, 24) != object;
	if (!dict || py_word(object, 72) != dict || maxsize < -1 || hits < 0 || misses < 0 ||
	    linked != (maxsize > 0 && cache_read.entries > 0) ||
	    (maxsize >= 0 && cache_read.entries > (uint64_t)maxsize))
		return;
	cache_read.maxsize = maxsize;
	cache_read.hits = (uint64_t)hits;
	cache_read.misses = (uint64_t)misses;
}

void ld__python_caches(void (*visit)(const struct python_cache *cache, void *data), void *data)
{
	for (uint32_t n = 0; n < py_count(); n++) {
		if (py_info(py_item(n))->kind != PY_LRU_CACHE || (py_item(n)->type & ITEM_FAULTED))
			continue;
		cache_read = (struct python_cache){ .index = n, .maxsize = INT64_MIN, .hits = UINT64_MAX,
						    .misses = UINT64_MAX };
		ld__py_guarded_item("cache", read_cache, n);
		visit(&cache_read, data);
	}
}

/* --- names and facts ----------------------------------------------------------------------- */

static char type_text[512];
static uint64_t type_named;

static void make_name(uint64_t type)
{
	struct py_text text = { type_text, type_text + sizeof(type_text) - 1 };
	const char *name = (const char *)(uintptr_t)py_word(type, TP_NAME);
	py_object *module = NULL;
	uint64_t dict = py_word(type, TP_DICT), qualname;

	*type_text = '\0';
	if (!(py_word(type, TP_FLAGS) & FLAG_HEAPTYPE)) {
		ld__py_put(&text, name ? name : "?");	/* has its module in it, unless it is a built-in */
		return;
	}
	if (dict)
		module = ld__py.PyDict_GetItemString((py_object *)(uintptr_t)dict, "__module__");
	if (module && is_str((uint64_t)(uintptr_t)module) &&
	    strcmp(ld__py_text((uint64_t)(uintptr_t)module), "builtins") != 0) {
		ld__py_put(&text, ld__py_text((uint64_t)(uintptr_t)module));
		ld__py_put(&text, ".");
	}
	qualname = py_word(type, ld__py.layout.ht_qualname);
	ld__py_put(&text, qualname ? ld__py_text(qualname) : name);
}

const char *ld__py_type_name(uint64_t type)
{
	if (type != type_named)
		make_name(type);
	type_named = type;
	return type_text;
}

const char *ld__python_type_name(uint64_t type)
{
	if (type == type_named)
		return type_text;
	if (!ld__py_guarded("type name", make_name, type))
		ld__py_put(&(struct py_text){ type_text, type_text + sizeof(type_text) - 1 }, "?");
	type_named = type;
	return type_text;
}

static void give_count(void (*fact)(const char *key, const char *value, void *data), void *data,
		       const char *key, uint64_t value)
{
	char digits[24];
	struct py_text text = { digits, digits + sizeof(digits) - 1 };

	ld__py_put_number(&text, (long long)value);
	fact(key, digits, data);
}

static void put_address(struct py_text *text, uint64_t addr)
{
	char digits[] = { "0x0000000000000000" };
	int first = 2;

	for (int n = 17; n > 1; n--, addr >>= 4)
		digits[n] = "0123456789abcdef"[addr & 15];
	while (first < 17 && digits[first] == '0')
		first++;
	ld__py_put(text, "0x");
	ld__py_put(text, digits + first);
}

/* "count of broken.Fault at 0x7f..: signal 11 at 0x8 in 0x7f..". Only what is marked is an object with a type. */
static void give_first_fault(void (*fact)(const char *key, const char *value, void *data), void *data)
{
	static char value[sizeof(type_text) + 200];
	const struct py_fault fault = ld__py_first_fault;
	struct py_text text = { value, value + sizeof(value) - 1 };

	if (!fault.what)
		return;
	ld__py_put(&text, fault.what);
	if (fault.object) {
		ld__py_put(&text, " of ");
		if (ld__marks_has(&ld__py_heap.marks, fault.object)) {
			ld__py_put(&text, ld__python_type_name(py_type(fault.object)));
			ld__py_put(&text, " at ");
		}
		put_address(&text, fault.object);
	}
	if (!fault.signal) {
		ld__py_put(&text, ": no end");
	} else {
		ld__py_put(&text, ": signal ");
		ld__py_put_number(&text, fault.signal);
		if (fault.signal != SIGABRT) {
			ld__py_put(&text, " at ");
			put_address(&text, fault.addr);
		}
		ld__py_put(&text, " in ");
		put_address(&text, fault.pc);
	}
	fact("python_first_fault", value, data);
}

void ld__python_facts(void (*fact)(const char *key, const char *value, void *data), void *data)
{
	fact("python", ld__py.version_text, data);
	give_count(fact, data, "gc_enabled", ld__py_heap.gc_enabled);
	give_count(fact, data, "gc_collecting", ld__py_heap.collecting);
	give_count(fact, data, "python_objects", py_count());
	give_count(fact, data, "python_tracked", ld__py_heap.tracked);
	give_count(fact, data, "python_bytes", ld__py_heap.bytes);
	give_first_fault(fact, data);
	give_count(fact, data, "python_faults", ld__py_faults);
	give_count(fact, data, "python_over_explained", ld__py_heap.over_explained);
	give_count(fact, data, "python_skipped_interpreters",
		   (uint64_t)ld__py_heap.skipped_interpreters);
	give_count(fact, data, "python_refused", ld__py_heap.refused);
}
