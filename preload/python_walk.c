/* SPDX-License-Identifier: Apache-2.0
 * L3  python_walk.c - every object of the interpreter, once, with its size and its unexplained references.
 *
 *   collector's lists, frames, modules  ->  marks   <-  what they refer to       discover
 *   marks                               ->  items   one for each object, ascending    number
 *   items                               ->  balance, folds, sizes                     count
 *
 * (1) An object is marked when it is met. Marked objects are traversed in address order; what is met
 *     behind that order waits in a short list. The heap is read as it lies, and no object is kept but in
 *     the marks.
 * (2) balance = reference count - references found. What is left over in the end is held by code
 *     that shows its references to nobody.
 * (3) The lists are read, never iterated by API: that would touch every reference count, so copy
 *     every page. A freshly tracked object is the tail of the youngest list, and its successor is
 *     the list's head; the other heads follow at fixed distances.
 * (4) tp_traverse is never called on a static type, which answers with abort().
 * (5) 8 bytes an object: its address is its mark, its size is asked for again when it is wanted. */
#include <errno.h>
#include <string.h>

#include "python_private.h"

#define GENERATION_BYTES 24u
#define TRAVERSE_MAX (1u << 26)		/* visits of one object before it counts as a loop */

struct py_heap ld__py_heap;

static uint64_t probe_object;		/* the list that found the heads: ours */
static uint64_t sizeof_name, object_sizeof;
static uint64_t current_type, visits;	/* of the item being traversed */
static bool type_seen, out_of_memory;
static bool counting;			/* second traversal: references are counted, nothing is met any more */
static uint64_t position;		/* first traversal: what is marked up to here has been traversed */
static struct py_vector waiting;	/* uint64_t: met, marked, and behind the position */
static struct py_vector broken;		/* uint64_t: could not be traversed */

/* --- tables -------------------------------------------------------------------------------- */

static uint64_t hash(uint64_t object)
{
	return (object >> 3) * 0x9e3779b97f4a7c15ull >> 20;
}

uint32_t ld__py_find(uint64_t object)
{
	return ld__py_heap.items && !(object & 7) ? ld__marks_find(&ld__py_heap.marks, object) : PY_NO_ITEM;
}

static uint32_t last_index = PY_NO_ITEM;	/* questions come in ascending order, mostly */
static uint64_t last_object;

uint64_t ld__py_object(uint32_t index)
{
	if (index == last_index)
		return last_object;
	last_object = last_index != PY_NO_ITEM && index == last_index + 1
		? ld__marks_next(&ld__py_heap.marks, last_object + 8)
		: ld__marks_member(&ld__py_heap.marks, index);
	last_index = index;
	return last_object;
}

uint32_t ld__python_index_from(uint64_t addr)
{
	static uint64_t asked, answer;		/* the same question twice */
	uint64_t object;

	if (addr == asked && last_object == answer && last_index != PY_NO_ITEM)
		return last_index;
	object = last_index != PY_NO_ITEM && addr > last_object
		? ld__marks_next(&ld__py_heap.marks, last_object + 8) : 0;
	if (object >= addr && object) {		/* the next one, unless the question jumps */
		last_index++;
	} else {
		object = ld__marks_next(&ld__py_heap.marks, addr);
		if (!object)
			return PY_NO_ITEM;
		last_index = ld__marks_number_of(&ld__py_heap.marks, object);
	}
	last_object = answer = object;
	asked = addr;
	return last_index;
}

