/* SPDX-License-Identifier: Apache-2.0
 * L5  ingest.c - capture stream to snapshot file: the order of the stages, and the small tables.
 *
 *   stream_read -> code (symbols) -> stacks -> roots -> chunks -> tables -> commit
 *   heap profile ---^
 *
 * Runs while the service's binaries are still there, usually at low priority beside the service. The
 * result is one file or nothing; every stage before the commit may fail without a trace. */
#include "core/ingest.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/heap.h"
#include "core/ingest_parts.h"
#include "core/profile.h"
#include "core/profile_stream.h"
#include "core/store_write.h"
#include "core/text.h"

#define NOTES_MAX 256			/* lines; more are counted */
#define MISSING_NAMED 3			/* modules without symbols that a note names */

struct ingest {
	const struct ingest_options *options;
	struct stream *stream;
	struct symbols_reader *reader;
	struct code code;
	const char **wrappers;
	struct types types;
	struct layouts layouts;
	struct ingest_stacks stacks;
	struct ingest_roots roots;
	struct ingest_types *decided;
	struct store_writer *writer;
	struct ingest_census census;
	struct heap_account account;
	struct ingest_result result;
	uint64_t profile_samples, profile_sample_bytes;
	uint32_t note_count, notes_left_out;
	struct fact { const char *key, *value; size_t order; } *facts;	/* sorted by key, each once */
	size_t fact_count;
	char *capture_meta;		/* copy of the option, cut into strings */
};

static void report(const struct ingest *ingest, const char *what, uint64_t done, uint64_t total)
{
	if (ingest->options->progress)
		ingest->options->progress(what, done, total, ingest->options->progress_data);
}

static void report_reading(uint64_t bytes, void *data)
{
	report(data, "reading", bytes, 0);
}

static void report_writing(uint64_t done, uint64_t total, void *data)
{
	report(data, "writing", done, total);
}

/* ---- facts: META of the stream, what the caller adds, what ingest counted; later ones win ---- */

static int compare_keys(const void *pa, const void *pb)
{
	return strcmp(((const struct fact *)pa)->key, ((const struct fact *)pb)->key);
}

/* By key, then in order of arrival. */
static int compare_arrival(const void *pa, const void *pb)
{
	const struct fact *a = pa, *b = pb;
	int difference = strcmp(a->key, b->key);

	return difference ? difference : a->order < b->order ? -1 : a->order > b->order;
}

static const char *fact(const struct ingest *ingest, const char *key)
{
	struct fact wanted = { .key = key };
	const struct fact *found = NULL;

	if (ingest->fact_count)
		found = bsearch(&wanted, ingest->facts, ingest->fact_count, sizeof(wanted), compare_keys);
	return found ? found->value : NULL;
}

static uint64_t fact_number(const struct ingest *ingest, const char *key)
{
	const char *value = fact(ingest, key);

	return value ? strtoull(value, NULL, 10) : 0;
}

/* Collect META and capture_meta; the last value of a key stays. */
static int read_facts(struct ingest *ingest)
{
	const struct stream *stream = ingest->stream;
	size_t capacity = stream->meta_count + 1ull, kept = 0;
	char *line, *next;

	ingest->capture_meta =
		strdup(ingest->options->capture_meta ? ingest->options->capture_meta : "");
	if (!ingest->capture_meta)
		return -ENOMEM;
	for (const char *p = ingest->capture_meta; *p; p++)
		capacity += *p == '\n';
	ingest->facts = calloc(capacity + 1, sizeof(*ingest->facts));
	if (!ingest->facts)
		return -ENOMEM;
	for (uint32_t i = 0; i < stream->meta_count; i++)
		if (*stream->meta[i].key)
			ingest->facts[ingest->fact_count++] = (struct fact){
				.key = stream->meta[i].key, .value = stream->meta[i].value };
	for (line = ingest->capture_meta; line && *line; line = next) {
		char *equals;

		next = strchr(line, '\n');
		if (next)
			*next++ = 0;
		equals = strchr(line, '=');
		if (!equals || equals == line)
			continue;
		*equals = 0;
		ingest->facts[ingest->fact_count++] =
			(struct fact){ .key = line, .value = equals + 1 };
	}
	for (size_t i = 0; i < ingest->fact_count; i++)
		ingest->facts[i].order = i;
	qsort(ingest->facts, ingest->fact_count, sizeof(*ingest->facts), compare_arrival);
	for (size_t i = 0; i < ingest->fact_count; i++) {
		if (kept && !strcmp(ingest->facts[kept - 1].key, ingest->facts[i].key))
			kept--;
		ingest->facts[kept++] = ingest->facts[i];
	}
	ingest->fact_count = kept;
	return 0;
}

