/* SPDX-License-Identifier: Apache-2.0
 * L0  text.c - growing text, human sizes and durations, escaping of names that came from memory.
 *
 * (1) A struct text is always NUL-terminated once it holds anything.
 * (2) A name from memory never reaches a terminal raw: what could move the cursor, reorder the line
 *     or break UTF-8 becomes \xNN, byte by byte.
 * Never prints, never exits. */
#include "core/text.h"

#include <ctype.h>
#include <errno.h>
#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool reserve(struct text *text, size_t more)
{
	size_t capacity = text->capacity ? text->capacity : 64;
	char *data;

	if (text->broken)
		return false;
	if (text->length + more + 1 <= text->capacity)
		return true;
	while (capacity < text->length + more + 1)
		capacity *= 2;
	data = realloc(text->data, capacity);
	if (!data) {
		text->broken = true;
		return false;
	}
	text->data = data;
	text->capacity = capacity;
	return true;
}

void text_append_bytes(struct text *text, const char *bytes, size_t count)
{
	if (!reserve(text, count))
		return;
	memcpy(text->data + text->length, bytes, count);
	text->length += count;
	text->data[text->length] = '\0';
}

void text_append(struct text *text, const char *string)
{
	text_append_bytes(text, string, strlen(string));
}

static void append_format(struct text *text, const char *format, va_list arguments)
{
	va_list again;
	int length;

	va_copy(again, arguments);
	length = vsnprintf(NULL, 0, format, again);
	va_end(again);
	if (length < 0) {
		text->broken = true;
		return;
	}
	if (!reserve(text, (size_t)length))
		return;
	vsnprintf(text->data + text->length, (size_t)length + 1, format, arguments);
	text->length += (size_t)length;
}

void text_printf(struct text *text, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	append_format(text, format, arguments);
	va_end(arguments);
}

/* Length of the valid UTF-8 sequence at s (of at most `left` bytes) and its code point; 0 = invalid. */
static size_t utf8_sequence(const unsigned char *s, size_t left, uint32_t *ret_code)
{
	static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t length = s[0] < 0x80 ? 1 : (s[0] & 0xe0) == 0xc0 ? 2 : (s[0] & 0xf0) == 0xe0 ? 3 :
			(s[0] & 0xf8) == 0xf0 ? 4 : 0;
	uint32_t code;

	if (length == 0 || length > left)
		return 0;
	if (length == 1) {
		*ret_code = s[0];
		return 1;
	}
	code = s[0] & (0xffu >> (length + 1));
	for (size_t i = 1; i < length; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (s[i] & 0x3fu);
	}
	if (code < smallest[length] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
		return 0;
	*ret_code = code;
	return length;
}

/* Code points that change how a terminal or a page shows their neighbours. */
static bool is_unsafe(uint32_t code)
{
	return code < 0x20 || (code >= 0x7f && code < 0xa0) ||
	       code == 0x2028 || code == 0x2029 ||		/* line and paragraph separator */
	       code == 0x200e || code == 0x200f || code == 0x61c ||
	       (code >= 0x202a && code <= 0x202e) ||		/* bidirectional embedding, override */
	       (code >= 0x2066 && code <= 0x2069) ||		/* bidirectional isolates */
	       code == 0xfeff || (code >= 0xfff9 && code <= 0xfffb);
}

void text_append_escaped(struct text *text, const char *name)
{
	const unsigned char *s = (const unsigned char *)name;
	size_t left = strlen(name);

	while (left) {
		uint32_t code = 0;
		size_t length = utf8_sequence(s, left, &code);

		if (length && !is_unsafe(code)) {
			text_append_bytes(text, (const char *)s, length);
		} else {
			if (!length)
				length = 1;
			for (size_t i = 0; i < length; i++)
				text_printf(text, "\\x%02x", s[i]);
		}
		s += length;
		left -= length;
	}
}

char *text_take(struct text *text)
{
	char *data;

	if (!text->data && !text->broken)
		text_append(text, "");
	data = text->broken ? NULL : text->data;
	if (text->broken)
		free(text->data);
	*text = (struct text){ 0 };
	return data;
}

void text_done(struct text *text)
{
	free(text->data);
	*text = (struct text){ 0 };
}

char *text_format(const char *format, ...)
{
	struct text text = { 0 };
	va_list arguments;

	va_start(arguments, format);
	append_format(&text, format, arguments);
	va_end(arguments);
	return text_take(&text);
}

char *text_escape(const char *name)
{
	struct text text = { 0 };

	text_append_escaped(&text, name);
	return text_take(&text);
}

char *text_size(int64_t bytes, char buffer[TEXT_SIZE])
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	uint64_t magnitude = bytes < 0 ? 0 - (uint64_t)bytes : (uint64_t)bytes;
	const char *sign = bytes < 0 ? "-" : "";
	size_t unit = 0;
	double value;

	while (unit + 1 < sizeof(units) / sizeof(units[0]) && magnitude >> (10 * (unit + 1)))
		unit++;
	value = (double)magnitude / (double)(1ull << (10 * unit));
	/* 1023.7 KiB would round to four digits: it reads better as 1 MiB */
	if (unit + 1 < sizeof(units) / sizeof(units[0]) && unit > 0 && value >= 999.5) {
		value /= 1024;
		unit++;
	}
	if (unit == 0)
		snprintf(buffer, TEXT_SIZE, "%s%d B", sign, (int)magnitude);
	else if (value == floor(value) && value < 1000)
		snprintf(buffer, TEXT_SIZE, "%s%d %s", sign, (int)value, units[unit]);
	else
		snprintf(buffer, TEXT_SIZE, "%s%.*f %s", sign, value < 9.995 ? 2 : value < 99.95 ? 1 : 0,
			 value, units[unit]);
	return buffer;
}