static uint8_t kind_of(uint64_t type, uint64_t flags, bool *ret_exact)
{
	static const struct { const char *name; uint8_t kind; } names[] = {
		{ "functools._lru_cache_wrapper", PY_LRU_CACHE },
		{ "functools._lru_list_elem", PY_LRU_ELEM },
		{ "collections.deque", PY_DEQUE },
		{ "array.array", PY_ARRAY },
		{ "hamt_bitmap_node", PY_CONTEXT_NODE },
		{ "hamt_collision_node", PY_CONTEXT_NODE },
		{ "greenlet.greenlet", PY_GREENLET },
	};
	const struct { uint64_t type; uint8_t kind; } known[] = {
		{ ld__py.PyModule_Type, PY_MODULE }, { ld__py.PyFunction_Type, PY_FUNCTION },
		{ ld__py.PyCell_Type, PY_CELL }, { ld__py.PyCode_Type, PY_CODE },
		{ ld__py.PyFrame_Type, PY_FRAME }, { ld__py.PyGen_Type, PY_GENERATOR },
		{ ld__py.PyCoro_Type, PY_GENERATOR }, { ld__py.PyAsyncGen_Type, PY_GENERATOR },
		{ ld__py.PySet_Type, PY_SET }, { ld__py.PyFrozenSet_Type, PY_SET },
		{ ld__py.PyByteArray_Type, PY_BYTEARRAY }, { ld__py.PyTraceBack_Type, PY_TRACEBACK },
		{ ld__py.PyCFunction_Type, PY_CFUNCTION }, { ld__py.PyFloat_Type, PY_ATOM },
		{ ld__py.PyComplex_Type, PY_ATOM },
	};
	int depth = 0;

	*ret_exact = type == ld__py.PyDict_Type || type == ld__py.PyList_Type ||
		     type == ld__py.PyTuple_Type || type == ld__py.PyUnicode_Type;
	if (flags & FLAG_TYPE)
		return PY_TYPE;
	if (flags & FLAG_DICT)
		return PY_DICT;
	if (flags & FLAG_LIST)
		return PY_LIST;
	if (flags & FLAG_TUPLE)
		return PY_TUPLE;
	if (flags & FLAG_UNICODE)
		return PY_STR;
	if (flags & FLAG_EXCEPTION)
		return PY_EXCEPTION;
	for (uint64_t base = type; base && depth < 64; base = py_word(base, TP_BASE), depth++) {
		const char *name = (const char *)(uintptr_t)py_word(base, TP_NAME);

		*ret_exact = base == type;
		for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
			if (known[i].type == base)
				return known[i].kind;
		for (size_t i = 0; name && i < sizeof(names) / sizeof(names[0]); i++)
			if (!strcmp(names[i].name, name))
				return names[i].kind;
	}
	*ret_exact = true;
	if (type == ld__py.PyBytes_Type || type == ld__py.PyLong_Type || type == ld__py.PyBool_Type)
		return PY_ATOM;
	*ret_exact = false;
	return PY_OTHER;
}

static void find_sizeof(struct py_type_info *info)
{
	uint64_t method = (uint64_t)(uintptr_t)ld__py._PyType_Lookup(
		(py_object *)(uintptr_t)info->type, (py_object *)(uintptr_t)sizeof_name);
	uint64_t definition;

	if (!method || method == object_sizeof || py_type(method) != ld__py.PyMethodDescr_Type)
		return;			/* the general rule; a __sizeof__ in Python is not run */
	definition = py_word(method, 40);
	info->sizeof_flags = (uint32_t)py_int(definition, 16);
	info->sizeof_class = py_word(method, 16);
	if (info->sizeof_flags == 4 || info->sizeof_flags == 0x282)	/* METH_NOARGS, METH_METHOD */
		info->sizeof_call = (void *)(uintptr_t)py_word(definition, 8);
}

static bool members_exist(uint64_t type)
{
	for (int depth = 0; type && depth < 64; type = py_word(type, TP_BASE), depth++)
		if (py_word(type, TP_MEMBERS))
			return true;
	return false;
}

static bool is_future(uint64_t type)
{
	for (int depth = 0; type && depth < 64; type = py_word(type, TP_BASE), depth++) {
		const char *name = (const char *)(uintptr_t)py_word(type, TP_NAME);

		if (name && (!strcmp(name, "_asyncio.Future") || !strcmp(name, "_asyncio.Task")))
			return true;
	}
	return false;
}

static void fill_type(struct py_type_info *info, uint64_t type)
{
	info->type = type;
	info->flags = py_word(type, TP_FLAGS);
	info->traverse = (py_traverseproc)(uintptr_t)py_word(type, TP_TRAVERSE);
	info->is_gc = (int (*)(py_object *))(uintptr_t)py_word(type, TP_IS_GC);
	info->basicsize = (uint32_t)py_word(type, TP_BASICSIZE);
	info->itemsize = (uint32_t)py_word(type, TP_ITEMSIZE);
	info->dictoffset = (int32_t)py_word(type, TP_DICTOFFSET);
	info->weaklistoffset = (int32_t)py_word(type, TP_WEAKLISTOFFSET);
	info->kind = kind_of(type, info->flags, &info->exact);
	info->has_members = members_exist(type);
	info->opaque = (info->kind == PY_OTHER || info->kind == PY_GREENLET) && info->basicsize > 16 && info->basicsize < 65536;
	info->leaf = info->exact && (info->kind == PY_STR || info->kind == PY_ATOM);
	info->buffers = ld__py_may_own(info);
	info->future = info->opaque && is_future(type);
	find_sizeof(info);
}