/* Did every thread stand still? */
static bool is_consistent(const struct ingest *ingest)
{
	const char *said = fact(ingest, "consistent");

	for (uint32_t i = 0; i < ingest->stream->thread_count; i++)
		if (ingest->stream->threads[i].stop == STREAM_STOP_NONE)
			return false;
	return !said || strcmp(said, "0");
}

/* When the threads had stopped, since 1970; else the last clock sample. */
static uint64_t taken_ns(const struct ingest *ingest)
{
	const struct stream *stream = ingest->stream;
	uint64_t said = fact_number(ingest, "taken_realtime_ns");

	return said || !stream->clock_count ?
		       said :
		       (uint64_t)stream->clock[stream->clock_count - 1].realtime_ns;
}

/* Facts that are counted here, whatever META says of them. */
static void write_facts(struct ingest *ingest)
{
	const struct stream *stream = ingest->stream;
	const struct stream_end *end = &stream->end;
	const struct ingest_census *census = &ingest->census;
	uint64_t lost = fact_number(ingest, "lost_events");
	struct { const char *key; uint64_t value; } counted[] = {
		{ "nodes", stream->node_count }, { "roots", ingest->roots.count }, { "edges", census->edges },
		{ "blocks", census->blocks }, { "bytes", census->bytes }, { "mappings", census->mappings },
		{ "mapped_bytes", census->mapped_bytes }, { "objects", census->objects },
		{ "object_bytes", census->object_bytes },
		{ "lost_events", lost > end->lost_events ? lost : end->lost_events },
		{ "skipped_words", end->skipped_words }, { "faults", end->faults },
		{ "child_ns", end->child_ns }, { "consistent", is_consistent(ingest) },
		{ "rss_bytes", ingest->account.total_bytes ? ingest->account.total_bytes :
							     fact_number(ingest, "rss_bytes") },
		{ "taken_ns", taken_ns(ingest) },
		{ "process_start_ns", fact_number(ingest, "process_start_realtime_ns") },
		{ "stream_format", stream->major * 1000u + stream->minor },
	};
	char number[24];

	for (size_t i = 0; i < sizeof(counted) / sizeof(*counted); i++) {
		snprintf(number, sizeof(number), "%" PRIu64, counted[i].value);
		store_put(ingest->writer, "meta", "ss", counted[i].key, number);
	}
	store_put(ingest->writer, "meta", "ss", "ingest_version", LEAKDIFF_VERSION);
	for (size_t i = 0; i < ingest->fact_count; i++) {
		bool ours = !strcmp(ingest->facts[i].key, "ingest_version");

		for (size_t k = 0; k < sizeof(counted) / sizeof(*counted); k++)
			ours |= !strcmp(ingest->facts[i].key, counted[k].key);
		if (!ours)
			store_put(ingest->writer, "meta", "ss", ingest->facts[i].key,
				  ingest->facts[i].value);
	}
	ingest->result.lost_events = lost > end->lost_events ? lost : end->lost_events;
	ingest->result.consistent = is_consistent(ingest);
	ingest->result.pause_ns = fact_number(ingest, "pause_ns");
}

/* ---- notes ---- */

static void note(struct ingest *ingest, const char *text)
{
	if (!*text)
		return;
	if (ingest->note_count == NOTES_MAX) {
		ingest->notes_left_out++;
		return;
	}
	store_put(ingest->writer, "notes", "is", (int64_t)ingest->note_count++, text);
}

__attribute__((format(printf, 2, 3))) static void notef(struct ingest *ingest, const char *format,
							...)
{
	char *text = NULL;
	va_list args;

	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		text = NULL;
	va_end(args);
	if (text)
		note(ingest, text);
	free(text);
}

