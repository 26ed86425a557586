/* SPDX-License-Identifier: Apache-2.0
 * L3  python_labels.c - the references of one object, each with the words a person would use for it.
 *
 * tp_traverse says exactly which objects are referred to, but not how; names come from elsewhere:
 *
 *   targets    what tp_traverse shows, with multiplicity          (the truth)
 *   claims     "x is at .name", from the object's layout           (the words)
 *
 * A claim takes its target away; targets that nobody claims get the offset of the word that holds
 * them. A claim without a target is no reference, except where the object's own traversal does not
 * show what it holds (str keys of a dict, parts of a code object, the contents of a folded dict).
 *
 * Folding: the dict of an instance, class, module or cache and the closure of a function belong to
 * their owner when nobody else holds them. The owner then shows the contents as its own (`a.x`, not
 * `a.__dict__['x']`), the dict itself shows nothing. A module's dict is also held by each of its
 * functions; it leads back to the module. */
#include <string.h>

#include "python_private.h"
#include "stream.h"

#define TEXT_MAX 80			/* characters of a key */

static void (*give)(const struct python_reference *ref, void *data);
static void *give_data;
static uint64_t source;
static bool failed;			/* no memory for the targets */

struct target { uint64_t object; uint32_t left; };
static struct py_vector targets;
static bool targets_sorted;

/* --- giving -------------------------------------------------------------------------------- */

void ld__py_give_to(void (*visit)(const struct python_reference *ref, void *data), void *data)
{
	give = visit;
	give_data = data;
}

void ld__py_give(uint64_t target, uint32_t label, uint64_t value, const char *text,
		 uint64_t text_id, bool is_object)
{
	struct python_reference ref = { target, value, text, text_id, label, PY_NO_ITEM, is_object };

	if (is_object)
		ref.index = ld__py_find(target);
	if (!target || (is_object && ref.index == PY_NO_ITEM))
		return;
	ld__py_guard_pause(true);
	give(&ref, give_data);
	ld__py_guard_pause(false);
}

void ld__py_give_named(uint64_t target, uint32_t label, const char *text)
{
	ld__py_give(target, label, 0, text, 0, true);
}

static void give_number(uint64_t target, uint32_t label, uint64_t value)
{
	ld__py_give(target, label, value, NULL, 0, true);
}

/* --- targets ------------------------------------------------------------------------------- */

static int visit_target(py_object *object, void *data)
{
	struct target *target = ld__py_vector_add(&targets, sizeof(*target));
	uint64_t *visits = data;

	if (!target) {
		failed = true;
		return 1;
	}
	*target = (struct target){ (uint64_t)(uintptr_t)object, 1 };
	return ++*visits > 1u << 26;
}

static uint64_t target_count(void)
{
	return targets.bytes / sizeof(struct target);
}

static void collect_targets(const struct py_type_info *info, uint64_t object)
{
	uint64_t visits = 0;

	targets.bytes = 0;
	targets_sorted = false;
	if (info->traverse && ld__py_is_gc(info, object))
		info->traverse((py_object *)(uintptr_t)object, visit_target, &visits);
}

/* Shell sort: no recursion, no memory, and nearly linear on what traversals give. */
static void sort_targets(void)
{
	struct target *all = (struct target *)(void *)targets.at;
	uint64_t n = target_count(), gap = 1;

	if (targets_sorted)
		return;
	targets_sorted = true;
	while (gap < n / 9)
		gap = 3 * gap + 1;
	for (; gap > 0; gap /= 3) {
		for (uint64_t i = gap; i < n; i++) {
			struct target moved = all[i];
			uint64_t j = i;

			for (; j >= gap && all[j - gap].object > moved.object; j -= gap)
				all[j] = all[j - gap];
			all[j] = moved;
		}
	}
}

/* Take one reference to `object` away; false when there is none left. */
static bool claim(uint64_t object)
{
	struct target *all;
	uint64_t low = 0, high = target_count();

	sort_targets();
	all = (struct target *)(void *)targets.at;
	while (low < high) {
		uint64_t mid = (low + high) / 2;

		if (all[mid].object < object)
			low = mid + 1;
		else
			high = mid;
	}
	for (; low < target_count() && all[low].object == object; low++) {
		if (all[low].left) {
			all[low].left = 0;
			return true;
		}
	}
	return false;
}

