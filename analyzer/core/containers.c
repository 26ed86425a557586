/* SPDX-License-Identifier: Apache-2.0
 * L2  containers.c - what the containers of libstdc++ and libc++ allocate, as a person calls it. */
#include "core/containers.h"

#include <string.h>

#define FRAMES_SEEN 16			/* of a stack: a container allocates close to the allocator */
#define DEPTH_MAX 24			/* of templates in templates */

struct span { const char *at; unsigned length; };

static struct span span_of(const char *text)
{
	return (struct span){ text, (unsigned)strlen(text) };
}

static bool begins(struct span span, const char *with)
{
	size_t length = strlen(with);

	return span.length >= length && !memcmp(span.at, with, length);
}

static bool equals(struct span span, const char *with)
{
	return span.length == strlen(with) && begins(span, with);
}

static struct span trim(struct span span)
{
	while (span.length && *span.at == ' ') {
		span.at++;
		span.length--;
	}
	while (span.length && span.at[span.length - 1] == ' ')
		span.length--;
	return span;
}

/* Argument number `index` of the template whose '<' is at the span's first character. */
static bool argument(struct span span, unsigned index, struct span *ret_argument)
{
	unsigned depth = 0, from = 1;

	for (unsigned i = 0; i < span.length; i++) {
		char c = span.at[i];
		bool ends = c == '>' && !(i && span.at[i - 1] == '-');

		if (c == '<' || c == '(' || c == '[') {
			depth++;
		} else if (ends || c == ')' || c == ']') {
			if (!depth)
				return false;
			depth--;
		}
		if ((depth == 1 && c == ',') || (depth == 0 && ends)) {
			if (index-- == 0) {
				*ret_argument = trim((struct span){ span.at + from, i - from });
				return true;
			}
			from = i + 1;
		}
		if (depth == 0)
			return false;
	}
	return false;
}

/* The namespaces of the standard library that are there for its own sake: "std::__cxx11::" is "std::". */
static struct span skip_std(struct span span)
{
	static const char *const spaces[] = { "__cxx11::", "__1::", "__debug::", "__cxx1998::", "__ndk1::", "__detail::" };

	if (!begins(span, "std::"))
		return (struct span){ span.at, 0 };
	span.at += 5;
	span.length -= 5;
	for (size_t i = 0; i < sizeof(spaces) / sizeof(*spaces); i++)
		if (begins(span, spaces[i])) {
			span.at += strlen(spaces[i]);
			span.length -= (unsigned)strlen(spaces[i]);
			i = (size_t)-1;
		}
	return span;
}

/* Is this std::NAME<...>? The span then begins at its '<'. */
static bool is_std(struct span span, const char *name, struct span *ret_rest)
{
	struct span rest = skip_std(span);
	size_t length = strlen(name);

	if (!begins(rest, name) || rest.length <= length || rest.at[length] != '<')
		return false;
	*ret_rest = (struct span){ rest.at + length, rest.length - (unsigned)length };
	return true;
}

/* ---- types ---- */

static bool is_default(struct span argument_text)
{
	struct span rest;

	return is_std(argument_text, "allocator", &rest) || is_std(argument_text, "less", &rest) ||
	       is_std(argument_text, "hash", &rest) || is_std(argument_text, "equal_to", &rest) ||
	       is_std(argument_text, "default_delete", &rest) || is_std(argument_text, "char_traits", &rest);
}

static void append_type(struct text *text, struct span type, unsigned depth);

/* The arguments of a template, as long as they are not defaults. */
static void append_arguments(struct text *text, struct span rest, unsigned depth)
{
	struct span one;

	text_append(text, "<");
	for (unsigned i = 0; argument(rest, i, &one) && !(i && is_default(one)); i++) {
		if (i)
			text_append(text, ", ");
		append_type(text, one, depth + 1);
	}
	text_append(text, ">");
}

/* The length of the template's arguments, '<' and '>' included; 0 = unbalanced. */
static unsigned arguments_length(struct span rest)
{
	unsigned depth = 0;

	for (unsigned i = 0; i < rest.length; i++) {
		if (rest.at[i] == '<')
			depth++;
		else if (rest.at[i] == '>' && !(i && rest.at[i - 1] == '-') && --depth == 0)
			return i + 1;
	}
	return 0;
}