/* One note for all files of a state that something was asked of: "no symbols for A, B and 7 more: why". */
static void note_modules(struct ingest *ingest, enum symbols_state state, const char *why)
{
	const struct stream *stream = ingest->stream;
	bool *seen = calloc(stream->module_count + 1ull, sizeof(*seen));	/* by file: fewer than modules */
	struct text names = { 0 };
	uint32_t count = 0;
	char *list;

	for (uint32_t i = 0; seen && i < stream->module_count; i++) {
		const char *path = stream_string(stream, stream->modules[i].path);
		int file = ingest->code.modules[i].file;

		if (seen[file] || symbols_state(ingest->code.symbols, file) != state ||
		    *path != '/')
			continue;
		seen[file] = true;		/* one that was loaded several times */
		if (count++ < MISSING_NAMED)
			text_printf(&names, "%s%s", count > 1 ? ", " : "",
				    ingest->code.modules[i].name);
	}
	free(seen);
	if (count > MISSING_NAMED)
		text_printf(&names, " and %u more", count - MISSING_NAMED);
	list = text_take(&names);
	if (count && list)
		notef(ingest, "no names for code and variables of %s: %s", list, why);
	free(list);
}

/* Files that ended the process that read them, and parts of debug information that lie elsewhere and are gone. */
static void note_damage(struct ingest *ingest)
{
	const struct symbols *symbols = ingest->code.symbols;

	for (uint32_t i = 0; i < ingest->stream->module_count; i++) {
		int file = ingest->code.modules[i].file;
		const char *trouble = symbols_trouble(symbols, file), *name = ingest->code.modules[i].name;
		bool seen = false;

		for (uint32_t k = 0; k < i && (trouble || symbols_lacks(symbols, file)) && !seen; k++)
			seen = ingest->code.modules[k].file == file;
		if (seen)
			continue;
		if (trouble)
			notef(ingest, "%s is damaged: %s", name, trouble);
		if (symbols_lacks(symbols, file) & SYMBOLS_NO_SPLIT)
			notef(ingest, "debug information of %s is incomplete: files with its parts (.dwo) are gone; .dwp packages are not read", name);
		if (symbols_lacks(symbols, file) & SYMBOLS_NO_ALT)
			notef(ingest, "debug information of %s is incomplete: the file that it shares with others (of dwz) is gone", name);
	}
}

static void note_profile(struct ingest *ingest)
{
	char size[TEXT_SIZE];

	notef(ingest, "counts and bytes are estimated from %" PRIu64 " blocks that jemalloc's profiler sampled, one for "
	      "each %s on average: what is rare is missing or uncertain", ingest->profile_samples,
	      text_size((int64_t)ingest->profile_sample_bytes, size));
	note(ingest, "jemalloc's profile knows stacks and sums, no single block: nothing is said about who holds what, "
		     "sizes are means, and what is new is told by sums");
}

static void write_notes(struct ingest *ingest)
{
	const struct stream *stream = ingest->stream;
	const struct stream_end *end = &stream->end;
	char *lines = strdup(stream_string(stream, end->notes));

	for (char *line = lines, *next; line && *line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = 0;
		note(ingest, line);
	}
	free(lines);
	if (stream->profile)
		note_profile(ingest);
	if (ingest->result.lost_events)
		notef(ingest,
		      "%" PRIu64 " allocation events were lost before this snapshot: some blocks are missing or stale",
		      ingest->result.lost_events);
	if (!ingest->result.consistent)
		note(ingest,
		     "not every thread could be stopped: references may be missing, so unreachable memory is uncertain");
	if (end->skipped_words)
		notef(ingest,
		      "%" PRIu64 " words of memory could not be read: references in them are missing",
		      end->skipped_words);
	if (fact(ingest, "python_first_fault"))
		notef(ingest,
		      "%" PRIu64 " times a Python object could not be read to its end: references may be missing; the first was %s",
		      fact_number(ingest, "python_faults"), fact(ingest, "python_first_fault"));
	if (stream->unknown_chunks)
		notef(ingest,
		      "%" PRIu64 " parts of the capture stream (the first of type %u) are newer than this leakdiff and were left out",
		      stream->unknown_chunks, stream->unknown_type);
	if (ingest->stacks.cut_stacks)
		notef(ingest,
		      "%" PRIu64 " stacks are deeper than what is kept of one; their outer frames were left out",
		      ingest->stacks.cut_stacks);
	note_modules(ingest, SYMBOLS_MISSING, "the file is gone");
	note_modules(ingest, SYMBOLS_OTHER_BUILD, "the file there now is another build");
	note_damage(ingest);
	if (ingest->notes_left_out)
		store_put(ingest->writer, "notes", "is", (int64_t)ingest->note_count,
			  "more notes were left out");
}