static void claim_attribute(const char *name, uint64_t target, void *data)
{
	(void)data;
	if (target && claim(target))
		ld__py_give_named(target, STREAM_LABEL_ATTR, name);
}

static void claim_word(const char *name, long offset)
{
	claim_attribute(name, py_word(source, offset), NULL);
}

/* --- texts --------------------------------------------------------------------------------- */

static char key_text[TEXT_MAX * 4 + 160];

void ld__py_put(struct py_text *text, const char *added)
{
	while (*added && text->at < text->end)
		*text->at++ = *added++;
	*text->at = '\0';
}

static void put_quoted(struct py_text *text, const char *bytes, uint64_t count, bool is_bytes)
{
	static const char hex[] = "0123456789abcdef";
	int characters = 0;

	ld__py_put(text, "'");
	for (uint64_t i = 0; i < count; i++) {
		unsigned char c = (unsigned char)bytes[i];
		char plain[2] = { (char)c, 0 }, escaped[5] = { '\\', 'x', hex[c >> 4], hex[c & 15], 0 };

		if ((c & 0xc0) != 0x80 && characters++ == TEXT_MAX) {
			ld__py_put(text, "...");
			break;
		}
		if (c == '\\' || c == '\'') {
			ld__py_put(text, "\\");
			ld__py_put(text, plain);
		} else if (c == '\n') {
			ld__py_put(text, "\\n");
		} else if (c == '\t') {
			ld__py_put(text, "\\t");
		} else if (c == '\r') {
			ld__py_put(text, "\\r");
		} else if (c < 32 || c == 127 || (is_bytes && c > 127)) {
			ld__py_put(text, escaped);
		} else {
			ld__py_put(text, plain);
		}
	}
	ld__py_put(text, "'");
}

void ld__py_put_number(struct py_text *text, long long value)
{
	char digits[24];
	int n = sizeof(digits);
	unsigned long long rest = value < 0 ? -(unsigned long long)value : (unsigned long long)value;

	digits[--n] = '\0';
	do
		digits[--n] = (char)('0' + rest % 10);
	while (rest /= 10);
	if (value < 0)
		digits[--n] = '-';
	ld__py_put(text, digits + n);
}

static void put_key(struct py_text *text, uint64_t key, int depth)
{
	uint64_t type = py_type(key), flags = py_word(type, TP_FLAGS);
	int overflow = 0;
	long bytes = 0;
	long long value;
	const char *utf8;

	if (type == ld__py.PyUnicode_Type) {
		utf8 = ld__py.PyUnicode_AsUTF8AndSize((py_object *)(uintptr_t)key, &bytes);
		if (utf8) {
			put_quoted(text, utf8, (uint64_t)bytes, false);
			return;
		}
		ld__py.PyErr_Clear();
	} else if (type == ld__py.PyBytes_Type) {
		ld__py_put(text, "b");
		put_quoted(text, (const char *)(uintptr_t)(key + 32), py_word(key, OB_SIZE), true);
		return;
	} else if (type == ld__py.PyLong_Type) {
		value = ld__py.PyLong_AsLongLongAndOverflow((py_object *)(uintptr_t)key, &overflow);
		if (!overflow) {
			ld__py_put_number(text, value);
			return;
		}
	} else if (type == ld__py.PyBool_Type) {
		value = ld__py.PyLong_AsLongLongAndOverflow((py_object *)(uintptr_t)key, &overflow);
		ld__py_put(text, value ? "True" : "False");
		return;
	} else if (key == ld__py._Py_NoneStruct) {
		ld__py_put(text, "None");
		return;
	} else if (type == ld__py.PyTuple_Type && depth < 2) {
		uint64_t n = py_word(key, OB_SIZE);

		ld__py_put(text, "(");
		for (uint64_t i = 0; i < n && i < 6; i++) {
			if (i)
				ld__py_put(text, ", ");
			put_key(text, py_word(key, 24 + 8 * (long)i), depth + 1);
		}
		ld__py_put(text, n > 6 ? ", ...)" : n == 1 ? ",)" : ")");
		return;
	} else if (flags & FLAG_TYPE) {
		ld__py_put(text, "<class ");
		ld__py_put(text, ld__py_type_name(key));
		ld__py_put(text, ">");
		return;
	} else if (type == ld__py.PyContextVar_Type) {
		ld__py_put(text, "ContextVar ");
		put_key(text, py_word(key, 16), depth + 1);
		return;
	}
	ld__py_put(text, "<");
	ld__py_put(text, ld__py_type_name(type));
	ld__py_put(text, ">");
}