static bool grow_type_slots(uint64_t room)
{
	uint32_t *slots = ld__py_map(room * sizeof(*slots));
	uint32_t count = (uint32_t)(ld__py_heap.types.bytes / sizeof(struct py_type_info));
	const struct py_type_info *types = (const void *)ld__py_heap.types.at;

	if (!slots)
		return false;
	for (uint32_t n = 0; n < count; n++) {
		uint64_t i = hash(types[n].type);

		while (slots[i & (room - 1)])
			i++;
		slots[i & (room - 1)] = n + 1;
	}
	ld__py_unmap(ld__py_heap.type_slots, (ld__py_heap.type_mask + 1) * sizeof(*slots));
	ld__py_heap.type_slots = slots;
	ld__py_heap.type_mask = room - 1;
	return true;
}

struct py_type_info *ld__py_type_info(uint64_t type)
{
	static uint32_t last;			/* the same type as before, often */
	uint64_t i = hash(type);
	uint32_t count = (uint32_t)(ld__py_heap.types.bytes / sizeof(struct py_type_info));
	struct py_type_info *info = (void *)ld__py_heap.types.at, made = { 0 };

	if (last < count && info[last].type == type)
		return info + last;
	for (;; i++) {
		uint32_t slot = ld__py_heap.type_slots[i & ld__py_heap.type_mask];

		if (!slot)
			break;
		info = (struct py_type_info *)(void *)ld__py_heap.types.at + (slot - 1);
		if (info->type == type) {
			last = slot - 1;
			return info;
		}
	}
	if (count >= 0xfffffe)
		return NULL;
	fill_type(&made, type);		/* may fault: nothing is entered before it is whole */
	if ((count + 1) * 2 > ld__py_heap.type_mask && !grow_type_slots((ld__py_heap.type_mask + 1) * 2))
		return NULL;
	info = ld__py_vector_add(&ld__py_heap.types, sizeof(*info));
	if (!info)
		return NULL;
	*info = made;
	for (i = hash(type); ld__py_heap.type_slots[i & ld__py_heap.type_mask]; i++)
		;
	ld__py_heap.type_slots[i & ld__py_heap.type_mask] = count + 1;
	return info;
}

bool ld__py_is_gc(const struct py_type_info *info, uint64_t object)
{
	if (!(info->flags & FLAG_HAVE_GC))
		return false;
	return !info->is_gc || info->is_gc((py_object *)(uintptr_t)object);
}

/* Bytes before the object that belong to its allocation. */
uint32_t ld__py_presize(const struct py_type_info *info, uint64_t object)
{
	uint32_t bytes = ld__py_is_gc(info, object) ? 16 : 0;

	if (ld__py.version == 311 && (info->flags & FLAG_MANAGED_DICT))
		bytes += 16;
	else if (ld__py.version >= 312 && (info->flags & (FLAG_MANAGED_DICT | FLAG_MANAGED_WEAKREF)))
		bytes += 16;
	return bytes;
}

static uint64_t size_of(const struct py_type_info *info, uint64_t object)
{
	uint64_t bytes;
	int64_t items;
	py_object *answer;

	if (py_is_ascii(info, object))		/* what their __sizeof__ says, without a call and an int */
		return (ld__py.version < 312 ? 48u : 40u) + py_word(object, 16) + 1;
	if (info->kind == PY_LIST && info->exact)
		return info->basicsize + py_word(object, 32) * 8 + ld__py_presize(info, object);
	if (info->sizeof_call) {
		if (info->sizeof_flags == 4) {
			py_object *(*call)(py_object *, py_object *) =
				(py_object *(*)(py_object *, py_object *))info->sizeof_call;

			answer = call((py_object *)(uintptr_t)object, NULL);
		} else {
			py_object *(*call)(py_object *, py_object *, py_object *const *, long,
					   py_object *) =
				(py_object *(*)(py_object *, py_object *, py_object *const *, long,
						py_object *))info->sizeof_call;

			answer = call((py_object *)(uintptr_t)object,
				      (py_object *)(uintptr_t)info->sizeof_class, NULL, 0, NULL);
		}
		if (answer) {
			bytes = (uint64_t)ld__py.PyLong_AsSsize_t(answer);
			ld__py.Py_DecRef(answer);
			if (bytes < 1ull << 46)
				return bytes + ld__py_presize(info, object);
		}
		ld__py.PyErr_Clear();
	}
	bytes = info->basicsize;
	if (info->itemsize) {
		items = (int64_t)py_word(object, OB_SIZE);
		bytes += (uint64_t)(items < 0 ? -items : items) * info->itemsize;
	}
	return bytes + ld__py_presize(info, object);
}