/* ---- small tables ---- */

static void write_modules(struct ingest *ingest)
{
	static const char *const states[] = {
		[SYMBOLS_UNUSED] = "unused", [SYMBOLS_MISSING] = "missing", [SYMBOLS_OTHER_BUILD] = "other build",
		[SYMBOLS_NONE] = "none", [SYMBOLS_SYMTAB] = "symtab", [SYMBOLS_DWARF] = "dwarf",
		[SYMBOLS_DAMAGED] = "damaged" };
	const struct stream *stream = ingest->stream;

	for (uint32_t i = 0; i < stream->module_count; i++) {
		const struct stream_module *m = &stream->modules[i];
		char id[2 * sizeof(m->build_id) + 1] = "";

		for (uint32_t b = 0; b < m->build_id_bytes; b++)
			snprintf(id + 2 * b, 3, "%02x", m->build_id[b]);
		store_put(
			ingest->writer, "modules", "isssuuuuziis", (int64_t)i,
			ingest->code.modules[i].name, stream_string(stream, m->path),
			*id ? id : NULL, m->base, m->start, m->end, m->first_birth, m->last_birth,
			(int64_t)m->generation, (int64_t)m->flags,
			states[symbols_state(ingest->code.symbols, ingest->code.modules[i].file)]);
	}
}

static void write_maps(struct ingest *ingest)
{
	static const char *const kinds[] = {
		[STREAM_MAP_FILE] = "file", [STREAM_MAP_MODULE_DATA] = "module-data", [STREAM_MAP_HEAP] = "heap",
		[STREAM_MAP_STACK] = "stack", [STREAM_MAP_SHARED] = "shared", [STREAM_MAP_PROGRAM] = "program",
		[STREAM_MAP_OTHER] = "other", [STREAM_MAP_OWN] = "own", [STREAM_MAP_KERNEL] = "kernel",
		[STREAM_MAP_PYTHON] = "python" };
	const struct stream *stream = ingest->stream;

	for (uint32_t i = 0; i < stream->map_count; i++) {
		const struct stream_map *m = &stream->maps[i];
		const char *kind = m->kind >= STREAM_MAP_FILE && m->kind <= STREAM_MAP_PYTHON ?
					   kinds[m->kind] :
					   "other";
		char prot[5] = { m->prot & 1 ? 'r' : '-', m->prot & 2 ? 'w' : '-',
				 m->prot & 4 ? 'x' : '-', m->shared ? 's' : 'p', 0 };

		store_put(ingest->writer, "maps", "iuussuzzzzso", (int64_t)i, m->start, m->end,
			  kind, prot, m->file_offset, m->rss_bytes, m->pss_bytes, m->swap_bytes,
			  m->live_resident_bytes, stream_string(stream, m->name), m->module);
	}
}

static void write_threads(struct ingest *ingest)
{
	static const char *const stops[] = { [STREAM_STOP_PTRACE] = "ptrace", [STREAM_STOP_SIGNAL] = "signal",
					     [STREAM_STOP_NONE] = "none", [STREAM_STOP_SELF] = "self" };
	const struct stream *stream = ingest->stream;

	for (uint32_t i = 0; i < stream->thread_count; i++) {
		const struct stream_thread *t = &stream->threads[i];

		store_put(ingest->writer, "threads", "iissouuu", (int64_t)i, (int64_t)t->tid,
			  ingest->roots.thread_names[i],
			  t->stop >= STREAM_STOP_PTRACE && t->stop <= STREAM_STOP_SELF ?
				  stops[t->stop] :
				  "none",
			  t->syscall, t->sp, t->stack_start, t->stack_end);
	}
	for (uint32_t i = 0; i < ingest->roots.traceback_count; i++) {
		const struct ingest_frame *f = &ingest->roots.tracebacks[i];

		store_put(ingest->writer, "tracebacks", "iiiuu", (int64_t)f->thread,
			  (int64_t)f->depth, (int64_t)f->frame, f->pc, f->cfa);
	}
}