const char *ld__py_key_text(uint64_t key)
{
	struct py_text text = { key_text, key_text + sizeof(key_text) - 1 };

	*key_text = '\0';
	put_key(&text, key, 0);
	return key_text;
}

/* --- parts of objects ---------------------------------------------------------------------- */

static bool folded(uint64_t object, uint32_t flag)
{
	uint32_t index = object ? ld__py_find(object) : PY_NO_ITEM;

	return index != PY_NO_ITEM && (py_item(index)->type & flag);
}

static bool is_keyword(const char *text)
{
	static const char *const words[] = { "False", "None", "True", "and", "as", "assert", "async", "await", "break",
		"class", "continue", "def", "del", "elif", "else", "except", "finally", "for", "from", "global", "if",
		"import", "in", "is", "lambda", "nonlocal", "not", "or", "pass", "raise", "return", "try", "while",
		"with", "yield" };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (!strcmp(words[i], text))
			return true;
	return false;
}

/* May it be written behind a dot? Letters beyond ASCII are believed. */
static bool is_identifier(const char *text)
{
	for (const char *at = text; *at; at++) {
		char c = (char)(*at | 32);

		if (*at != '_' && !(c >= 'a' && c <= 'z') && !((unsigned char)*at & 128) &&
		    !(at > text && *at >= '0' && *at <= '9'))
			return false;
	}
	return *text && !is_keyword(text);
}

/* An attribute whose name is a str object: .name, or .__dict__['class'] where that is no expression. */
static void give_attribute(uint64_t target, uint64_t name)
{
	static uint64_t good;			/* the last name that was one */
	const char *text;

	if (name == good) {
		ld__py_give(target, STREAM_LABEL_ATTR, 0, ld__py_text(name), name, true);
		return;
	}
	text = ld__py_text(name);
	if (is_identifier(text)) {
		good = name;
		ld__py_give(target, STREAM_LABEL_ATTR, 0, text, name, true);
		return;
	}
	struct py_text words = { key_text, key_text + sizeof(key_text) - 1 };

	ld__py_put(&words, "__dict__[");
	put_key(&words, name, 0);
	ld__py_put(&words, "]");
	ld__py_give(target, STREAM_LABEL_ATTR, 0, key_text, name | 2, true);
}

/* Items of a dict. With `as_attributes` str keys become attributes of the owner. */
static void give_dict(uint64_t dict, bool as_attributes)
{
	py_object *key, *value;
	uint64_t n = 0;
	long at = 0;
	bool shares_keys = ld__py_dict_is_split(dict);	/* then the class has them */

	for (; ld__py.PyDict_Next((py_object *)(uintptr_t)dict, &at, &key, &value); n++) {
		uint64_t k = (uint64_t)(uintptr_t)key;

		if (!shares_keys)
			give_number(k, STREAM_LABEL_DICT_KEY, n);
		if (as_attributes && is_str(k)) {
			give_attribute((uint64_t)(uintptr_t)value, k);
			continue;
		}
		if (ld__py_find((uint64_t)(uintptr_t)value) != PY_NO_ITEM)	/* before the trouble of printing */
			ld__py_give((uint64_t)(uintptr_t)value, STREAM_LABEL_KEY, 0, ld__py_key_text(k),
				    is_str(k) ? k | 1 : 0, true);	/* quoted: not the text of the name */
	}
}

static void give_attributes(uint64_t dict)
{
	py_object *key, *value;
	long at = 0;

	if (py_type(dict) != ld__py.PyDict_Type)
		return;
	while (ld__py.PyDict_Next((py_object *)(uintptr_t)dict, &at, &key, &value))
		if (is_str((uint64_t)(uintptr_t)key))
			give_attribute((uint64_t)(uintptr_t)value, (uint64_t)(uintptr_t)key);
}

