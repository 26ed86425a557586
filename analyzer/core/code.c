/* SPDX-License-Identifier: Apache-2.0
 * L3  code.c - code addresses of one capture, as frames: each location is looked up once. */
#include "core/code.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/grow.h"
#include "core/text.h"

#define NO_MODULE UINT32_MAX		/* places of locations that lie in no file */
#define PYTHON (UINT32_MAX - 1)

const char *code_base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* ---- modules ---- */

static int compare_places(const void *pa, const void *pb, void *data)
{
	const struct stream_module *modules = data;
	const struct stream_module *a = &modules[*(const uint32_t *)pa];
	const struct stream_module *b = &modules[*(const uint32_t *)pb];

	if (a->generation != b->generation)
		return a->generation < b->generation ? -1 : 1;
	return a->start < b->start ? -1 : a->start > b->start;
}

static int compare_starts(const void *pa, const void *pb, void *data)
{
	const struct stream_module *modules = data;
	uint64_t a = modules[*(const uint32_t *)pa].start, b = modules[*(const uint32_t *)pb].start;

	return a < b ? -1 : a > b;
}

/* Base name, without what the kernel appends to a path that was deleted. */
static const char *module_name(struct code *code, const char *path)
{
	static const char deleted[] = " (deleted)";
	const char *base = code_base_name(path);
	size_t length = strlen(base), cut = sizeof(deleted) - 1;

	if (length > cut && !strcmp(base + length - cut, deleted))
		length -= cut;
	return strings_intern_bytes(code->strings, base, length);
}

/* The program's name as it was called, where that is another name of the same file in the same folder: redis-server is a
 * link to redis-check-rdb. A script's name is not that of its interpreter, and links elsewhere are not known. */
static const char *program_name(struct code *code, const char *root, const char *path)
{
	const char *called = stream_meta(code->stream, "name"), *base = code_base_name(path);
	struct stat file, link;
	char *other, *own;
	bool same;

	if (!called || !*called || strchr(called, '/') || base == path)
		return module_name(code, path);
	other = text_format("%s%.*s%s", root ? root : "", (int)(base - path), path, called);
	own = text_format("%s%s", root ? root : "", path);
	same = other && own && stat(own, &file) == 0 && stat(other, &link) == 0 && file.st_dev == link.st_dev &&
	       file.st_ino == link.st_ino;
	free(other);
	free(own);
	return same ? strings_intern(code->strings, called) : module_name(code, path);
}

/* Path of each module: as the dynamic linker has it, or, where that is relative to a folder that nobody
 * knows (dlopen("./x.so")), as the kernel has it. Offsets in the string table. */
static uint32_t *module_paths(const struct stream *stream)
{
	uint32_t *paths = calloc(stream->module_count + 1ull, sizeof(*paths));

	if (!paths)
		return NULL;
	for (uint32_t i = 0; i < stream->module_count; i++)
		paths[i] = stream->modules[i].path;
	for (uint32_t i = 0; i < stream->map_count; i++) {
		const struct stream_map *map = &stream->maps[i];

		if (map->module != STREAM_NONE && *stream_string(stream, map->name) == '/' &&
		    *stream_string(stream, paths[map->module]) != '/')
			paths[map->module] = map->name;
	}
	return paths;
}

static int read_modules(struct code *code, const char *root)
{
	const struct stream *stream = code->stream;
	uint32_t *paths = module_paths(stream);
	int file = 0;

	code->modules = calloc(stream->module_count + 1ull, sizeof(*code->modules));
	code->by_place = calloc(stream->module_count + 1ull, sizeof(*code->by_place));
	code->mapped = calloc(stream->module_count + 1ull, sizeof(*code->mapped));
	if (!paths || !code->modules || !code->by_place || !code->mapped) {
		free(paths);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < stream->module_count && file >= 0; i++) {
		const struct stream_module *module = &stream->modules[i];
		const char *path = stream_string(stream, paths[i]);

		file = symbols_add(code->symbols, path, module->build_id, module->build_id_bytes);
		code->modules[i] = (struct code_module){ file, module->flags & STREAM_MODULE_EXE ?
							    program_name(code, root, path) : module_name(code, path) };
		if (!code->modules[i].name)
			file = -ENOMEM;
		code->by_place[i] = i;
		if (module->last_birth == UINT64_MAX)
			code->mapped[code->mapped_count++] = i;
	}
	free(paths);
	if (file < 0)
		return file;
	qsort_r(code->by_place, stream->module_count, sizeof(*code->by_place), compare_places,
		stream->modules);
	qsort_r(code->mapped, code->mapped_count, sizeof(*code->mapped), compare_starts,
		stream->modules);
	return 0;
}

