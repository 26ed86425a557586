/* SPDX-License-Identifier: Apache-2.0
 * L4  profile_stream.c - a heap profile as a capture stream without references.
 *
 *   entry (stack, count, bytes)  ->  one node of the mean size, or two, whose weights sum to the count
 *   mappings of a file           ->  one module; its load bias comes from the file's own headers
 *
 * Nodes need addresses that ascend and do not overlap: they are numbered through a space of their own. */
#include "core/profile_stream.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/code.h"
#include "core/text.h"
#include "core/varint.h"

#define MEMORY_MAX (1ull << 62)
#define ADDRESS_MAX (1ull << 47)	/* return addresses beyond it are none */
#define BLOCKS_MAX (ADDRESS_MAX / 16)	/* more cannot be live at once */
#define FIRST_ADDRESS 0x1000u
#define PAGE_MASK 4095ull
#define SEGMENTS_MAX 256
#define NOTES_BYTES 4096
#define NAMED_MAX 3			/* changed files that a note names */

/* ---- stacks ---- */

struct stacks {
	struct stream *stream;
	uint32_t own;			/* stacks that the stream had */
	uint64_t room;
	uint32_t *index;		/* hash table of ids */
	uint64_t slots;
};

static uint64_t hash_frame(uint32_t parent, uint64_t pc)
{
	uint64_t hash = (pc ^ (uint64_t)parent << 40) * 0x9e3779b97f4a7c15u;

	hash ^= hash >> 29;
	hash = (hash + parent) * 0xbf58476d1ce4e5b9u;
	return hash ^ hash >> 32;
}

static int index_grow(struct stacks *stacks)
{
	uint64_t slots = stacks->slots ? stacks->slots * 2 : 1024;
	uint32_t *index = calloc(slots, sizeof(*index));

	if (!index)
		return -ENOMEM;
	for (uint32_t id = stacks->own + 1; id <= stacks->stream->stack_count; id++) {
		const struct stream_stack *stack = &stacks->stream->stacks[id - 1];
		uint64_t at = hash_frame(stack->parent, stack->pc);

		while (index[at & (slots - 1)])
			at++;
		index[at & (slots - 1)] = id;
	}
	free(stacks->index);
	stacks->index = index;
	stacks->slots = slots;
	return 0;
}

static int find_frame(struct stacks *stacks, uint32_t parent, uint64_t pc, uint32_t *ret_id)
{
	struct stream *stream = stacks->stream;
	uint64_t at;

	if ((stream->stack_count - stacks->own) * 2ull >= stacks->slots && index_grow(stacks) < 0)
		return -ENOMEM;
	for (at = hash_frame(parent, pc);; at++) {
		uint32_t id = stacks->index[at & (stacks->slots - 1)];

		if (!id)
			break;
		if (stream->stacks[id - 1].parent == parent && stream->stacks[id - 1].pc == pc) {
			*ret_id = id;
			return 0;
		}
	}
	if (stream->stack_count == stacks->room) {
		uint64_t wanted = stacks->room * 2 + 256;
		struct stream_stack *bigger = reallocarray(stream->stacks, wanted, sizeof(*bigger));

		if (!bigger)
			return -ENOMEM;
		stream->stacks = bigger;
		stacks->room = wanted;
	}
	stream->stacks[stream->stack_count++] = (struct stream_stack){ .pc = pc, .parent = parent };
	stacks->index[at & (stacks->slots - 1)] = stream->stack_count;
	*ret_id = stream->stack_count;
	return 0;
}

/* The stack of an entry, made when it is met first. */
static int find_stack(struct stacks *stacks, const struct profile *profile, const struct profile_entry *entry,
		      uint32_t *ret_id)
{
	const uint64_t *pcs = entry->frames ? profile->pcs + entry->first : NULL;
	uint32_t id = 0;

	if (entry->frames && (pcs[entry->frames - 1] & STREAM_PROFILE_TAG_MASK) == STREAM_PROFILE_TAG) {
		uint64_t tag = pcs[entry->frames - 1] & ~STREAM_PROFILE_TAG_MASK;

		if (tag && tag <= stacks->own) {
			*ret_id = (uint32_t)tag;
			return 0;
		}
	}
	for (uint32_t i = entry->frames; i-- > 0;) {
		int r = pcs[i] < ADDRESS_MAX ? find_frame(stacks, id, pcs[i], &id) : 0;

		if (r < 0)
			return r;
	}
	*ret_id = id;
	return 0;
}

