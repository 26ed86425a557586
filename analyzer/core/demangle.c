/* SPDX-License-Identifier: Apache-2.0
 * L1  demangle.c - C++ and Rust symbol names as people write them.
 *
 * A few bytes of mangled name can stand for gigabytes of text (substitutions of substitutions), and
 * names come from files and memory of others. So the demangler writes through a callback that leaves
 * with longjmp when the text passes OUTPUT_MAX; libiberty's callback interface keeps everything on
 * the stack, so nothing leaks. The only user of libiberty. */
#include "core/demangle.h"

#include <ctype.h>
#include <libiberty/demangle.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"

#define INPUT_MAX 16384u
#define OUTPUT_MAX 65536u

struct output { struct text text; jmp_buf too_long; };

static void collect(const char *bytes, size_t count, void *data)
{
	struct output *output = data;

	if (output->text.length + count > OUTPUT_MAX)
		longjmp(output->too_long, 1);
	text_append_bytes(&output->text, bytes, count);
}

/* No locals here: longjmp would leave them undefined. */
static bool run(struct output *output, const char *symbol, int options)
{
	if (setjmp(output->too_long))
		return false;
	if (rust_demangle_callback(symbol, options, collect, output))
		return true;
	text_done(&output->text);
	return cplus_demangle_v3_callback(symbol, options, collect, output);
}

/* Demangle or return NULL (not mangled, too long, no memory). */
static char *demangle(const char *symbol, int options)
{
	struct output *output;
	char *result = NULL;

	if (symbol[0] != '_' || (symbol[1] != 'Z' && symbol[1] != 'R') ||
	    strnlen(symbol, INPUT_MAX) == INPUT_MAX)
		return NULL;
	output = calloc(1, sizeof(*output));
	if (!output)
		return NULL;
	if (run(output, symbol, options) && output->text.length)
		result = text_take(&output->text);
	text_done(&output->text);
	free(output);
	return result;
}

/* Cut ".isra.0", ".constprop.3", ".part.1", ".cold", ".lto_priv.0", ".1234": what compilers append to
 * the names of clones and of static locals. */
static void cut_suffix(char *name)
{
	char *dot = strchr(name + (*name == '.'), '.');

	if (dot && dot != name &&
	    (isdigit((unsigned char)dot[1]) || islower((unsigned char)dot[1])))
		*dot = 0;
}

char *demangle_function(const char *symbol)
{
	char *name = demangle(symbol, DMGL_NO_OPTS), *clone;

	if (name) {
		/* "f(int) [clone .cold]" */
		clone = strstr(name, " [clone ");
		if (clone)
			*clone = 0;
		demangle_shorten(name);
		return name;
	}
	name = strdup(symbol);
	if (name)
		cut_suffix(name);
	return name;
}

char *demangle_variable(const char *symbol)
{
	char *name = demangle(symbol, DMGL_PARAMS | DMGL_ANSI);

	if (name) {
		demangle_shorten(name);
		return name;
	}
	name = strdup(symbol);
	if (name)
		cut_suffix(name);
	return name;
}

char *demangle_type(const char *name)
{
	static const char prefix[] = "typeinfo name for ";
	char *symbol, *full, *result;

	if (*name == '*')			/* internal linkage: compared by address */
		name++;
	symbol = text_format("_ZTS%s", name);
	if (!symbol)
		return NULL;
	full = demangle(symbol, DMGL_PARAMS | DMGL_ANSI);
	free(symbol);
	if (!full || strncmp(full, prefix, sizeof(prefix) - 1)) {
		free(full);
		return strdup(name);
	}
	result = strdup(full + sizeof(prefix) - 1);
	free(full);
	if (result)
		demangle_shorten(result);
	return result;
}

const char *demangle_language(const char *symbol)
{
	size_t length = strlen(symbol);

	if (!strncmp(symbol, "_R", 2))
		return "rust";
	if (strncmp(symbol, "_Z", 2))
		return "c";
	/* legacy Rust: ..17h<16 hex digits>E */
	if (length > 22 && !strncmp(symbol + length - 20, "17h", 3) && symbol[length - 1] == 'E')
		return "rust";
	return "c++";
}

/* ---- shorter names ---- */

/* Remove `count` bytes at `at`. */
static void cut(char *at, size_t count)
{
	memmove(at, at + count, strlen(at + count) + 1);
}

/* End of the template argument list that `open` ('<') begins, after its '>'; NULL if there is none. */
static char *matching(char *open)
{
	int depth = 0, round = 0;

	for (char *p = open; *p; p++) {
		if (*p == '(')
			round++;
		else if (*p == ')')
			round--;
		else if (round == 0 && *p == '<')
			depth++;
		else if (round == 0 && *p == '>' && p[-1] != '-' && --depth == 0)
			return p + 1;
	}
	return NULL;
}

void demangle_shorten(char *name)
{
	static const char *const namespaces[] = { "__cxx11::", "__1::", "__debug::", "_V2::" };
	static const char *const defaults[] = { ", std::allocator<", ", std::char_traits<", ", std::less<",
						", std::hash<", ", std::equal_to<", ", std::default_delete<" };

	if (!strchr(name, ':') && !strchr(name, '<'))	/* plain C */
		return;
	for (size_t i = 0; i < sizeof(namespaces) / sizeof(*namespaces); i++)
		for (char *at = strstr(name, namespaces[i]); at; at = strstr(at + 1, namespaces[i]))
			if (at - name >= 5 && !memcmp(at - 5, "std::", 5)) {
				cut(at, strlen(namespaces[i]));
				at--;
			}
	/* innermost lists shrink first, so that the outer ones match again: repeat while it helps */
	for (bool again = true; again;) {
		again = false;
		for (size_t i = 0; i < sizeof(defaults) / sizeof(*defaults); i++)
			for (char *at = strstr(name, defaults[i]); at;
			     at = strstr(at + 1, defaults[i])) {
				char *end = matching(at + strlen(defaults[i]) - 1);

				if (!end)
					continue;
				while (*end == ' ')
					end++;
				if (*end != '>' && *end != ',')
					continue;
				cut(at, (size_t)(end - at));
				again = true;
				at--;
			}
	}
	for (char *at = strstr(name, " >"); at; at = strstr(at, " >"))
		cut(at, 1);
	for (char *at = strstr(name, "[abi:"); at; at = strstr(at, "[abi:")) {
		char *end = strchr(at, ']');

		if (!end)
			break;
		cut(at, (size_t)(end + 1 - at));
	}
	for (char *at = strstr(name, "basic_string<char>"); at;
	     at = strstr(at, "basic_string<char>")) {
		cut(at, 6);			/* "basic_" */
		cut(at + 6, 6);			/* "<char>" */
	}
}