/* --- the walk ------------------------------------------------------------------------------ */

/* An object is met: mark it. */
static void note(uint64_t object)
{
	const struct py_type_info *info;
	uint64_t *waits;
	int added;

	if (counting || !object || (object & 7) || object == probe_object ||
	    ld__marks_has(&ld__py_heap.marks, object) || ld__py_bump_owns(object))
		return;
	info = ld__py_type_info(py_type(object));	/* faults here when it is no object */
	added = info ? ld__marks_add(&ld__py_heap.marks, object) : -ENOMEM;
	if (added <= 0) {
		out_of_memory |= added == -ENOMEM;
		return;
	}
	if (object > position || info->leaf)
		return;
	waits = ld__py_vector_add(&waiting, sizeof(*waits));
	if (waits)
		*waits = object;
	else
		out_of_memory = true;
}

static void found(uint64_t object)
{
	uint32_t index;

	if (!counting) {
		note(object);
		return;
	}
	index = ld__py_find(object);
	if (index != PY_NO_ITEM)
		py_item(index)->balance--;
}

static int visit_found(py_object *object, void *data)
{
	(void)data;
	if ((uint64_t)(uintptr_t)object == current_type)
		type_seen = true;
	found((uint64_t)(uintptr_t)object);
	return ++visits > TRAVERSE_MAX;
}

static void member_found(const char *name, uint64_t target, void *data)
{
	(void)name;
	(void)data;
	found(target);
}

static void found_dict_items(uint64_t dict, bool keys_too, bool values_too)
{
	py_object *key, *value;
	long at = 0;

	while (ld__py.PyDict_Next((py_object *)(uintptr_t)dict, &at, &key, &value)) {
		if (keys_too)
			found((uint64_t)(uintptr_t)key);
		else
			note((uint64_t)(uintptr_t)key);
		if (values_too)
			found((uint64_t)(uintptr_t)value);
	}
}

static void fold(uint64_t object, uint32_t flag)
{
	uint32_t index;

	note(object);
	index = ld__py_find(object);
	if (index != PY_NO_ITEM)
		py_item(index)->type |= flag;
}

static void fold_if_alone(uint64_t dict)
{
	if (is_plain_dict(dict) && py_word(dict, OB_REFCNT) == 1)
		fold(dict, ITEM_FOLDED);
}

static uint64_t lru_dict_candidate;
static uint64_t lru_own_dict;

static int visit_lru(py_object *object, void *data)
{
	uint64_t target = (uint64_t)(uintptr_t)object;

	(void)data;
	if (is_plain_dict(target) && target != lru_own_dict)
		lru_dict_candidate = target;	/* the last dict shown is the cache: keys come before it */
	return 0;
}

uint64_t ld__py_lru_dict(const struct py_type_info *info, uint64_t object)
{
	lru_dict_candidate = 0;
	lru_own_dict = ld__py_instance_dict(info, object);
	if (info->traverse)
		info->traverse((py_object *)(uintptr_t)object, visit_lru, NULL);
	return lru_dict_candidate;
}

/* Decide which parts an object shows as its own, see python_labels.c. */
static void fold_parts(const struct py_type_info *info, uint64_t object)
{
	uint64_t part;
	struct py_fold *fold_entry;

	switch (info->kind) {
	case PY_MODULE:
		part = py_word(object, 16);
		if (!is_plain_dict(part))
			break;
		fold_entry = counting ? ld__py_vector_add(&ld__py_heap.folds, sizeof(*fold_entry)) : NULL;
		if (fold_entry) {
			*fold_entry = (struct py_fold){ part, object };
			fold(part, ITEM_MODULE_DICT);
		}
		break;
	case PY_TYPE:
		if (py_word(object, TP_FLAGS) & FLAG_HEAPTYPE)
			fold_if_alone(py_word(object, TP_DICT));
		break;
	case PY_FUNCTION:
		part = py_word(object, ld__py.version < 310 ? 48 : 72);
		if (part && py_type(part) == ld__py.PyTuple_Type && py_word(part, OB_REFCNT) == 1)
			fold(part, ITEM_FOLDED);
		break;
	case PY_LRU_CACHE:
		fold_if_alone(ld__py_lru_dict(info, object));
		fold_if_alone(ld__py_instance_dict(info, object));
		break;
	default:
		if (info->dictoffset || (info->flags & FLAG_MANAGED_DICT))
			fold_if_alone(ld__py_instance_dict(info, object));
	}
}

