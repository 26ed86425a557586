/* SPDX-License-Identifier: Apache-2.0
 * L3  python_buffers.c - memory that an object owns beside its own allocation.
 *
 * A list's items, a dict's keys, a deque's blocks, the text of a str that is not compact: each is read where
 * the object's type keeps its address, in a guarded call. The caller says whether a block lies there. What the
 * object's __sizeof__ counts has no name of its own; what it does not count is named: "attributes".
 *
 * Nothing is kept: an object is asked again each time. */
#include "python_private.h"

bool ld__py_may_own(const struct py_type_info *info)
{
	switch (info->kind) {
	case PY_LIST: case PY_DICT: case PY_SET: case PY_STR: case PY_BYTEARRAY: case PY_ARRAY: case PY_DEQUE:
	case PY_TYPE: case PY_MODULE: case PY_LRU_CACHE:
		return true;
	default:
		return info->dictoffset || (info->flags & FLAG_MANAGED_DICT);
	}
}

static void (*buffer_visit)(const struct python_buffer *buffer, void *data);
static void *buffer_data;

static uint32_t own_index;

static void own_as(uint64_t owner, uint64_t addr, const char *what)
{
	struct python_buffer buffer = { owner, own_index, addr, what };

	if (!addr)
		return;
	ld__py_guard_pause(true);
	buffer_visit(&buffer, buffer_data);
	ld__py_guard_pause(false);
}

static void own(uint64_t owner, uint64_t addr)
{
	own_as(owner, addr, NULL);
}

/* A deque's blocks; from 3.11 on it keeps some that it emptied: a count at 72, up to 16 after it. */
static void own_deque(const struct py_type_info *info, uint64_t deque)
{
	uint64_t at = py_word(deque, 24);	/* leftmost; a block's right link is its last word */
	uint64_t spare = info->basicsize >= 216 ? py_word(deque, 72) : 0;

	for (int n = 0; at && n < 1 << 24; n++) {
		own(deque, at);
		if (at == py_word(deque, 32))
			break;
		at = py_word(at, 520);
	}
	for (uint64_t i = 0; i < spare && spare <= 16; i++)
		own_as(deque, py_word(deque, 80 + 8l * (long)i), "spare blocks");
}

static void own_str(const struct py_type_info *info, uint64_t str)
{
	uint32_t state = (uint32_t)py_int(str, 32);
	int ascii_bytes = ld__py.version < 312 ? 48 : 40;

	if (!(state & 32)) {			/* not compact: a subclass, or made by the old API */
		own(str, py_word(str, ascii_bytes + (ld__py.version < 312 ? 24 : 16)));
		return;
	}
	if (!(state & 64) && info->exact && py_word(str, ascii_bytes) >= 256)
		own(str, py_word(str, ascii_bytes + 8));	/* its UTF-8 form */
}

static void own_buffers(uint64_t index)
{
	const struct py_type_info *info = py_info(py_item((uint32_t)index));
	uint64_t object = ld__py_object((uint32_t)index), at;
	struct py_inline values;

	own_index = (uint32_t)index;
	switch (info->kind) {
	case PY_LIST:
		own(object, py_word(object, LIST_ITEMS));
		break;
	case PY_DICT:
		own_as(object, py_word(object, DICT_KEYS), ld__py_dict_is_split(object) ? "attribute names" : NULL);
		if (ld__py_dict_is_split(object) && !ld__py_dict_is_embedded(object))
			own(object, py_word(object, DICT_VALUES));
		break;
	case PY_SET:
		at = py_word(object, 40);
		if (at != object + 64)
			own(object, at);
		break;
	case PY_STR:
		own_str(info, object);
		break;
	case PY_BYTEARRAY:
		own(object, py_word(object, 32));
		break;
	case PY_ARRAY:
		own(object, py_word(object, 24));
		break;
	case PY_DEQUE:
		own_deque(info, object);
		break;
	case PY_TYPE:
		if (info->flags && (py_word(object, TP_FLAGS) & FLAG_HEAPTYPE)) {
			own(object, py_word(object, ld__py.layout.ht_keys));
			own_as(object, py_word(object, 176), "docstring");	/* tp_doc */
		}
		break;
	default:
		break;
	}
	if ((info->flags & FLAG_MANAGED_DICT) && ld__py_inline_values(info, object, &values) &&
	    values.separate)
		own_as(object, values.values, "attributes");
	at = info->kind == PY_MODULE ? py_word(object, 16) :
	     info->kind == PY_TYPE ? py_word(object, TP_DICT) :
	     info->kind == PY_LRU_CACHE ? ld__py_lru_dict(info, object) : ld__py_instance_dict(info, object);
	if (is_plain_dict(at))
		own_as(object, at, "dict");
}

void ld__python_buffers(uint32_t index,
			void (*visit)(const struct python_buffer *buffer, void *data), void *data)
{
	const struct py_type_info *info = py_info(py_item(index));

	if (!info->buffers || py_is_ascii(info, ld__py_object(index)))
		return;
	buffer_visit = visit;
	buffer_data = data;
	ld__py_guarded_item("buffers", own_buffers, index);
}