/* ---- nodes ---- */

struct nodes {
	struct stream *stream;
	uint64_t room, at;		/* next address */
	uint64_t blocks;		/* that the nodes stand for */
};

static int grow_column(void *column, uint64_t room, size_t element_bytes)
{
	void *bigger = reallocarray(*(void **)column, room, element_bytes);

	if (!bigger)
		return -ENOMEM;
	*(void **)column = bigger;
	return 0;
}

static int grow_nodes(struct nodes *nodes)
{
	struct stream *s = nodes->stream;
	uint64_t room = nodes->room * 2 + 256;
	int r = grow_column(&s->node_addr, room, sizeof(*s->node_addr));

	if (r == 0)
		r = grow_column(&s->node_bytes, room, sizeof(*s->node_bytes));
	if (r == 0)
		r = grow_column(&s->node_birth, room, sizeof(*s->node_birth));
	if (r == 0)
		r = grow_column(&s->node_stack, room, sizeof(*s->node_stack));
	if (r == 0)
		r = grow_column(&s->node_type, room, sizeof(*s->node_type));
	if (r == 0)
		r = grow_column(&s->node_thread, room, sizeof(*s->node_thread));
	if (r == 0)
		r = grow_column(&s->node_kind, room, sizeof(*s->node_kind));
	if (r == 0)
		r = grow_column(&s->node_weight, room, sizeof(*s->node_weight));
	nodes->room = room;
	return r;
}

/* `count` blocks of `bytes` bytes each; a weight has 32 bits. Returns 0, -ENOMEM or -EBADMSG. */
static int add_blocks(struct nodes *nodes, uint32_t stack, uint64_t bytes, uint64_t count)
{
	struct stream *s = nodes->stream;

	/* so that a few bytes of text cannot ask for millions of nodes */
	if (count > BLOCKS_MAX - nodes->blocks)
		return -EBADMSG;
	nodes->blocks += count;
	while (count) {
		uint32_t weight = count < UINT32_MAX ? (uint32_t)count : UINT32_MAX, id = s->node_count;

		if (id >= UINT32_MAX / 2 || bytes >= MEMORY_MAX - nodes->at)
			return -EBADMSG;
		if (id == nodes->room && grow_nodes(nodes) < 0)
			return -ENOMEM;
		s->node_addr[id] = nodes->at;
		s->node_bytes[id] = bytes;
		s->node_birth[id] = 0;
		s->node_stack[id] = stack;
		s->node_type[id] = STREAM_NONE;
		s->node_thread[id] = 0;
		s->node_kind[id] = STREAM_NODE_MALLOC;
		s->node_weight[id] = weight;
		s->node_count++;
		nodes->at += bytes / 16 * 16 + 16;
		count -= weight;
	}
	return 0;
}

/* ---- the root ---- */

static int add_string(struct stream *stream, const char *string, uint32_t *ret_offset)
{
	size_t first = stream->strings_bytes ? 0 : 1, length = strlen(string) + 1;
	char *bigger;

	if (stream->strings_bytes + first + length >= UINT32_MAX)
		return -ENOMEM;
	bigger = realloc(stream->strings, stream->strings_bytes + first + length + 1);
	if (!bigger)
		return -ENOMEM;
	if (first)
		bigger[stream->strings_bytes++] = 0;
	memcpy(bigger + stream->strings_bytes, string, length);
	*ret_offset = stream->strings_bytes;
	stream->strings = bigger;
	stream->strings_bytes += (uint32_t)length;
	bigger[stream->strings_bytes] = 0;
	return 0;
}