/* The module of one generation that holds a pc, or NO_MODULE. */
static uint32_t find_in_generation(const struct code *code, uint64_t pc, uint32_t generation)
{
	const struct stream_module *modules = code->stream->modules;
	uint32_t low = 0, high = code->stream->module_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		const struct stream_module *module = &modules[code->by_place[middle]];

		if (module->generation < generation ||
		    (module->generation == generation && module->start <= pc))
			low = middle + 1;
		else
			high = middle;
	}
	if (low) {
		uint32_t index = code->by_place[low - 1];

		if (modules[index].generation == generation && pc >= modules[index].start &&
		    pc < modules[index].end)
			return index;
	}
	return NO_MODULE;
}

uint32_t code_module_at(const struct code *code, uint64_t addr)
{
	const struct stream_module *modules = code->stream->modules;
	uint32_t low = 0, high = code->mapped_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (modules[code->mapped[middle]].start <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low && addr < modules[code->mapped[low - 1]].end ? code->mapped[low - 1] :
								  STREAM_NONE;
}

/* The module that holds a pc; when its own generation has none there, the one mapped now. */
static uint32_t find_module(const struct code *code, uint64_t pc, uint32_t generation)
{
	uint32_t found = find_in_generation(code, pc, generation);

	return found == NO_MODULE ? code_module_at(code, pc) : found;
}

/* ---- roles ---- */

static bool is_one_of(const char *name, const char *const *names)
{
	for (; *names; names++)
		if (!strcmp(name, *names))
			return true;
	return false;
}

static bool begins(const char *name, const char *with)
{
	return !strncmp(name, with, strlen(with));
}

static bool is_allocator_function(const char *name)
{
	static const char *const names[] = {
		"malloc", "calloc", "realloc", "reallocarray", "memalign", "aligned_alloc", "posix_memalign",
		"valloc", "pvalloc", "mmap", "mmap64", "mremap", "free", "__libc_malloc", "__libc_calloc",
		"__libc_realloc", "__libc_memalign", "__libc_reallocarray", "__posix_memalign", "__mmap",
		"__mmap64", "_mid_memalign", "__mremap", "prof_backtrace_impl", NULL };

	/* je_: what a jemalloc inside the program calls itself */
	return is_one_of(name, names) || begins(name, "operator new") || begins(name, "je_");
}

/* xmalloc, zmalloc_usable, g_strdup, CRYPTO_realloc: every caller of such a function is a site of its
 * own, and the wrapper says nothing. It stays in the stack, only the site is named by its caller. */
static bool is_wrapper_function(const struct code *code, const char *name)
{
	static const char *const parts[] = { "malloc", "calloc", "realloc", "memalign", "strdup", "strndup", "memdup", NULL };

	for (const char *const *part = parts; *part; part++)
		if (strcasestr(name, *part))
			return true;
	for (size_t i = 0; i < code->wrapper_count; i++)
		if (!strcmp(name, code->wrappers[i]))
			return true;
	return false;
}

static bool is_runtime_module(const char *name, uint32_t flags)
{
	return flags & STREAM_MODULE_LIBC || begins(name, "libstdc++.so") ||
	       begins(name, "libc++.so") || begins(name, "libc++abi.so") ||
	       begins(name, "libgcc_s.so") || begins(name, "libc.so") ||
	       begins(name, "libpthread") || begins(name, "ld-linux") || begins(name, "ld-musl");
}

/* Templates and generic code of the language's own library, instantiated in the program. */
static bool is_runtime_function(const struct symbols_frame *frame)
{
	static const char *const rust_sources[] = { "library/alloc/src/", "library/core/src/", "library/std/src/",
						    "/rust/deps/" };
	const char *name = frame->function;

	if (strcmp(frame->language, "rust"))
		return begins(name, "std::") || begins(name, "__gnu_cxx::") || begins(name, "void std::");
	for (size_t i = 0; i < sizeof(rust_sources) / sizeof(*rust_sources); i++)
		if (strstr(frame->file, rust_sources[i]))
			return true;
	return begins(name, "alloc::") || begins(name, "core::") || begins(name, "std::") || begins(name, "hashbrown::") ||
	       begins(name, "__rust_") || begins(name, "<alloc::") || begins(name, "<core::") || begins(name, "<T as alloc::");
}

/* ---- frames ---- */

static uint32_t hash_frame(const struct code_frame *frame)
{
	uint64_t hash = hash_mix((uintptr_t)frame->function, (uintptr_t)frame->file);

	hash = hash_mix(hash, (uintptr_t)frame->module);
	return hash_fold(hash_mix(hash, (uint64_t)frame->line << 1 | frame->inlined));
}

static bool same_frame(const void *owner, uint32_t number, const void *key)
{
	const struct code_frame *a = &((const struct code *)owner)->frames[number], *b = key;

	return a->function == b->function && a->file == b->file && a->module == b->module &&
	       a->line == b->line && a->inlined == b->inlined && a->language == b->language;
}

/* Append the id of a frame (made once) to frame_ids. */
static int add_frame(struct code *code, const struct code_frame *frame)
{
	uint32_t hash = hash_frame(frame), number;
	int r = 0;

	if (!frame->function || !frame->file || !frame->module || !frame->language)
		return -ENOMEM;
	number = hash_index_find(&code->frame_index, hash, same_frame, code, frame);
	if (number == HASH_NONE) {
		number = code->frame_count;
		r = grow_array(&code->frames, &code->frame_capacity, number + 1ull, sizeof(*code->frames));
		if (r >= 0)
			r = hash_index_add(&code->frame_index, hash, number);
		if (r < 0)
			return r;
		code->frames[code->frame_count++] = *frame;
	}
	r = grow_array(&code->frame_ids, &code->frame_id_capacity, code->frame_id_count + 1ull,
		       sizeof(*code->frame_ids));
	if (r < 0)
		return r;
	code->frame_ids[code->frame_id_count++] = number;
	return 0;
}

/* The frame of an address without a symbol: "libx.so+0x1234", "0x7f..". */
static int add_nameless(struct code *code, const char *module, uint64_t addr, bool library)
{
	char *name = *module ? text_format("%s+0x%llx", module, (unsigned long long)addr) :
			       text_format("0x%llx", (unsigned long long)addr);
	struct code_frame frame = {
		.function = strings_intern(code->strings, name), .file = "", .module = module, .language = "",
		.library = library };

	free(name);
	return add_frame(code, &frame);
}

static int add_native(struct code *code, uint32_t module, uint64_t addr,
		      struct code_location *location)
{
	struct symbols_frame found[SYMBOLS_FRAMES_MAX];
	uint32_t flags = code->stream->modules[module].flags;
	const char *name = code->modules[module].name;
	bool runtime = is_runtime_module(name, flags), only_allocator = true;
	int count, r;

	if (flags & STREAM_MODULE_SELF)
		location->role |= CODE_SELF;
	if (runtime)
		location->role |= CODE_LIBRARY;
	count = symbols_frames(code->symbols, code->modules[module].file, addr, found,
			       SYMBOLS_FRAMES_MAX);
	if (count < 0)
		return count;
	if (count == 0) {
		/* all of a library that is nothing but an allocator */
		if (flags & STREAM_MODULE_ALLOCATOR &&
		    !(flags & (STREAM_MODULE_LIBC | STREAM_MODULE_EXE)))
			location->role |= CODE_ALLOCATOR;
		return add_nameless(code, name, addr, runtime);
	}
	for (int i = 0; i < count; i++) {
		struct code_frame frame = {
			.function = found[i].function, .file = found[i].file, .module = name,
			.language = found[i].language, .line = found[i].line, .inlined = found[i].inlined,
			.wrapper = found[i].function && is_wrapper_function(code, found[i].function) };

		frame.library = runtime || frame.wrapper || is_runtime_function(&found[i]);
		if (!is_allocator_function(frame.function))
			only_allocator = false;
		if (frame.function && !*frame.function)
			r = add_nameless(code, name, addr, runtime);
		else
			r = add_frame(code, &frame);
		if (r < 0)
			return r;
	}
	/* an allocator's helpers are inlined into its entry: the outermost name decides */
	if (only_allocator || is_allocator_function(found[count - 1].function) ||
	    (flags & STREAM_MODULE_ALLOCATOR &&
	     !(flags & (STREAM_MODULE_LIBC | STREAM_MODULE_EXE))))
		location->role |= CODE_ALLOCATOR;
	return 0;
}

/* ---- locations ---- */

static bool same_location(const void *owner, uint32_t number, const void *key)
{
	const struct code_key *a = &((const struct code *)owner)->location_keys[number], *b = key;

	return a->addr == b->addr && a->place == b->place;
}

/* Find or make the location of (place, addr): place is a file number, NO_MODULE or PYTHON. `module`
 * is where the address was met, for a new one. */
static int find_location(struct code *code, uint32_t place, uint64_t addr, uint32_t module,
			 uint32_t *ret_location)
{
	struct code_location location = { .first = code->frame_id_count };
	struct code_key key = { addr, place };
	uint32_t hash = hash_fold(hash_mix(addr, place)), number;
	int r;

	number = hash_index_find(&code->location_index, hash, same_location, code, &key);
	if (number != HASH_NONE) {
		*ret_location = number;
		return 0;
	}
	if (place == PYTHON) {
		const struct stream_pyframe *python = &code->stream->pyframes[addr];
		struct code_frame frame = {
			.function = strings_intern(code->strings, stream_string(code->stream, python->function)),
			.file = strings_intern(code->strings, stream_string(code->stream, python->file)),
			.line = python->line, .module = "", .language = "python" };

		r = add_frame(code, &frame);
	} else if (place == NO_MODULE) {
		r = add_nameless(code, "", addr, false);
	} else {
		r = add_native(code, module, addr, &location);
	}
	if (r >= 0)
		r = grow_array(&code->locations, &code->location_capacity, code->location_count + 1ull,
			       sizeof(*code->locations));
	if (r >= 0)
		r = grow_array(&code->location_keys, &code->location_key_capacity, code->location_count + 1ull,
			       sizeof(*code->location_keys));
	if (r >= 0)
		r = hash_index_add(&code->location_index, hash, code->location_count);
	if (r < 0)
		return r;
	location.count = code->frame_id_count - location.first;
	code->locations[code->location_count] = location;
	code->location_keys[code->location_count] = key;
	*ret_location = code->location_count++;
	return 0;
}

int code_locate(struct code *code, uint64_t pc, uint16_t generation, bool is_return,
		uint32_t *ret_location)
{
	uint64_t addr = is_return && pc ? pc - 1 : pc;
	uint32_t module = find_module(code, addr, generation);

	if (module == NO_MODULE)
		return find_location(code, NO_MODULE, addr, module, ret_location);
	return find_location(code, (uint32_t)code->modules[module].file,
			     addr - code->stream->modules[module].base, module, ret_location);
}

int code_locate_python(struct code *code, uint32_t pyframe, uint32_t *ret_location)
{
	return find_location(code, PYTHON, pyframe, NO_MODULE, ret_location);
}

/* ---- life ---- */

/* Let the process itself lead to files that are no longer where they were. */
static int add_fallbacks(struct code *code, uint64_t pid)
{
	const struct stream *stream = code->stream;
	char path[96];
	int r = 0;

	for (uint32_t i = 0; r >= 0 && i < code->mapped_count; i++)
		if (stream->modules[code->mapped[i]].flags & STREAM_MODULE_EXE) {
			snprintf(path, sizeof(path), "/proc/%llu/exe", (unsigned long long)pid);
			r = symbols_add_fallback(code->symbols, code->modules[code->mapped[i]].file, path);
		}
	for (uint32_t i = 0; r >= 0 && i < stream->map_count; i++) {
		const struct stream_map *map = &stream->maps[i];

		if (map->module == STREAM_NONE || map->kind != STREAM_MAP_FILE ||
		    stream->modules[map->module].last_birth != UINT64_MAX)
			continue;
		snprintf(path, sizeof(path), "/proc/%llu/map_files/%llx-%llx", (unsigned long long)pid,
			 (unsigned long long)map->start, (unsigned long long)map->end);
		r = symbols_add_fallback(code->symbols, code->modules[map->module].file, path);
	}
	return r;
}

int code_init(struct code *code, const struct stream *stream, const char *root, uint64_t pid)
{
	int r;

	memset(code, 0, sizeof(*code));
	code->stream = stream;
	code->strings = strings_new();
	if (!code->strings)
		return -ENOMEM;
	code->symbols = symbols_new(root, code->strings);
	r = code->symbols ? read_modules(code, root) : -ENOMEM;
	return r >= 0 && pid ? add_fallbacks(code, pid) : r;
}

void code_done(struct code *code)
{
	free(code->modules);
	free(code->by_place);
	free(code->mapped);
	free(code->frames);
	free(code->locations);
	free(code->frame_ids);
	free(code->location_keys);
	hash_index_done(&code->location_index);
	hash_index_done(&code->frame_index);
	symbols_free(code->symbols);
	strings_free(code->strings);
	memset(code, 0, sizeof(*code));
}