static void write_python(struct ingest *ingest)
{
	static const char *const kinds[] = { [STREAM_PYTHREAD_THREAD] = "thread", [STREAM_PYTHREAD_TASK] = "task",
					     [STREAM_PYTHREAD_GREENLET] = "greenlet" };
	const struct stream *stream = ingest->stream;
	int64_t depth = 0;

	for (uint32_t i = 0; i < stream->pythread_count; i++) {
		const struct stream_pythread *t = &stream->pythreads[i];
		bool known =
			t->kind >= STREAM_PYTHREAD_THREAD && t->kind <= STREAM_PYTHREAD_GREENLET;

		store_put(ingest->writer, "python_threads", "issozs", (int64_t)i,
			  known ? kinds[t->kind] : "other", stream_string(stream, t->name),
			  t->thread, t->object ? t->object : UINT64_MAX,
			  stream_string(stream, t->state));
	}
	for (uint32_t i = 0; i < stream->pytrace_count; i++) {
		const struct stream_pytrace *f = &stream->pytraces[i];

		depth = i && f->owner == stream->pytraces[i - 1].owner ? depth + 1 : 0;
		store_put(ingest->writer, "python_frames", "iissis", (int64_t)f->owner, depth,
			  stream_string(stream, f->function), stream_string(stream, f->file),
			  (int64_t)f->line, stream_string(stream, f->locals));
	}
	for (uint32_t i = 0; i < stream->pycache_count; i++) {
		const struct stream_pycache *c = &stream->pycaches[i];

		if (c->maxsize == INT64_MIN)
			store_put(ingest->writer, "python_caches", "iiunzz", (int64_t)i, (int64_t)c->node,
				  c->entries, c->hits, c->misses);
		else
			store_put(ingest->writer, "python_caches", "iiuizz", (int64_t)i, (int64_t)c->node,
				  c->entries, c->maxsize, c->hits, c->misses);
	}
}

/* What is NULL in the table. */
static uint32_t known_layout(uint32_t layout)
{
	return layout == LAYOUT_VOID ? UINT32_MAX : layout;
}

static void write_code(struct ingest *ingest)
{
	for (uint32_t i = 0; i < ingest->code.frame_count; i++) {
		const struct code_frame *f = &ingest->code.frames[i];

		store_put(ingest->writer, "frames", "ississi", (int64_t)i, f->function, f->file,
			  (int64_t)f->line, f->module, f->language, (int64_t)f->inlined);
	}
	for (uint32_t i = 0; i < ingest->types.count; i++)
		store_put(ingest->writer, "types", "isiou", (int64_t)i, ingest->types.entries[i].name,
			  (int64_t)ingest->types.entries[i].source, known_layout(ingest->types.entries[i].layout),
			  (uint64_t)ingest->types.entries[i].header);
}

/* Append a decimal number: a heap with many deep stacks has millions, too many for printf. */
static void append_number(struct text *text, uint32_t number)
{
	char digits[10], *at = digits + sizeof(digits);

	do {
		*--at = (char)('0' + number % 10);
		number /= 10;
	} while (number);
	text_append_bytes(text, at, (size_t)(digits + sizeof(digits) - at));
}

static int write_stacks(struct ingest *ingest)
{
	struct text list = { 0 };

	for (uint32_t i = 0; i < ingest->stacks.count; i++) {
		const struct ingest_stack *stack = &ingest->stacks.stacks[i];

		list.length = 0;
		text_append(&list, "[");
		for (uint32_t f = 0; f < stack->count; f++) {
			if (f)
				text_append_bytes(&list, ",", 1);
			append_number(&list, ingest->stacks.frame_ids[stack->first + f]);
		}
		text_append(&list, "]");
		if (list.broken) {
			text_done(&list);
			return -ENOMEM;
		}
		store_put(ingest->writer, "stacks", "iiiis", (int64_t)i, (int64_t)stack->type,
			  (int64_t)stack->count, (int64_t)stack->truncated, list.data);
	}
	text_done(&list);
	return 0;
}

static void write_roots(struct ingest *ingest)
{
	static const char *const kinds[] = {
		[STREAM_ROOT_GLOBAL] = "global", [STREAM_ROOT_STACK] = "stack", [STREAM_ROOT_TLS] = "tls",
		[STREAM_ROOT_REGISTER] = "register", [STREAM_ROOT_MAPPING] = "mapping",
		[STREAM_ROOT_PY_MODULE] = "python-module", [STREAM_ROOT_PY_FRAME] = "python-frame",
		[STREAM_ROOT_PY_C] = "python-c" };

	for (uint32_t i = 0; i < ingest->roots.count; i++) {
		const struct ingest_root *r = &ingest->roots.roots[i];
		bool known = r->kind >= STREAM_ROOT_GLOBAL && r->kind <= STREAM_ROOT_PY_C;

		/* a kind that a newer minor added still holds memory: as a mapping it is believed */
		store_put(ingest->writer, "roots", "issssuuosz", (int64_t)i,
			  kinds[known ? r->kind : STREAM_ROOT_MAPPING], r->name, r->module,
			  r->thread, r->start, r->end, known_layout(r->layout), r->file,
			  r->line ? (uint64_t)r->line : UINT64_MAX);
	}
}