static int add_holder(struct stream *stream)
{
	uint64_t room = 3ull * VARINT_MAX + 3ull * stream->node_count + 16;
	uint8_t *bytes, *at;
	uint32_t name;

	if (!stream->node_count)
		return 0;
	if (room > UINT32_MAX || add_string(stream, PROFILE_HOLDER, &name) < 0)
		return -ENOMEM;
	stream->roots = calloc(1, sizeof(*stream->roots));
	stream->root_edges = calloc(1, sizeof(*stream->root_edges));
	bytes = malloc(room);
	if (!stream->roots || !stream->root_edges || !bytes) {
		free(bytes);
		return -ENOMEM;
	}
	at = varint_put(bytes, 0);
	at = varint_put(at, stream->node_count);
	for (uint32_t i = 0; i < stream->node_count; i++) {
		at = varint_put(at, STREAM_LABEL_OFFSET << 1);
		at = varint_put(at, 0);
		at = varint_put(at, varint_zigzag(i > 0));
	}
	stream->roots[0] = (struct stream_root){ .kind = STREAM_ROOT_MAPPING, .module = STREAM_NONE,
						 .thread = STREAM_NONE, .name = name };
	stream->root_count = 1;
	stream->root_edges[0] = (struct stream_coded){ .bytes = bytes, .byte_count = (uint32_t)(at - bytes) };
	stream->root_edge_chunk_count = 1;
	stream->end.roots = 1;
	stream->end.root_edges = stream->node_count;
	return 0;
}

int profile_into_stream(const struct profile *profile, struct stream *stream, char **ret_error)
{
	struct stacks stacks = { .stream = stream, .own = stream->stack_count, .room = stream->stack_count };
	struct nodes nodes = { .stream = stream, .at = FIRST_ADDRESS };
	int r = 0;

	*ret_error = NULL;
	if (stream->node_count || stream->root_count || stream->edge_chunk_count || stream->root_edge_chunk_count) {
		*ret_error = strdup("the capture stream is damaged: it has both a heap profile and nodes or roots");
		return *ret_error ? -EBADMSG : -ENOMEM;
	}
	for (uint64_t i = 0; i < profile->entry_count && r == 0; i++) {
		const struct profile_entry *entry = &profile->entries[i];
		uint64_t rest = entry->count ? entry->bytes % entry->count : 0;
		uint32_t stack;

		if (!entry->count)
			continue;
		r = find_stack(&stacks, profile, entry, &stack);
		if (r == 0)
			r = add_blocks(&nodes, stack, entry->bytes / entry->count, entry->count - rest);
		if (r == 0)
			r = add_blocks(&nodes, stack, entry->bytes / entry->count + 1, rest);
	}
	free(stacks.index);
	if (r == 0)
		r = add_holder(stream);
	stream->end.nodes = stream->node_count;
	stream->end.stacks = stream->stack_count;
	if (r == -EBADMSG)
		*ret_error = strdup("the heap profile is damaged: its sizes pass the end of memory");
	return r;
}

/* ---- modules ---- */

/* The build-id among the notes of a file, if it has one. */
static void read_build_id(int fd, const Elf64_Phdr *segment, struct stream_module *module)
{
	uint8_t notes[NOTES_BYTES];
	size_t wanted = segment->p_filesz < sizeof(notes) ? segment->p_filesz : sizeof(notes), at = 0;
	ssize_t bytes = segment->p_offset < MEMORY_MAX ? pread(fd, notes, wanted, (off_t)segment->p_offset) : 0;
	Elf64_Nhdr note;

	while (bytes > 0 && at + sizeof(note) <= (size_t)bytes) {
		size_t name, end;

		memcpy(&note, notes + at, sizeof(note));
		name = at + sizeof(note);
		end = name + ((size_t)note.n_namesz + 3) / 4 * 4 + note.n_descsz;
		if (end > (size_t)bytes)
			return;
		if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && !memcmp(notes + name, "GNU", 4) &&
		    note.n_descsz <= sizeof(module->build_id)) {
			memcpy(module->build_id, notes + name + 4, note.n_descsz);
			module->build_id_bytes = note.n_descsz;
			return;
		}
		at = (end + 3) / 4 * 4;
	}
}

/* What the file itself says: its load bias, when the segment that is mapped at `start` from `offset` is one of
 * its own, and its build. *ret_status: what stat said; st_ino 0 = it cannot be read. */
static void read_headers(const char *root, const char *path, uint64_t start, uint64_t offset,
			 struct stream_module *module, struct stat *ret_status)
{
	char *full = text_format("%s%s", root ? root : "", path);
	int fd = full ? open(full, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK) : -1;
	Elf64_Phdr segments[SEGMENTS_MAX];
	Elf64_Ehdr header;
	ssize_t bytes = 0;