char *text_count(int64_t count, char buffer[TEXT_SIZE])
{
	char digits[TEXT_SIZE];
	char *out = buffer;
	const char *in = digits;
	size_t left;

	snprintf(digits, sizeof(digits), "%lld", (long long)count);
	if (strlen(digits) > 17) {		/* 17 digits and 5 spaces still fit */
		memcpy(buffer, digits, sizeof(digits));
		return buffer;
	}
	if (*in == '-')
		*out++ = *in++;
	left = strlen(in);
	while (left) {
		*out++ = *in++;
		left--;
		if (left && left % 3 == 0)
			*out++ = ' ';
	}
	*out = '\0';
	return buffer;
}

/* A non-negative decimal number with an optional fraction; *end is moved behind it. */
static int parse_number(const char *string, double *ret_value, const char **end)
{
	char *after;

	while (isspace((unsigned char)*string))
		string++;
	if (!isdigit((unsigned char)*string) && *string != '.')
		return -EINVAL;
	if (string[0] == '0' && (string[1] == 'x' || string[1] == 'X'))
		return -EINVAL;
	errno = 0;
	*ret_value = strtod(string, &after);
	if (after == string || errno || !(*ret_value >= 0) || isinf(*ret_value))
		return -EINVAL;
	while (isspace((unsigned char)*after))
		after++;
	*end = after;
	return 0;
}

int text_parse_size(const char *string, uint64_t *ret_bytes)
{
	static const char letters[] = "kmgtp";
	const char *end, *letter;
	double value;

	if (parse_number(string, &value, &end) < 0)
		return -EINVAL;
	if (*end && *end != 'b' && *end != 'B') {
		letter = strchr(letters, tolower((unsigned char)*end));
		if (!letter)
			return -EINVAL;
		value *= (double)(1ull << (10 * (letter - letters + 1)));
		end++;
		if (*end == 'i')
			end++;
	}
	if (*end == 'b' || *end == 'B')
		end++;
	if (*end || value >= 18446744073709551615.0)
		return -EINVAL;
	*ret_bytes = (uint64_t)value;
	return 0;
}

int text_parse_duration(const char *string, uint64_t *ret_ns)
{
	static const struct { const char *name; double ns; } units[] = {
		{ "", 1e9 }, { "s", 1e9 }, { "ms", 1e6 }, { "us", 1e3 }, { "ns", 1 },
		{ "m", 60e9 }, { "min", 60e9 }, { "h", 3600e9 }, { "d", 86400e9 },
	};
	const char *end;
	double value;

	if (parse_number(string, &value, &end) < 0)
		return -EINVAL;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(end, units[i].name) != 0)
			continue;
		if (value * units[i].ns >= 9.2e18)
			return -EINVAL;
		*ret_ns = (uint64_t)(value * units[i].ns);
		return 0;
	}
	return -EINVAL;
}

bool text_glob(const char *pattern, const char *string)
{
	if (!strpbrk(pattern, "*?["))
		return strstr(string, pattern) != NULL;
	return fnmatch(pattern, string, 0) == 0;
}