/* Strings that a class made in Python holds and its traversal does not show. */
static void found_names(uint64_t type)
{
	uint64_t name;

	for (int i = -16; i <= 0; i += 8)	/* ht_name, ht_slots, ht_qualname */
		found(py_word(type, ld__py.layout.ht_qualname + i));
	for (uint32_t i = 0; (name = ld__py_shared_name(type, i)) != 0; i++)
		found(name);
}

static void traverse_type(uint64_t type)
{
	found(py_word(type, TP_DICT));
	found(py_word(type, TP_BASE));
	found(py_word(type, TP_BASES));
	found(py_word(type, TP_MRO));
}

/* What a suspended greenlet's frames hold: its own traversal does not show it, no thread runs them. */
static void traverse_greenlet(const struct py_type_info *info, uint64_t greenlet)
{
	uint64_t at = ld__py_greenlet_frame(info, greenlet);
	struct py_frame frame;

	for (int depth = 0; at && depth < 2000; depth++, at = frame.back) {
		if (!ld__py_frame_read(at, &frame))
			continue;
		if (ld__py.version < 311) {	/* frames are objects there, with a traversal of their own */
			note(frame.object);
			continue;
		}
		found(frame.code);
		found(frame.func);
		found(frame.locals);
		found(frame.object);
		for (uint32_t i = 0; i < frame.slot_count + frame.stack_count; i++)
			found(py_word(frame.slots, 8l * i));
	}
}

static void traverse(uint64_t object)
{
	const struct py_type_info info = *ld__py_type_info(py_type(object));	/* the table may move */
	uint32_t index;
	bool gc;

	current_type = info.type;
	type_seen = false;
	visits = 0;
	gc = ld__py_is_gc(&info, object);
	fold_parts(&info, object);

	if (info.kind == PY_DICT && info.exact) {
		bool split = ld__py_dict_is_split(object);

		found_dict_items(object, !split, !ld__py_dict_is_embedded(object));
	} else if (info.kind == PY_TYPE && !gc) {
		traverse_type(object);		/* a static type */
		type_seen = true;
	} else if (gc && info.traverse) {
		info.traverse((py_object *)(uintptr_t)object, visit_found, NULL);
		if (info.kind == PY_DICT)
			found_dict_items(object, true, false);
		else if (info.kind == PY_TYPE)
			found_names(object);
	} else if (info.kind == PY_CODE) {
		for (const struct py_part *part = ld__py_code_parts(); part->offset >= 0; part++)
			found(py_word(object, part->offset));
	} else if (info.kind == PY_LRU_ELEM) {
		index = ld__py_find(object);	/* its ring holds it beside the dict */
		if (index != PY_NO_ITEM)
			py_item(index)->balance--;
		found(py_word(object, 40));
		found(py_word(object, 48));
	} else if (info.has_members && info.kind == PY_OTHER) {
		ld__py_members(info.type, object, member_found, NULL);
	}
	if (info.kind == PY_GREENLET)
		traverse_greenlet(&info, object);
	if (!type_seen && (info.flags & FLAG_HEAPTYPE))
		found(info.type);
}

static void set_broken(uint64_t object)
{
	uint64_t *entry = ld__py_vector_add(&broken, sizeof(*entry));

	if (entry)
		*entry = object;
}

/* Meet everything that an object refers to. */
static void discover(uint64_t object)
{
	if (ld__py_type_info(py_type(object))->leaf)
		return;
	if (!ld__py_guarded("discover", traverse, object)) {
		set_broken(object);
	} else if (visits > TRAVERSE_MAX) {
		ld__py_fault_note("discover", object);
		set_broken(object);
	}
}