	memset(ret_status, 0, sizeof(*ret_status));
	free(full);
	if (fd < 0)
		return;
	if (fstat(fd, ret_status) == 0 && S_ISREG(ret_status->st_mode) &&
	    pread(fd, &header, sizeof(header), 0) == sizeof(header) && !memcmp(header.e_ident, ELFMAG, SELFMAG) &&
	    header.e_ident[EI_CLASS] == ELFCLASS64 && header.e_phentsize == sizeof(*segments) &&
	    header.e_phnum <= SEGMENTS_MAX && header.e_phoff < MEMORY_MAX)
		bytes = pread(fd, segments, header.e_phnum * sizeof(*segments), (off_t)header.e_phoff);
	for (size_t i = 0; bytes > 0 && i < (size_t)bytes / sizeof(*segments); i++) {
		if (segments[i].p_type == PT_LOAD && segments[i].p_flags & PF_X &&
		    (segments[i].p_offset & ~PAGE_MASK) == offset)
			module->base = start - (segments[i].p_vaddr & ~PAGE_MASK);
		if (segments[i].p_type == PT_NOTE && !module->build_id_bytes)
			read_build_id(fd, &segments[i], module);
	}
	close(fd);
}

static uint32_t flags_of(const char *path)
{
	static const struct { const char *begins; uint32_t flags; } known[] = {
		{ "libjemalloc", STREAM_MODULE_ALLOCATOR }, { "libtcmalloc", STREAM_MODULE_ALLOCATOR },
		{ "libleakdiff.so", STREAM_MODULE_SELF }, { "libc.so", STREAM_MODULE_LIBC },
		{ "libc-2", STREAM_MODULE_LIBC }, { "ld-linux", STREAM_MODULE_LIBC },
	};
	const char *base = code_base_name(path);

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (!strncmp(base, known[i].begins, strlen(known[i].begins)))
			return known[i].flags;
	return 0;
}

/* Mappings first .. first + count - 1 are one file: a module, if any of them is executable. */
static int add_module(const struct profile *profile, uint64_t first, uint64_t count, const char *root,
		      struct stream *stream, uint64_t *room, struct stat *ret_status)
{
	const struct profile_mapping *begin = &profile->mappings[first], *code = NULL;
	struct stream_module module = { .last_birth = UINT64_MAX, .tls_offset = INT64_MIN };
	int r;

	for (const struct profile_mapping *m = begin; m < begin + count && !code; m++)
		if (m->executable)
			code = m;
	if (!code || *begin->path != '/')
		return 0;
	if (stream->module_count == *room) {
		*room = *room * 2 + 64;
		r = grow_column(&stream->modules, *room, sizeof(*stream->modules));
		if (r < 0)
			return r;
	}
	r = add_string(stream, begin->path, &module.path);
	if (r < 0)
		return r;
	module.start = begin->start;
	module.end = begin[count - 1].end;
	module.base = begin->start - begin->offset;
	read_headers(root, begin->path, code->start, code->offset, &module, ret_status);
	module.flags = flags_of(begin->path);
	stream->modules[stream->module_count++] = module;
	return 1;
}

struct changed { struct text names; uint32_t count; };

static int add_modules(const struct profile *profile, const char *root, int64_t dumped_s, struct stream *stream,
		       struct changed *changed)
{
	uint64_t room = 0, count;

	for (uint64_t first = 0; first < profile->mapping_count; first += count) {
		const struct profile_mapping *m = &profile->mappings[first];
		struct stat status;
		int r;

		for (count = 1; first + count < profile->mapping_count && !strcmp(m[count].path, m->path); count++)
			;
		r = add_module(profile, first, count, root, stream, &room, &status);
		if (r < 0)
			return r;
		if (r > 0 && status.st_ino && status.st_mtime > dumped_s && changed->count++ < NAMED_MAX)
			text_printf(&changed->names, "%s%s", changed->count > 1 ? ", " : "", code_base_name(m->path));
	}
	return 0;
}

/* ---- facts and notes ---- */