static void claim_dict_items(uint64_t dict)
{
	py_object *key, *value;
	long at = 0;

	while (ld__py.PyDict_Next((py_object *)(uintptr_t)dict, &at, &key, &value)) {
		claim((uint64_t)(uintptr_t)value);
		claim((uint64_t)(uintptr_t)key);
	}
}

/* A dict that belongs to the source: its contents as attributes when the source alone holds it. */
static void give_own_dict(uint64_t dict, uint32_t flag)
{
	if (!dict)
		return;
	claim(dict);
	if (folded(dict, flag)) {
		give_number(dict, STREAM_LABEL_OWNS, 0);
		give_dict(dict, true);
	} else {
		ld__py_give_named(dict, STREAM_LABEL_ATTR, "__dict__");
	}
}

static void give_instance(const struct py_type_info *info)
{
	struct py_inline values;
	uint64_t dict = ld__py_instance_dict(info, source);

	if (ld__py_inline_values(info, source, &values)) {
		for (uint32_t i = 0; i < values.count; i++) {
			uint64_t value = py_word(values.values, 8l * i);
			uint64_t name = py_word(values.names, 16l * i);

			if (value && name && claim(value))
				give_attribute(value, name);
		}
		if (dict && ld__py_dict_is_embedded(dict)) {	/* given already, as the values they are */
			claim(dict);
			if (folded(dict, ITEM_FOLDED))
				give_number(dict, STREAM_LABEL_OWNS, 0);
			else
				ld__py_give_named(dict, STREAM_LABEL_ATTR, "__dict__");
			dict = 0;
		}
	}
	give_own_dict(dict, ITEM_FOLDED);
	if (dict && !folded(dict, ITEM_FOLDED))		/* somebody else holds it, too: it reads instance.x all the same */
		give_attributes(dict);
	if (info->has_members)
		ld__py_members(info->type, source, claim_attribute, NULL);
}

static void give_function(const struct py_type_info *info)
{
	static const struct py_part old[] = {
		{ "__code__", 16 }, { "__globals__", 24 }, { "__defaults__", 32 },
		{ "__kwdefaults__", 40 }, { "__doc__", 56 }, { "__name__", 64 }, { "__module__", 88 },
		{ "__annotations__", 96 }, { "__qualname__", 104 }, { NULL, -1 },
	};
	static const struct py_part new[] = {
		{ "__globals__", 16 }, { "__builtins__", 24 }, { "__name__", 32 },
		{ "__qualname__", 40 }, { "__code__", 48 }, { "__defaults__", 56 },
		{ "__kwdefaults__", 64 }, { "__doc__", 80 }, { "__module__", 104 },
		{ "__annotations__", 112 }, { NULL, -1 },
	};
	uint64_t closure = py_word(source, ld__py.version < 310 ? 48 : 72);
	uint64_t code = py_word(source, ld__py.version < 310 ? 16 : 48), count, first = 0;

	for (const struct py_part *part = ld__py.version < 310 ? old : new; part->offset >= 0; part++)
		claim_word(part->name, part->offset);
	give_own_dict(ld__py_instance_dict(info, source), ITEM_FOLDED);
	if (!closure || !claim(closure))
		return;
	if (!folded(closure, ITEM_FOLDED)) {
		ld__py_give_named(closure, STREAM_LABEL_ATTR, "__closure__");
		return;
	}
	give_number(closure, STREAM_LABEL_OWNS, 0);
	count = py_word(closure, OB_SIZE);
	if (ld__py_is_code(code)) {		/* the free variables are the last of the slots */
		for (first = 0; first < 1 << 16 && ld__py_slot_name(code, (uint32_t)first); first++)
			;
		first = first >= count ? first - count : 0;
	}
	for (uint64_t i = 0; i < count; i++) {
		uint64_t name = ld__py_is_code(code) ? ld__py_slot_name(code, (uint32_t)(first + i)) : 0;

		ld__py_give(py_word(closure, 24 + 8 * (long)i), STREAM_LABEL_CELL, 0,
			       name ? ld__py_text(name) : "?", name, true);
	}
}