static void append_type(struct text *text, struct span type, unsigned depth)
{
	type = trim(type);
	while (type.length && depth < DEPTH_MAX) {
		struct span rest = skip_std(type), one;
		const char *open;
		unsigned length;

		if (!rest.length) {				/* not of std: up to the next word that may be */
			const char *next = type.length > 1 ? memmem(type.at + 1, type.length - 1, "std::", 5) : NULL;
			const char *angle = memchr(type.at, '<', type.length);

			if (angle && (!next || angle < next)) {
				rest = (struct span){ angle, type.length - (unsigned)(angle - type.at) };
				length = arguments_length(rest);
				text_append_bytes(text, type.at, (size_t)(angle - type.at));
				if (!length) {
					text_append_bytes(text, rest.at, rest.length);
					return;
				}
				append_arguments(text, (struct span){ rest.at, length }, depth);
				type = (struct span){ rest.at + length, rest.length - length };
				continue;
			}
			length = next ? (unsigned)(next - type.at) : type.length;
			text_append_bytes(text, type.at, length);
			type.at += length;
			type.length -= length;
			continue;
		}
		open = memchr(rest.at, '<', rest.length);
		if (!open) {
			text_append(text, "std::");
			text_append_bytes(text, rest.at, rest.length);
			return;
		}
		length = arguments_length((struct span){ open, rest.length - (unsigned)(open - rest.at) });
		if (!length) {
			text_append_bytes(text, type.at, type.length);
			return;
		}
		text_append(text, "std::");
		if (is_std(type, "basic_string", &one) && argument(one, 0, &one) && (equals(one, "char") || equals(one, "wchar_t"))) {
			text_append(text, equals(one, "char") ? "string" : "wstring");
		} else {
			text_append_bytes(text, rest.at, (size_t)(open - rest.at));
			append_arguments(text, (struct span){ open, length }, depth);
		}
		type = (struct span){ open + length, rest.length - (unsigned)(open - rest.at) - length };
	}
	if (type.length)
		text_append(text, "...");
}

void containers_append_type(struct text *text, const char *type, unsigned length)
{
	append_type(text, (struct span){ type, length }, 0);
}

/* ---- stacks ---- */

/* The class whose method a function is: what stands in front of the last "::" outside brackets. The result
 * type of a template ("void std::vector<...>::push<...>(...)") is passed over. */
static struct span class_of(const char *function)
{
	unsigned depth = 0, end = 0, from = 0;

	for (unsigned i = 0; function[i]; i++) {
		char c = function[i];

		if (c == '(' && depth == 0)
			break;
		if (c == '<' || c == '[')
			depth++;
		else if ((c == '>' && !(i && function[i - 1] == '-')) || c == ']')
			depth -= depth > 0;
		else if (depth == 0 && c == ' ')
			from = i + 1;
		else if (depth == 0 && c == ':' && function[i + 1] == ':')
			end = i;
	}
	return end > from ? (struct span){ function + from, end - from } : (struct span){ function, 0 };
}

/* The name of the method: what stands behind the class, without arguments. */
static struct span method_of(const char *function)
{
	struct span owner = class_of(function);
	const char *at = owner.at + owner.length + (owner.length ? 2 : 0);

	return (struct span){ at, (unsigned)strcspn(at, "<(") };
}

/* The first function that is a method of std::NAME<...>; its arguments. */
static bool find_class(const char *const *functions, unsigned count, const char *name, struct span *ret_rest)
{
	for (unsigned i = 0; i < count; i++)
		if (is_std(class_of(functions[i]), name, ret_rest))
			return true;
	return false;
}