static void discover_all(void)
{
	uint64_t first = 0;

	for (;;) {
		position = ld__marks_next(&ld__py_heap.marks, first);
		if (!position)
			return;
		first = position + 8;
		discover(position);
		while (waiting.bytes) {
			waiting.bytes -= sizeof(uint64_t);
			discover(*(uint64_t *)(void *)(waiting.at + waiting.bytes));
		}
	}
}

/* Everything is marked: make the items. */
static bool number_all(void)
{
	const uint64_t *bad = (const void *)broken.at;
	uint64_t object = 0;

	if (ld__py_heap.marks.count >= PY_NO_ITEM - 2)
		return false;
	ld__py_heap.count = ld__marks_number(&ld__py_heap.marks, NULL, NULL);
	ld__py_heap.items = ld__py_map((ld__py_heap.count + 1ull) * sizeof(struct py_item));
	if (!ld__py_heap.items)
		return false;
	for (uint32_t n = 0; n < py_count(); n++) {
		const struct py_type_info *info;
		struct py_item *item = py_item(n);
		uint64_t refs;

		object = ld__marks_next(&ld__py_heap.marks, object + 8);
		info = ld__py_type_info(py_type(object));
		refs = py_word(object, OB_REFCNT);
		item->type = (uint32_t)(info - (struct py_type_info *)(void *)ld__py_heap.types.at);
		if ((ld__py.version >= 312 && (int32_t)refs < 0) || (uint32_t)refs > 500000000u)	/* or frozen code of 3.11 */
			item->type |= ITEM_IMMORTAL;
		else
			item->balance = refs > INT32_MAX / 2 ? INT32_MAX / 2 : (int32_t)refs;
	}
	for (uint64_t i = 0; i < broken.bytes / sizeof(*bad); i++)
		py_item(ld__py_find(bad[i]))->type |= ITEM_FAULTED;
	return true;
}

/* --- where the walk begins ----------------------------------------------------------------- */

static bool generations_look_right(uint64_t head)
{
	return py_word(head, 3 * GENERATION_BYTES) == head;
}

static void walk_list_call(uint64_t head)
{
	uint64_t at = py_word(head, 0) & ~3ull;
	uint64_t bound = 1ull << 32;

	for (; at && at != head && bound--; at = py_word(at, 0) & ~3ull) {
		note(at + 16);
		ld__py_heap.tracked += at + 16 != probe_object;
	}
}

static void walk_list(uint64_t head)
{
	if (!ld__py_guarded("list", walk_list_call, head))
		ld__py_heap.refused = true;	/* the rest of a broken list is lost */
}

static void walk_generations(uint64_t youngest)
{
	for (unsigned i = 0; i < 3; i++)
		walk_list(youngest + i * GENERATION_BYTES);
	walk_list(youngest + 3 * GENERATION_BYTES + (generations_look_right(youngest) ? 8 : 0));
}

static void walk_interpreters(uint64_t youngest)
{
	uint64_t main_interpreter = ld__py.PyInterpreterState_Main ?
		(uint64_t)(uintptr_t)ld__py.PyInterpreterState_Main() : 0;

	walk_generations(youngest);
	for (void *interp = ld__py.PyInterpreterState_Head(); interp;
	     interp = ld__py.PyInterpreterState_Next(interp)) {
		uint64_t other = (uint64_t)(uintptr_t)interp;

		ld__py_heap.interpreters++;
		if (other == main_interpreter || ld__py.version == 308)
			continue;
		/* from 3.12 on another interpreter may run under a GIL of its own: it did not stop for us */
		if (!main_interpreter || ld__py.version >= 312 ||
		    !generations_look_right(other + (youngest - main_interpreter))) {
			ld__py_heap.skipped_interpreters++;
			continue;
		}
		walk_generations(other + (youngest - main_interpreter));
	}
}

static void note_frame(const struct py_frame *frame, bool innermost)
{
	if (ld__py.version < 311) {
		if (innermost)
			found(frame->object);	/* held by the C code that runs it */
		else
			note(frame->object);
		return;
	}
	found(frame->code);
	found(frame->func);
	found(frame->locals);
	found(frame->object);
	note(frame->globals);
	note(frame->builtins);
	for (uint32_t i = 0; i < frame->slot_count + frame->stack_count; i++)
		found(py_word(frame->slots, 8l * i));
}