/* A part of the frame of the source, which is a frame or, from 3.11 on, a generator with its frame inside. */
static void claim_part(const char *generator, const char *name, uint64_t target)
{
	char words[48];
	struct py_text text = { words, words + sizeof(words) - 1 };

	if (generator) {
		ld__py_put(&text, generator);
		ld__py_put(&text, "_frame.");
	}
	ld__py_put(&text, name);
	claim_attribute(words, target, NULL);
}

/* generator: "gi", "cr" or "ag"; NULL = the source is a frame. */
static void give_frame(uint64_t at, const char *generator, const char *awaited)
{
	struct py_frame frame;

	if (!ld__py_frame_read(at, &frame))
		return;
	for (uint32_t i = 0; i < frame.slot_count; i++) {
		uint64_t value = py_word(frame.slots, 8l * i), name;

		if (!value || !claim(value))
			continue;
		name = ld__py_slot_name(frame.code, i);
		ld__py_give(value, STREAM_LABEL_LOCAL, 0, name ? ld__py_text(name) : "?", name, true);
	}
	for (uint32_t i = frame.stack_count; i-- > 0;) {
		uint64_t value = py_word(frame.slots, 8l * (frame.slot_count + i));

		if (!value || !claim(value))
			continue;
		if (awaited && i + 1 == frame.stack_count)
			ld__py_give_named(value, STREAM_LABEL_ATTR, awaited);
		else
			ld__py_give_named(value, STREAM_LABEL_NAMED, "temporary");
	}
	claim_part(generator, "f_code", frame.code);
	claim_part(generator, "f_globals", frame.globals);
	claim_part(generator, "f_builtins", frame.builtins);
	claim_part(generator, "f_locals", frame.locals);
	if (frame.func && claim(frame.func))
		ld__py_give_named(frame.func, STREAM_LABEL_NAMED, "function");
	if (frame.object != source && frame.object && claim(frame.object))
		ld__py_give_named(frame.object, STREAM_LABEL_NAMED, "frame");
	if (ld__py.version < 311 && frame.back)
		claim_attribute("f_back", frame.back, NULL);
}

/* Its frames' locals, which its own traversal does not show. */
static void give_greenlet(const struct py_type_info *info)
{
	uint64_t at = ld__py_greenlet_frame(info, source);
	struct py_frame frame;

	for (int depth = 0; at && depth < 2000; depth++, at = frame.back) {
		if (!ld__py_frame_read(at, &frame))
			continue;
		if (ld__py.version < 311) {
			if (!claim(frame.object))
				ld__py_give_named(frame.object, STREAM_LABEL_NAMED, "frame");
			continue;
		}
		for (uint32_t i = 0; i < frame.slot_count; i++) {
			uint64_t value = py_word(frame.slots, 8l * i), name = ld__py_slot_name(frame.code, i);

			if (value)
				ld__py_give(value, STREAM_LABEL_LOCAL, 0, name ? ld__py_text(name) : "?", name, true);
		}
		for (uint32_t i = 0; i < frame.stack_count; i++)
			ld__py_give_named(py_word(frame.slots, 8l * (frame.slot_count + i)),
					  STREAM_LABEL_NAMED, "temporary");
		ld__py_give_named(frame.code, STREAM_LABEL_ATTR, "f_code");
		ld__py_give_named(frame.func, STREAM_LABEL_NAMED, "function");
		ld__py_give_named(frame.locals, STREAM_LABEL_ATTR, "f_locals");
		ld__py_give_named(frame.object, STREAM_LABEL_NAMED, "frame");
	}
}

static void give_lru_cache(const struct py_type_info *info)
{
	uint64_t dict = ld__py_lru_dict(info, source), n = 0;
	bool alone = folded(dict, ITEM_FOLDED);
	py_object *key, *value;
	long at = 0;

	if (dict) {
		claim(dict);
		if (alone)
			give_number(dict, STREAM_LABEL_OWNS, 0);
		else
			ld__py_give_named(dict, STREAM_LABEL_NAMED, "cache");
	}
	for (; dict && ld__py.PyDict_Next((py_object *)(uintptr_t)dict, &at, &key, &value); n++) {
		uint64_t k = (uint64_t)(uintptr_t)key, v = (uint64_t)(uintptr_t)value, result = v;
		uint32_t index = ld__py_find(v);
		bool bounded = index != PY_NO_ITEM && py_info(py_item(index))->kind == PY_LRU_ELEM;

		if (bounded) {			/* an entry of the ring: key at 40, result at 48 */
			result = py_word(v, 48);
			if (alone)
				give_number(v, STREAM_LABEL_OWNS, 0);
			claim(k);
			claim(result);
		}
		if (!alone && !bounded)
			continue;		/* the dict shows them */
		give_number(k, STREAM_LABEL_CACHE_KEY, n);
		give_number(result, STREAM_LABEL_CACHE_RESULT, n);
	}
	give_own_dict(ld__py_instance_dict(info, source), ITEM_FOLDED);
}