/* "K, V" of std::pair<K const, V>; false when it is no pair of a map. */
static bool append_pair(struct text *text, struct span element)
{
	struct span rest, key, value;

	if (is_std(element, "__value_type", &rest)) {		/* libc++ */
		if (!argument(rest, 0, &key) || !argument(rest, 1, &value))
			return false;
	} else if (!is_std(element, "pair", &rest) || !argument(rest, 0, &key) || !argument(rest, 1, &value)) {
		return false;
	} else if (key.length > 6 && !memcmp(key.at + key.length - 6, " const", 6)) {
		key.length -= 6;
	} else if (begins(key, "const ")) {
		key.at += 6;
		key.length -= 6;
	} else {
		return false;				/* a set of pairs */
	}
	append_type(text, key, 0);
	text_append(text, ", ");
	append_type(text, value, 0);
	return true;
}

static void append_owner(struct text *text, const char *map, const char *set, struct span element)
{
	size_t length = text->length;

	text_printf(text, "std::%s<", map);
	if (!append_pair(text, element)) {
		text->length = length;
		text_printf(text, "std::%s<", set);
		append_type(text, element, 0);
	}
	text_append(text, ">");
}

/* "wchar_t", "char": of a string, also by its short name. */
static bool is_string(struct span class, struct span *ret_letter)
{
	struct span rest;

	if (equals(class, "std::string"))
		*ret_letter = span_of("char");
	else if (equals(class, "std::wstring"))
		*ret_letter = span_of("wchar_t");
	else
		return is_std(class, "basic_string", &rest) && argument(rest, 0, ret_letter);
	return true;
}

enum buffer { BUFFER_NONE = 0, BUFFER_DEQUE, BUFFER_VECTOR, BUFFER_STRING };

/* The innermost container that keeps its elements side by side: farther out is what holds it. */
static enum buffer find_buffer(const char *const *functions, unsigned count, struct span *ret_element)
{
	static const struct { const char *class; enum buffer is; } known[] = {
		{ "_Deque_base", BUFFER_DEQUE }, { "deque", BUFFER_DEQUE }, { "_Vector_base", BUFFER_VECTOR },
		{ "vector", BUFFER_VECTOR }, { "__split_buffer", BUFFER_VECTOR } };

	for (unsigned i = 0; i < count; i++) {
		struct span owner = class_of(functions[i]), rest;

		if (is_string(owner, ret_element))
			return BUFFER_STRING;
		for (size_t k = 0; k < sizeof(known) / sizeof(*known); k++)
			if (is_std(owner, known[k].class, &rest) && argument(rest, 0, ret_element))
				return known[k].is;
	}
	return BUFFER_NONE;
}

/* What an allocator of `element` allocates for the container in whose methods it is called. */
static bool name_element(const char *const *functions, unsigned count, struct span element, struct text *text)
{
	struct span rest, inner;

	if ((is_std(element, "_Hash_node", &rest) || is_std(element, "__hash_node", &rest)) && argument(rest, 0, &inner)) {
		append_owner(text, "unordered_map", "unordered_set", inner);
		text_append(text, " node");
	} else if ((is_std(element, "_Rb_tree_node", &rest) || is_std(element, "__tree_node", &rest)) &&
		   argument(rest, 0, &inner)) {
		append_owner(text, "map", "set", inner);
		text_append(text, " node");
	} else if ((is_std(element, "_List_node", &rest) || is_std(element, "__list_node", &rest)) && argument(rest, 0, &inner)) {
		text_append(text, "std::list<");
		append_type(text, inner, 0);
		text_append(text, "> node");
	} else if ((is_std(element, "_Fwd_list_node", &rest) || is_std(element, "__forward_list_node", &rest)) &&
		   argument(rest, 0, &inner)) {
		text_append(text, "std::forward_list<");
		append_type(text, inner, 0);
		text_append(text, "> node");
	} else if ((is_std(element, "_Sp_counted_ptr_inplace", &rest) || is_std(element, "__shared_ptr_emplace", &rest)) &&
		   argument(rest, 0, &inner)) {
		text_append(text, "std::shared_ptr<");
		append_type(text, inner, 0);
		text_append(text, "> control block");
	} else if (begins(skip_std(element), "_Hash_node_base") || begins(skip_std(element), "__hash_node_base")) {
		if (find_class(functions, count, "_Hashtable", &rest) ? !argument(rest, 1, &inner) :
		    !find_class(functions, count, "__hash_table", &rest) || !argument(rest, 0, &inner))
			return false;
		if (is_std(inner, "__hash_value_type", &rest)) {
			struct span key, value;

			if (!argument(rest, 0, &key) || !argument(rest, 1, &value))
				return false;
			text_append(text, "std::unordered_map<");
			append_type(text, key, 0);
			text_append(text, ", ");
			append_type(text, value, 0);
			text_append(text, "> buckets");
			return true;
		}
		append_owner(text, "unordered_map", "unordered_set", inner);
		text_append(text, " buckets");
	} else {
		switch (find_buffer(functions, count, &inner)) {
		case BUFFER_NONE:
			return false;
		case BUFFER_DEQUE:
			text_append(text, "std::deque<");
			append_type(text, inner, 0);
			text_append(text, element.length && element.at[element.length - 1] == '*' &&
						  !(inner.length && inner.at[inner.length - 1] == '*') ? "> map" : "> chunk");
			break;
		case BUFFER_VECTOR:
			text_append(text, "std::vector<");
			append_type(text, inner, 0);
			text_append(text, "> storage");
			break;
		case BUFFER_STRING:
			text_append(text, equals(inner, "wchar_t") ? "std::wstring storage" : "std::string storage");
			break;
		}
	}
	return true;
}