static int add_facts(const struct profile *profile, int64_t dumped_ns, struct stream *stream)
{
	const char *program = NULL;
	struct text text = { 0 };
	char *at;

	/* the program is what is mapped first, unless that is a library */
	for (uint32_t i = 0; i < stream->module_count && !program; i++)
		if (!strstr(stream_string(stream, stream->modules[i].path), ".so"))
			program = stream_string(stream, stream->modules[i].path);
	if (program && !strchr(program, '\n'))
		text_printf(&text, "exe=%s\ncommand=%s\n", program, program);
	text_printf(&text, "profile=%s\nsample_bytes=%" PRIu64 "\nmode=profile\ntaken_realtime_ns=%" PRId64 "\n",
		    profile->format, profile->sample_bytes, dumped_ns);
	stream->meta_text = text_take(&text);
	stream->meta = calloc(6, sizeof(*stream->meta));
	if (!stream->meta_text || !stream->meta)
		return -ENOMEM;
	stream->meta_bytes = (uint32_t)strlen(stream->meta_text);
	for (at = stream->meta_text; *at;) {
		struct stream_pair *pair = &stream->meta[stream->meta_count++];

		pair->key = at;
		at = strchr(at, '=');
		*at++ = 0;
		pair->value = at;
		at = strchr(at, '\n');
		*at++ = 0;
	}
	return 0;
}

/* Frames that no mapping of the profile explains: the list may have been cut at the end of a line. */
static uint64_t count_homeless(const struct profile *profile)
{
	uint64_t homeless = 0;

	for (uint64_t i = 0; i < profile->pc_count; i++) {
		uint64_t low = 0, high = profile->mapping_count, pc = profile->pcs[i];

		while (low < high) {
			uint64_t middle = low + (high - low) / 2;

			if (profile->mappings[middle].start <= pc)
				low = middle + 1;
			else
				high = middle;
		}
		homeless += pc < ADDRESS_MAX && (!low || pc > profile->mappings[low - 1].end);
	}
	return homeless;
}

static int add_notes(const struct profile *profile, struct changed *changed, struct stream *stream)
{
	uint64_t homeless = count_homeless(profile);
	struct text text = { 0 };
	char size[TEXT_SIZE], *notes, *names = text_take(&changed->names);
	int r;

	text_printf(&text, "made of a heap profile (%s): it holds no references and knows no single block, so nothing is said about "
		    "who holds what, sizes are means, and what is new is told by sums\n", profile->format);
	if (profile->sample_bytes > 1)
		text_printf(&text, "counts and bytes are estimated from %" PRIu64 " sampled blocks, one for each %s on "
			    "average: what is rare is missing or uncertain\n", profile->samples,
			    text_size((int64_t)profile->sample_bytes, size));
	if (changed->count)
		text_printf(&text, "%s%s changed after the profile was written: names in %s may be wrong\n",
			    names ? names : "", changed->count > NAMED_MAX ? " and others" : "",
			    changed->count > 1 ? "them" : "it");
	if (homeless)
		text_printf(&text, "%" PRIu64 " frames lie in no mapping of the profile: they have no names, and the "
			    "profile may be cut short\n", homeless);
	free(names);
	notes = text_take(&text);
	r = notes ? add_string(stream, notes, &stream->end.notes) : -ENOMEM;
	free(notes);
	return r;
}

int profile_make_stream(const struct profile *profile, int64_t dumped_ns, const char *root,
			struct stream **ret_stream, char **ret_error)
{
	struct stream *stream = calloc(1, sizeof(*stream));
	struct changed changed = { .count = 0 };
	int r = stream ? 0 : -ENOMEM;

	*ret_error = NULL;
	if (r == 0) {
		stream->major = STREAM_MAJOR;
		stream->minor = STREAM_MINOR;
		r = add_modules(profile, root, dumped_ns / 1000000000, stream, &changed);
	}
	if (r == 0)
		r = add_facts(profile, dumped_ns, stream);
	if (r == 0)
		r = profile_into_stream(profile, stream, ret_error);
	if (r == 0)
		r = add_notes(profile, &changed, stream);
	text_done(&changed.names);
	if (r < 0) {
		if (!*ret_error)
			*ret_error = strdup("not enough memory to read the heap profile");
		stream_free(stream);
		return r;
	}
	*ret_stream = stream;
	return 0;
}