static void give_type(uint64_t type)
{
	uint64_t dict = py_word(type, TP_DICT), name;

	give_own_dict(dict, ITEM_FOLDED);
	if (!(py_word(type, TP_FLAGS) & FLAG_HEAPTYPE)) {	/* its traversal shows nothing */
		ld__py_give_named(py_word(type, TP_BASE), STREAM_LABEL_ATTR, "__base__");
		ld__py_give_named(py_word(type, TP_BASES), STREAM_LABEL_ATTR, "__bases__");
		ld__py_give_named(py_word(type, TP_MRO), STREAM_LABEL_ATTR, "__mro__");
		return;
	}
	claim_word("__base__", TP_BASE);
	claim_word("__bases__", TP_BASES);
	claim_word("__mro__", TP_MRO);
	ld__py_give_named(py_word(type, ld__py.layout.ht_qualname - 16), STREAM_LABEL_ATTR, "__name__");
	ld__py_give_named(py_word(type, ld__py.layout.ht_qualname - 8), STREAM_LABEL_ATTR, "__slots__");
	ld__py_give_named(py_word(type, ld__py.layout.ht_qualname), STREAM_LABEL_ATTR, "__qualname__");
	for (uint32_t i = 0; (name = ld__py_shared_name(type, i)) != 0; i++)
		ld__py_give_named(name, STREAM_LABEL_NAMED, "attribute name");
}

static void give_exception(void)
{
	claim_word("args", 24);
	if (ld__py.version >= 311)
		claim_word("__notes__", 32);
	claim_word("__traceback__", ld__py.version < 311 ? 32 : 40);
	claim_word("__context__", ld__py.version < 311 ? 40 : 48);
	claim_word("__cause__", ld__py.version < 311 ? 48 : 56);
}

/* A context variable's value is found under (variable, value) pairs. */
static void give_context_node(void)
{
	uint64_t n = py_word(source, OB_SIZE);

	for (uint64_t i = 0; i + 1 < n && i < 4096; i += 2) {
		uint64_t key = py_word(source, 32 + 8 * (long)i), value = py_word(source, 40 + 8 * (long)i);

		if (key && claim(key))
			give_number(key, STREAM_LABEL_DICT_KEY, i / 2);
		if (value && claim(value)) {
			if (key)
				ld__py_give_named(value, STREAM_LABEL_KEY, ld__py_key_text(key));
			else
				give_number(value, STREAM_LABEL_INDEX, i / 2);
		}
	}
}

static void give_sequence(const struct py_type_info *info, bool check)
{
	uint64_t n = py_word(source, OB_SIZE);
	uint64_t items = info->kind == PY_LIST ? py_word(source, LIST_ITEMS) : source + 24;

	for (uint64_t i = 0; i < n; i++) {
		uint64_t item = py_word(items, 8 * (long)i);

		if (item && (!check || claim(item)))
			give_number(item, STREAM_LABEL_INDEX, i);
	}
}

/* Targets in the order of the traversal, numbered: elements of a set or a deque. */
static void give_elements(const struct py_type_info *info, uint32_t label)
{
	const struct target *all = (const void *)targets.at;
	uint64_t n = 0;

	for (uint64_t i = 0; i < target_count(); i++) {
		if (!all[i].left)
			continue;
		if (all[i].object == info->type && (info->flags & FLAG_HEAPTYPE)) {
			ld__py_give_named(all[i].object, STREAM_LABEL_ATTR, "__class__");
			continue;
		}
		give_number(all[i].object, label, n++);
	}
	targets.bytes = 0;
}

/* What stands at an offset of asyncio's futures and tasks. The words behind a future's own are the task's: what
 * it waits for, its coroutine, name and context follow each other in every version. */