static void note_thread_frames(uint64_t tstate)
{
	uint64_t at = ld__py_tstate_frame(tstate);
	struct py_frame frame;
	bool innermost = true;

	for (int depth = 0; at && depth < 100000; depth++, at = frame.back) {
		if (ld__py_frame_read(at, &frame))
			note_frame(&frame, innermost);
		innermost = false;
	}
}

static void note_frames(void *interp)
{
	for (void *tstate = ld__py.PyInterpreterState_ThreadHead(interp); tstate;
	     tstate = ld__py.PyThreadState_Next(tstate))
		ld__py_guarded("frames", note_thread_frames, (uint64_t)(uintptr_t)tstate);
}

static void walk_frames(void)
{
	for (void *interp = ld__py.PyInterpreterState_Head(); interp;
	     interp = ld__py.PyInterpreterState_Next(interp))
		note_frames(interp);
}

static void note_modules(uint64_t unused)
{
	(void)unused;
	note((uint64_t)(uintptr_t)ld__py.PyImport_GetModuleDict());
}

int ld__python_child_begin(void)
{
	uint64_t name;

	memset(&ld__py_heap, 0, sizeof(ld__py_heap));
	ld__py_bump_install();
	ld__py_guard_install();
	ld__py_heap.gc_enabled = ld__py.PyGC_IsEnabled ? ld__py.PyGC_IsEnabled() : true;
	if (ld__py.PyGC_Disable)
		ld__py.PyGC_Disable();
	else
		ld__py.PyErr_SetNone(*(py_object **)(uintptr_t)ld__py.PyExc_MemoryError);	/* a collection does not start under an error */
	if (ld__marks_new(&ld__py_heap.marks) < 0 || !grow_type_slots(1u << 10))
		return -ENOMEM;
	name = (uint64_t)(uintptr_t)ld__py.PyUnicode_InternFromString("__sizeof__");
	sizeof_name = name;
	return name ? 0 : -ENOMEM;
}

static uint64_t find_youngest(void)
{
	uint64_t head;

	probe_object = (uint64_t)(uintptr_t)ld__py.PyList_New(0);
	if (!probe_object)
		return 0;
	head = py_word(probe_object, -16) & ~3ull;
	if (!ld__py.PyGC_Disable) {
		ld__py_heap.gc_enabled = py_int(head, -12) != 0;
		*(int32_t *)(uintptr_t)(head + 16) = 0;		/* threshold: never collect */
		ld__py.PyErr_Clear();
	}
	ld__py_heap.collecting = py_int(head, 176) != 0;
	return head;
}

/* Words of objects whose fields nothing names, where they account for references that are missing. */
static void explain_by_words(uint64_t index)
{
	const struct py_type_info *info = py_info(py_item((uint32_t)index));
	uint64_t object = ld__py_object((uint32_t)index);

	if (info->traverse && ld__py_is_gc(info, object))
		return;
	for (long at = 16; at + 8 <= (long)info->basicsize; at += 8) {
		uint32_t target = ld__py_find(py_word(object, at));

		if (target == PY_NO_ITEM || target == index || at == info->weaklistoffset)
			continue;
		if (py_item(target)->balance > 0) {
			py_item(target)->balance--;
			py_item(target)->type |= ITEM_CAPSULED;
		}
	}
}

/* --- face ---------------------------------------------------------------------------------- */

static uint32_t unexplained(const struct py_item *item)
{
	if (item->type & ITEM_IMMORTAL)
		return item->balance == 0;
	return item->balance > 0 ? (uint32_t)item->balance : 0;
}

static struct python_object described;

/* Bytes of the object's own allocation, without what it owns elsewhere. */
static uint64_t own_size(const struct py_type_info *info, uint64_t object, uint64_t bytes, uint32_t presize)
{
	uint64_t fixed = presize + info->basicsize;

	switch (info->kind) {
	case PY_LIST: case PY_DICT: case PY_SET: case PY_DEQUE: case PY_BYTEARRAY: case PY_ARRAY: case PY_TYPE:
		return fixed < bytes ? fixed : bytes;
	case PY_STR:
		return py_int(object, 32) & 32 ? bytes : fixed;	/* compact: the text is inside */
	default:
		return bytes;
	}
}