bool containers_name_stack(const char *const *functions, unsigned count, struct text *text)
{
	static const char *const allocators[] = { "__new_allocator", "new_allocator", "allocator", "allocator_traits" };
	struct span rest, element;

	if (count > FRAMES_SEEN)
		count = FRAMES_SEEN;
	if (!count)
		return false;
	for (unsigned i = 0; i < count; i++) {
		struct span owner = class_of(functions[i]);

		for (size_t k = 0; k < sizeof(allocators) / sizeof(*allocators); k++) {
			struct span named = owner;

			if (begins(named, "__gnu_cxx::") && begins((struct span){ named.at + 11, named.length - 11 }, allocators[k]) &&
			    named.length > 11 + strlen(allocators[k]) && named.at[11 + strlen(allocators[k])] == '<')
				rest = (struct span){ named.at + 11 + strlen(allocators[k]),
						      named.length - 11 - (unsigned)strlen(allocators[k]) };
			else if (!is_std(named, allocators[k], &rest))
				continue;
			if (!argument(rest, 0, &element))
				continue;
			if (!strcmp(allocators[k], "allocator_traits")) {	/* of an allocator: its element */
				struct span inner;

				if (!is_std(element, "allocator", &inner) || !argument(inner, 0, &element))
					continue;
			}
			if (!begins(method_of(functions[i]), "allocate"))
				break;				/* it makes an element; what that allocates is no node */
			return name_element(functions, count, element, text);
		}
		if (begins(method_of(functions[i]), "construct") || begins(method_of(functions[i]), "_Construct"))
			break;
		if (owner.length && *owner.at != 's' && *owner.at != '_')
			break;					/* the program's own: what is farther out called it */
	}
	/* instantiated in the library itself, or inlined without a trace: only the string is sure */
	if (is_string(class_of(functions[0]), &element) &&
	    (equals(element, "char") || equals(element, "wchar_t"))) {
		text_append(text, equals(element, "char") ? "std::string storage" : "std::wstring storage");
		return true;
	}
	return false;
}

bool containers_name_class(const char *name, struct text *text)
{
	struct span rest, inner, class = span_of(name);
	bool owns = is_std(class, "_Sp_counted_ptr_inplace", &rest) || is_std(class, "__shared_ptr_emplace", &rest);
	bool refers = !owns && (is_std(class, "_Sp_counted_ptr", &rest) || is_std(class, "_Sp_counted_deleter", &rest) ||
				is_std(class, "__shared_ptr_pointer", &rest));

	if (!(owns || refers) || !argument(rest, 0, &inner))
		return false;
	if (refers && inner.length && inner.at[inner.length - 1] == '*')
		inner.length--;
	text_append(text, "std::shared_ptr<");
	append_type(text, inner, 0);
	text_append(text, "> control block");
	return true;
}