static bool give_future_word(const struct py_type_info *info, long at, uint64_t target)
{
	long result = ld__py.version < 310 ? 56 : 64, coroutine = result + 32;
	const char *attribute = at == 16 ? "_loop" : at == 48 ? "_exception" : at == result ? "_result" : NULL;
	const char *word = at == 24 ? "callback" : at == 32 ? "context of callback" : at == 40 ? "callbacks" : NULL;

	while (coroutine + 24 <= (long)info->basicsize) {
		uint32_t index = ld__py_find(py_word(source, coroutine));

		if (index != PY_NO_ITEM && py_info(py_item(index))->kind == PY_GENERATOR)
			break;
		coroutine += 8;
	}
	if (at > result && coroutine + 24 <= (long)info->basicsize) {
		attribute = at == coroutine ? "_coro" : at == coroutine - 8 ? "_fut_waiter" : NULL;
		word = at == coroutine + 16 ? "context" : NULL;
	}
	if (attribute)
		ld__py_give_named(target, STREAM_LABEL_ATTR, attribute);
	else if (word)
		ld__py_give_named(target, STREAM_LABEL_NAMED, word);
	return attribute || word;
}

/* A context's values lie in a tree. */
static bool give_tree(const struct py_type_info *info, uint64_t target)
{
	const char *name = (const char *)(uintptr_t)py_word(info->type, TP_NAME);
	const char *of_target = (const char *)(uintptr_t)py_word(py_type(target), TP_NAME);

	if (info->type == ld__py.PyContext_Type && !strcmp(of_target, "hamt"))
		ld__py_give_named(target, STREAM_LABEL_NAMED, "variables");
	else if (!strcmp(name, "hamt"))
		ld__py_give_named(target, STREAM_LABEL_NAMED, "tree");
	else
		return false;
	return true;
}

/* What nobody claimed: by the place of the word, if the object's own memory holds it. */
static void give_rest(const struct py_type_info *info)
{
	const struct target *all = (const void *)targets.at;
	char name[24];

	for (uint64_t i = 0; i < target_count(); i++) {
		struct py_text text = { name, name + sizeof(name) - 1 };
		long at = 16;

		if (!all[i].left)
			continue;
		while (at + 8 <= (long)info->basicsize && py_word(source, at) != all[i].object)
			at += 8;
		if (give_tree(info, all[i].object) ||
		    (info->future && at + 8 <= (long)info->basicsize && give_future_word(info, at, all[i].object)))
			continue;
		if (at + 8 <= (long)info->basicsize) {
			ld__py_put(&text, "+");
			ld__py_put_number(&text, at);
		} else {
			ld__py_put(&text, "part");
		}
		ld__py_give_named(all[i].object, STREAM_LABEL_NAMED, name);
	}
}

/* Words of an object whose type keeps fields of its own: native blocks that it may own. */
static void give_words(const struct py_type_info *info)
{
	bool shown = info->traverse && ld__py_is_gc(info, source);

	for (long at = 16; at + 8 <= (long)info->basicsize; at += 8) {
		uint64_t word = py_word(source, at);
		uint32_t index;

		if (at == info->weaklistoffset || at == info->dictoffset || word < 4096 || word >> 47)
			continue;
		index = ld__py_find(word);
		if (index == PY_NO_ITEM)
			ld__py_give(word, STREAM_LABEL_CAPSULE, (uint64_t)at, NULL, 0, false);
		else if (!shown && (py_item(index)->type & ITEM_CAPSULED) && word != source)
			give_number(word, STREAM_LABEL_CAPSULE, (uint64_t)at);
	}
}

/* --- one object ---------------------------------------------------------------------------- */