static void write_clock(struct ingest *ingest)
{
	for (uint32_t i = 0; i < ingest->stream->clock_count; i++) {
		const struct stream_clock *c = &ingest->stream->clock[i];

		store_put(ingest->writer, "clock", "iuii", (int64_t)i, c->birth, c->realtime_ns,
			  c->monotonic_ns);
	}
}

/* ---- the stages ---- */

/* Wrappers of the allocator: those that the service was told of, then those that the caller names. */
static int name_wrappers(struct ingest *ingest)
{
	const char *told = fact(ingest, "wrappers");
	size_t count = 0;

	ingest->wrappers = calloc(ingest->options->wrapper_count + (told ? strlen(told) : 0) + 1, sizeof(*ingest->wrappers));
	if (!ingest->wrappers)
		return -ENOMEM;
	while (told && *told) {
		size_t length = strcspn(told, ";");

		if (length && !(ingest->wrappers[count++] = strings_intern_bytes(ingest->code.strings, told, length)))
			return -ENOMEM;
		told += length + (told[length] == ';');
	}
	for (size_t i = 0; i < ingest->options->wrapper_count; i++)
		ingest->wrappers[count++] = ingest->options->wrappers[i];
	ingest->code.wrappers = ingest->wrappers;
	ingest->code.wrapper_count = count;
	return 0;
}

static int run_stages(struct ingest *ingest)
{
	int r;

	report(ingest, "naming", 0, 0);
	r = read_facts(ingest);
	if (r >= 0)
		r = code_init(&ingest->code, ingest->stream, ingest->options->root,
			      fact(ingest, "host_pid") ? fact_number(ingest, "host_pid") :
							 fact_number(ingest, "pid"));
	if (r < 0)
		return r;
	r = name_wrappers(ingest);
	if (r < 0)
		return r;
	if (ingest->reader)
		symbols_use_reader(ingest->code.symbols, ingest->reader);
	symbols_use_cache(ingest->code.symbols);
	r = types_init(&ingest->types, ingest->code.strings);
	if (r >= 0)
		r = layouts_init(&ingest->layouts);
	if (r >= 0)
		r = ingest_stacks_make(&ingest->stacks, &ingest->code, &ingest->types);
	if (r >= 0)
		r = ingest_roots_make(&ingest->roots, &ingest->code, &ingest->layouts);
	if (r >= 0)
		r = ingest_types_make(ingest->stream, &ingest->code, &ingest->layouts, &ingest->types, &ingest->stacks,
				      &ingest->roots, &ingest->decided);
	if (r >= 0)
		r = ingest_chunks_write(ingest->writer, ingest->stream, &ingest->code, &ingest->types,
					ingest->decided, &ingest->stacks, &ingest->roots,
					report_writing, ingest, &ingest->census);
	if (r >= 0)
		r = ingest_types_write(ingest->decided, ingest->writer, &ingest->layouts, &ingest->types, &ingest->roots);
	if (r >= 0)
		r = write_stacks(ingest);
	if (r < 0)
		return r;
	symbols_keep(ingest->code.symbols);
	ingest_account_make(ingest->stream, &ingest->account);
	if (ingest->stream->profile)
		ingest_account_estimate(&ingest->account, ingest->census.bytes);
	write_facts(ingest);
	write_notes(ingest);
	write_modules(ingest);
	write_maps(ingest);
	write_threads(ingest);
	write_python(ingest);
	write_code(ingest);
	write_roots(ingest);
	ingest_account_write(ingest->writer, ingest->stream, &ingest->account);
	write_clock(ingest);
	return 0;
}