static void describe(uint64_t index)
{
	const struct py_item *item = py_item((uint32_t)index);
	const struct py_type_info *info = py_info(item);
	uint64_t object = ld__py_object((uint32_t)index), bytes = size_of(info, object);
	uint32_t presize = ld__py_presize(info, object);

	described = (struct python_object){
		.addr = object - presize, .bytes = bytes, .object = object,
		.type = info->type, .own_bytes = own_size(info, object, bytes, presize), .index = (uint32_t)index,
		.type_index = ITEM_TYPE(item->type), .extra = unexplained(item) };
}

static uint64_t offered_bytes;

/* One of three types, a plausible count, and as large as the block to the byte. */
static void adopt_call(uint64_t object)
{
	uint64_t type = py_type(object), refs = py_word(object, OB_REFCNT);
	const struct py_type_info *info;

	if ((type != ld__py.PyBytes_Type && type != ld__py.PyUnicode_Type && type != ld__py.PyLong_Type) || !refs ||
	    refs > INT32_MAX / 2)
		return;
	info = ld__py_type_info(type);
	if (info && size_of(info, object) == offered_bytes)
		note(object);
}

void ld__python_adopt(uint64_t addr, uint64_t bytes)
{
	offered_bytes = bytes;
	if (bytes >= 32 && !(addr & 7))
		ld__py_guarded(NULL, adopt_call, addr);
}

uint64_t ld__python_enumerate(void (*offer)(void *data), void *data)
{
	uint64_t youngest = find_youngest(), object = 0;

	object_sizeof = (uint64_t)(uintptr_t)ld__py._PyType_Lookup(
		(py_object *)(uintptr_t)ld__py.PyBaseObject_Type, (py_object *)(uintptr_t)sizeof_name);
	if (!youngest)
		return 0;
	position = 0;
	counting = false;
	walk_interpreters(youngest);
	walk_frames();
	ld__py_guarded("modules", note_modules, 0);
	discover_all();
	if (offer)
		offer(data);
	if (!number_all()) {
		ld__py_heap.refused = true;
		return 0;
	}
	counting = true;
	for (uint32_t n = 0; n < py_count(); n++) {
		object = ld__marks_next(&ld__py_heap.marks, object + 8);
		if (py_info(py_item(n))->leaf || (py_item(n)->type & ITEM_FAULTED))
			continue;
		if (!ld__py_guarded("count", traverse, object))
			py_item(n)->type |= ITEM_FAULTED;
	}
	walk_frames();
	for (uint32_t n = 0; n < py_count(); n++)
		if (py_info(py_item(n))->opaque && !(py_item(n)->type & ITEM_FAULTED))
			ld__py_guarded_item("words", explain_by_words, n);
	for (uint32_t n = 0; n < py_count(); n++)
		if (py_item(n)->balance < 0 && !(py_item(n)->type & ITEM_IMMORTAL))
			ld__py_heap.over_explained++;
	ld__py_heap.refused |= out_of_memory;
	return py_count();
}

void ld__python_objects(void (*visit)(const struct python_object *object, void *data), void *data)
{
	ld__py_heap.bytes = 0;
	for (uint32_t n = 0; n < py_count(); n++) {
		const struct py_type_info *info = py_info(py_item(n));
		uint64_t object = ld__py_object(n);

		if (!ld__py_guarded_item("size", describe, n))
			described = (struct python_object){ .addr = object, .object = object, .index = n,
				.type = info->type, .type_index = ITEM_TYPE(py_item(n)->type) };
		ld__py_heap.bytes += described.bytes;
		visit(&described, data);
	}
}

uint64_t ld__python_address(uint32_t index)
{
	return ld__py_object(index);
}

static uint64_t size_asked;

static void size_call(uint64_t index)
{
	size_asked = size_of(py_info(py_item((uint32_t)index)), ld__py_object((uint32_t)index));
}

uint64_t ld__python_bytes(uint32_t index)
{
	size_asked = 0;
	ld__py_guarded_item("size", size_call, index);
	return size_asked;
}

uint32_t ld__python_type_index(uint32_t index)
{
	return ITEM_TYPE(py_item(index)->type);
}

uint32_t ld__python_unexplained(uint32_t index)
{
	return unexplained(py_item(index));
}

bool ld__python_held(uint64_t word)
{
	uint32_t index = ld__py_find(word);
	struct py_item *item;

	if (index == PY_NO_ITEM)
		return false;
	item = py_item(index);
	if (!unexplained(item))
		return false;
	if (!(item->type & ITEM_IMMORTAL))
		item->balance--;
	return true;
}