static void give_all(uint64_t index)
{
	const struct py_item *item = py_item((uint32_t)index);
	const struct py_type_info *info = py_info(item);
	uint64_t fold_owner = 0;

	if (item->type & (ITEM_FOLDED | ITEM_FAULTED))
		return;
	if (item->type & ITEM_MODULE_DICT) {
		const struct py_fold *folds = (const void *)ld__py_heap.folds.at;

		for (uint64_t i = 0; i < ld__py_heap.folds.bytes / sizeof(*folds); i++)
			if (folds[i].dict == source)
				fold_owner = folds[i].owner;
		ld__py_give_named(fold_owner, STREAM_LABEL_NAMED, "module");
		return;
	}
	switch (info->kind) {			/* those that need no traversal */
	case PY_ATOM:
		return;
	case PY_DICT:
		if (info->exact) {
			give_dict(source, false);
			return;
		}
		break;
	case PY_LIST:
	case PY_TUPLE:
		if (info->exact) {
			give_sequence(info, false);
			return;
		}
		break;
	case PY_STR:
		if (info->exact)
			return;
		break;
	case PY_CODE:
		for (const struct py_part *part = ld__py_code_parts(); part->offset >= 0; part++)
			ld__py_give_named(py_word(source, part->offset), STREAM_LABEL_ATTR, part->name);
		give_words(info);		/* up to 3.9 a frame kept for the next call */
		return;
	case PY_LRU_ELEM:
		return;				/* its cache shows key and result */
	default:
		break;
	}

	collect_targets(info, source);
	if ((info->flags & FLAG_HEAPTYPE) && info->kind != PY_SET && info->kind != PY_DEQUE) {
		claim(info->type);		/* not shown by all versions */
		ld__py_give_named(info->type, STREAM_LABEL_ATTR, "__class__");
	}
	switch (info->kind) {
	case PY_DICT:
		give_dict(source, false);
		claim_dict_items(source);
		give_instance(info);
		break;
	case PY_LIST:
	case PY_TUPLE:
		give_sequence(info, true);
		give_instance(info);
		break;
	case PY_SET:
		if (!info->exact || info->dictoffset)
			give_instance(info);
		give_elements(info, STREAM_LABEL_DICT_KEY);
		break;
	case PY_DEQUE:
		if (!info->exact)
			give_instance(info);
		give_elements(info, STREAM_LABEL_INDEX);
		break;
	case PY_TYPE:
		give_type(source);
		break;
	case PY_MODULE:
		give_own_dict(py_word(source, 16), ITEM_MODULE_DICT);
		ld__py_give(py_word(source, 32), STREAM_LABEL_CAPSULE, 32, NULL, 0, false);
		break;
	case PY_FUNCTION:
		give_function(info);
		break;
	case PY_CELL:
		claim_word("cell_contents", 16);
		break;
	case PY_FRAME:
		give_frame(ld__py.version < 311 ? source : py_word(source, 24), NULL, NULL);
		break;
	case PY_GENERATOR:
		give_frame(ld__py.version < 311 ? 0 : ld__py_generator_frame(source),
			   info->type == ld__py.PyCoro_Type ? "cr" : info->type == ld__py.PyGen_Type ? "gi" : "ag",
			   info->type == ld__py.PyCoro_Type ? "cr_await" :
			   info->type == ld__py.PyGen_Type ? "gi_yieldfrom" : "ag_await");
		if (ld__py.version < 311)
			claim_word(info->type == ld__py.PyCoro_Type ? "cr_frame" :
				   info->type == ld__py.PyGen_Type ? "gi_frame" : "ag_frame", 16);
		give_instance(info);
		break;
	case PY_LRU_CACHE:
		give_lru_cache(info);
		break;
	case PY_EXCEPTION:
		give_exception();
		give_instance(info);
		break;
	case PY_TRACEBACK:
		claim_word("tb_next", 16);
		claim_word("tb_frame", 24);
		break;
	case PY_CFUNCTION:
		claim_word("__self__", 24);
		claim_word("__module__", 32);
		break;
	case PY_CONTEXT_NODE:
		give_context_node();
		break;
	case PY_GREENLET:
		give_greenlet(info);
		give_instance(info);
		break;
	default:
		give_instance(info);
		break;
	}
	give_rest(info);
	if (info->opaque || info->kind == PY_TYPE || info->kind == PY_CFUNCTION)
		give_words(info);
}

void ld__python_references(uint32_t index,
			   void (*visit)(const struct python_reference *ref, void *data), void *data)
{
	if (py_info(py_item(index))->leaf)
		return;
	ld__py_give_to(visit, data);
	source = ld__py_object(index);
	if (!ld__py_guarded_item("references", give_all, index))
		py_item(index)->type |= ITEM_FAULTED;
	if (failed)
		ld__py_heap.refused = true;
}