static void ingest_done(struct ingest *ingest)
{
	store_writer_free(ingest->writer);
	ingest_types_free(ingest->decided);
	ingest_roots_done(&ingest->roots);
	ingest_stacks_done(&ingest->stacks);
	types_done(&ingest->types);
	layouts_done(&ingest->layouts);
	code_done(&ingest->code);
	free(ingest->wrappers);
	symbols_reader_stop(ingest->reader);
	stream_free(ingest->stream);
	free(ingest->facts);
	free(ingest->capture_meta);
}

/* ---- heap profiles ---- */

/* What the service's allocator said of itself, as nodes. */
static int add_profile(struct ingest *ingest, char **ret_error)
{
	struct stream *stream = ingest->stream;
	struct profile *profile = NULL;
	int r;

	if (!stream->profile)
		return 0;
	r = profile_parse(stream->profile, stream->profile_bytes, "the heap profile in the capture stream", false,
			  &profile, ret_error);
	if (r >= 0)
		r = profile_into_stream(profile, stream, ret_error);
	if (r >= 0) {
		ingest->profile_samples = profile->samples;
		ingest->profile_sample_bytes = profile->sample_bytes;
	}
	profile_free(profile);
	return r;
}

/* Is the descriptor a file that holds a heap profile? Its size and date then. */
static bool is_profile(int fd, struct stat *ret_status)
{
	char head[16];
	ssize_t bytes = fstat(fd, ret_status) == 0 && S_ISREG(ret_status->st_mode) ?
				pread(fd, head, sizeof(head), lseek(fd, 0, SEEK_CUR)) : 0;

	return bytes > 0 && profile_is(head, (size_t)bytes);
}

static int read_profile(struct ingest *ingest, int fd, const struct stat *status, char **ret_error)
{
	const char *name = ingest->options->source ? ingest->options->source : "the heap profile";
	struct profile *profile = NULL;
	char *text = NULL;
	size_t used = 0;
	int r = 0;

	if (status->st_size > PROFILE_FILE_MAX) {
		*ret_error = text_format("%s has more than the %u MiB that a heap profile may have", name,
					 PROFILE_FILE_MAX >> 20);
		return -EFBIG;
	}
	text = malloc((size_t)status->st_size + 1);
	if (!text)
		r = -ENOMEM;
	while (r == 0 && used < (size_t)status->st_size) {
		ssize_t n = read(fd, text + used, (size_t)status->st_size - used);

		if (n == 0)
			break;
		if (n < 0 && errno != EINTR) {
			r = -errno;
			*ret_error = text_format("cannot read %s: %s", name, strerror(errno));
		}
		used += n > 0 ? (size_t)n : 0;
	}
	if (r == 0)
		r = profile_parse(text, used, name, true, &profile, ret_error);
	free(text);
	if (r == 0)
		r = profile_make_stream(profile, status->st_mtim.tv_sec * 1000000000ll + status->st_mtim.tv_nsec,
					ingest->options->root, &ingest->stream, ret_error);
	profile_free(profile);
	return r;
}

int ingest_run(int fd, const char *path, const struct ingest_options *options,
	       struct ingest_result *ret_result, char **ret_error)
{
	struct ingest ingest = { .options = options };
	struct stat status;
	int r;

	*ret_error = NULL;
	/* while nothing is in memory and no file is open */
	ingest.reader = symbols_reader_start(NULL);
	/* the target first: an unwritable folder is said before a long stream has been read */
	r = store_writer_open(path, options->owner_uid, options->owner_gid, &ingest.writer,
			      ret_error);
	if (r >= 0 && is_profile(fd, &status))
		r = read_profile(&ingest, fd, &status, ret_error);
	else if (r >= 0)
		r = stream_read(fd, report_reading, &ingest, &ingest.stream, ret_error);
	if (r >= 0)
		r = add_profile(&ingest, ret_error);
	if (r >= 0) {
		r = run_stages(&ingest);
		if (r == -ENOMEM)
			*ret_error = text_format("not enough memory to make %s", path);
		else if (r < 0)
			*ret_error = text_format("cannot make %s: %s", path, strerror(-r));
	}
	if (r >= 0)
		r = store_writer_commit(ingest.writer, &ingest.result.file_bytes, ret_error);
	if (r >= 0) {
		ingest.result.nodes = ingest.stream->node_count;
		ingest.result.edges = ingest.census.edges;
		ingest.result.blocks = ingest.census.blocks;
		ingest.result.bytes = ingest.census.bytes;
		*ret_result = ingest.result;
	}
	ingest_done(&ingest);
	return r;
}
