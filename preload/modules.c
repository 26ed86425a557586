/* SPDX-License-Identifier: Apache-2.0
 * L2  modules.c - which ELF object is (or was) mapped where.
 *
 *   list       every object ever seen, in order of discovery; entries never move
 *   volatiles  address ranges from which something was unloaded
 *
 * A stack holds bare addresses, so an address must be told from the same address in another library
 * that was loaded there later. That is the generation: 0 nearly everywhere; in a volatile range it is
 * the generation of the object that lies there now. Loading is not hooked (a wrapper around dlopen
 * would change whose RUNPATH is searched), so an object may run before the list knows it: the loader
 * is asked with _dl_find_object(), which takes no lock, and its answer compared with the list. An
 * object that is unknown gets the range's next generation, the very one it will be given when it is
 * found. The same build at the same place keeps its generation, so a service that loads and unloads a
 * plugin for ever adds nothing to the list or to the stacks.
 *
 * (1) The list's lock is taken inside the loader's (in the callback) and never the other way round.
 * (2) Readers take no lock: entries and volatile ranges are published by their counts.
 * (3) Each frame of a new stack is asked about, and the loader's answer takes a while: answers are kept
 *     for an epoch, unless nothing is known to lie there. */
#include "preload/modules.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>

#include "preload/arena.h"
#include "preload/clock.h"
#include "preload/guard.h"
#include "preload/real.h"
#include "preload/stream.h"
#include "preload/sys.h"

#define MODULES_MAX 16384u
#define VOLATILES_MAX 1024u
#define PAGE_MASK 4095ull
#define ANSWERS 4096u
#define ANSWER_MIX 0x9e3779b97f4a7c15ull

struct volatile_range {
	_Atomic uint64_t start, end;
	_Atomic uint32_t next_generation;
};

/* What the generation of a pc was in an epoch. The words agree only if they were written together. */
struct answer {
	_Atomic uint64_t value;		/* epoch << 16 | generation */
	_Atomic uint64_t check;		/* pc ^ value * ANSWER_MIX */
};

struct refresh {
	uint32_t round, index, hint;
};

static struct module *_Atomic list[MODULES_MAX];
static _Atomic uint32_t list_count;
static uint32_t seen_in[MODULES_MAX];		/* last round that met the entry; under the lock */
static _Atomic uint32_t rounds;
static struct volatile_range volatiles[VOLATILES_MAX];
static _Atomic uint32_t volatile_count;
static _Atomic uint64_t epoch;
static struct answer answers[ANSWERS];
static _Atomic uint64_t allocator_addr;
static atomic_flag lock = ATOMIC_FLAG_INIT;

static void take_lock(void)
{
	while (atomic_flag_test_and_set_explicit(&lock, memory_order_acquire))
		ld__sys0(SYS_sched_yield);
}

static void drop_lock(void)
{
	atomic_flag_clear_explicit(&lock, memory_order_release);
}

uint32_t ld__modules_count(void)
{
	return atomic_load_explicit(&list_count, memory_order_acquire);
}

const struct module *ld__modules_get(uint32_t index)
{
	return atomic_load_explicit(&list[index], memory_order_acquire);
}

uint64_t ld__modules_epoch(void)
{
	return atomic_load_explicit(&epoch, memory_order_relaxed);
}

/* ---- generations ---- */

static struct volatile_range *volatile_of(uint64_t start, uint64_t end)
{
	uint32_t count = atomic_load_explicit(&volatile_count, memory_order_acquire);

	for (uint32_t i = 0; i < count; i++) {
		if (start < atomic_load_explicit(&volatiles[i].end, memory_order_relaxed) &&
		    end > atomic_load_explicit(&volatiles[i].start, memory_order_relaxed))
			return &volatiles[i];
	}
	return NULL;
}

/* The range of an unloaded object changes hands from now on. */
static void make_volatile(const struct module *m)
{
	struct volatile_range *v = volatile_of(m->start, m->end);
	uint32_t count = atomic_load(&volatile_count), next = m->generation + 1;

	if (!v) {
		if (count == VOLATILES_MAX)
			v = &volatiles[0];	/* the table is full: one wide range errs on the safe side */
		else
			v = &volatiles[count];
	}
	if (v == &volatiles[count]) {
		atomic_store(&v->start, m->start);
		atomic_store(&v->end, m->end);
		atomic_store(&v->next_generation, next);
		atomic_store_explicit(&volatile_count, count + 1, memory_order_release);
	} else {
		if (m->start < atomic_load(&v->start))
			atomic_store(&v->start, m->start);
		if (m->end > atomic_load(&v->end))
			atomic_store(&v->end, m->end);
		if (next > atomic_load(&v->next_generation))
			atomic_store(&v->next_generation, next);
	}
	atomic_fetch_add(&epoch, 1);
}

/* _dl_find_object() came with glibc 2.35: a lock-free answer to "which object is this pc in". */
#ifdef DLFO_STRUCT_HAS_EH_DBASE
extern int _dl_find_object(void *pc, struct dl_find_object *ret) __attribute__((weak));

static bool loader_knows(uint64_t pc, uint64_t *ret_start, uint64_t *ret_eh_frame_hdr)
{
	struct dl_find_object found;

	if (!_dl_find_object || _dl_find_object((void *)(uintptr_t)pc, &found))
		return false;
	*ret_start = (uint64_t)(uintptr_t)found.dlfo_map_start & ~PAGE_MASK;
	*ret_eh_frame_hdr = (uint64_t)(uintptr_t)found.dlfo_eh_frame;
	return true;
}
#else
static bool loader_knows(uint64_t pc, uint64_t *ret_start, uint64_t *ret_eh_frame_hdr)
{
	(void)pc, (void)ret_start, (void)ret_eh_frame_hdr;
	return false;
}
#endif

static uint16_t generation_of(uint64_t pc, bool *ret_known)
{
	struct volatile_range *v = volatile_of(pc, pc + 1);
	uint64_t start, eh_frame_hdr;
	bool known;

	*ret_known = true;
	if (!v)
		return 0;
	known = loader_knows(pc, &start, &eh_frame_hdr);
	for (uint32_t i = ld__modules_count(); i-- > 0;) {
		const struct module *m = ld__modules_get(i);

		if (pc < m->start || pc >= m->end)
			continue;
		if (known ? m->start == start && m->eh_frame_hdr == eh_frame_hdr
			  : m->last_birth == UINT64_MAX)
			return (uint16_t)m->generation;
	}
	*ret_known = known;
	return (uint16_t)atomic_load_explicit(&v->next_generation, memory_order_relaxed);
}

static __attribute__((noinline)) uint16_t generation_found(uint64_t pc)
{
	struct answer *a = &answers[(pc ^ pc >> 12) % ANSWERS];
	uint64_t now = atomic_load_explicit(&epoch, memory_order_acquire),
		 value = atomic_load_explicit(&a->value, memory_order_relaxed),
		 check = atomic_load_explicit(&a->check, memory_order_relaxed);
	bool known;

	if ((check ^ value * ANSWER_MIX) == pc && value >> 16 == now)
		return (uint16_t)value;
	value = now << 16 | generation_of(pc, &known);
	if (!known)
		return (uint16_t)value;
	atomic_store_explicit(&a->value, value, memory_order_relaxed);
	atomic_store_explicit(&a->check, pc ^ value * ANSWER_MIX, memory_order_relaxed);
	return (uint16_t)value;
}

uint16_t ld__modules_generation(uint64_t pc)
{
	if (__builtin_expect(!atomic_load_explicit(&volatile_count, memory_order_relaxed), 1))
		return 0;
	return generation_found(pc);
}

int ld__modules_changed_hands(uint64_t pc)
{
	return volatile_of(pc, pc + 1) != NULL;
}

/* ---- the list ---- */

static void read_build_id(struct module *m, const ElfW(Phdr) *note)
{
	const char *p = (const char *)(m->base + note->p_vaddr), *end = p + note->p_memsz;

	if ((uint64_t)(uintptr_t)p < m->start || (uint64_t)(uintptr_t)end > m->end)
		return;
	while (p + sizeof(ElfW(Nhdr)) <= end) {
		const ElfW(Nhdr) *n = (const void *)p;
		const char *name = p + sizeof(*n), *value = name + ((n->n_namesz + 3u) & ~3u);

		if (n->n_namesz > (size_t)(end - name) || value > end ||
		    n->n_descsz > (size_t)(end - value))
			return;
		if (n->n_type == NT_GNU_BUILD_ID && n->n_namesz == 4 && !memcmp(name, "GNU", 4)) {
			m->build_id_bytes = n->n_descsz < sizeof(m->build_id) ? n->n_descsz
									     : sizeof(m->build_id);
			memcpy(m->build_id, value, m->build_id_bytes);
			return;
		}
		p = value + ((n->n_descsz + 3u) & ~3u);
	}
}

/* Bytes of static thread-local storage below the thread pointer; LeakSanitizer asks the same way. */
static uint64_t static_tls_bytes(void)
{
	static uint64_t bytes = UINT64_MAX;
	void (*info)(size_t *bytes, size_t *align);
	size_t size = 0, align = 0;

	if (bytes != UINT64_MAX)
		return bytes;
	info = (void (*)(size_t *, size_t *))ld__real_symbol("_dl_get_tls_static_info");
	if (info)
		info(&size, &align);
	bytes = size;
	return bytes;
}

static void read_tls(struct module *m, const struct dl_phdr_info *info, const ElfW(Phdr) *tls)
{
	uint64_t data = (uint64_t)(uintptr_t)info->dlpi_tls_data;
	uint64_t self = (uint64_t)(uintptr_t)__builtin_thread_pointer();

	m->tls_bytes = tls->p_memsz;
#if defined(__x86_64__)
	if (data && data < self && self - data <= static_tls_bytes())
		m->tls_offset = (int64_t)(data - self);
#else
	if (data && data >= self && data - self <= static_tls_bytes())
		m->tls_offset = (int64_t)(data - self);
#endif
}

static bool ends_with_name(const char *path, const char *start)
{
	const char *slash = strrchr(path, '/');

	return !strncmp(slash ? slash + 1 : path, start, strlen(start));
}

static void describe(struct module *m, const struct dl_phdr_info *info)
{
	m->base = info->dlpi_addr;
	m->start = UINT64_MAX;
	m->tls_offset = INT64_MIN;
	m->last_birth = UINT64_MAX;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		uint64_t start = m->base + ph->p_vaddr, end = start + ph->p_memsz;

		if (ph->p_type == PT_LOAD) {
			if ((start & ~PAGE_MASK) < m->start)
				m->start = start & ~PAGE_MASK;
			if (((end + PAGE_MASK) & ~PAGE_MASK) > m->end)
				m->end = (end + PAGE_MASK) & ~PAGE_MASK;
			if (m->segment_count < MODULE_SEGMENTS_MAX)
				m->segments[m->segment_count++] = (struct module_segment){
					start, end,
					(ph->p_flags & PF_R ? PROT_READ : 0u) |
						(ph->p_flags & PF_W ? PROT_WRITE : 0u) |
						(ph->p_flags & PF_X ? PROT_EXEC : 0u) };
		} else if (ph->p_type == PT_GNU_EH_FRAME) {
			m->eh_frame_hdr = start;
		} else if (ph->p_type == PT_TLS) {
			read_tls(m, info, ph);
		}
	}
	for (int i = 0; i < info->dlpi_phnum && !m->build_id_bytes; i++) {
		if (info->dlpi_phdr[i].p_type == PT_NOTE)
			read_build_id(m, &info->dlpi_phdr[i]);
	}
}

static bool is_same_build(const struct module *a, const struct module *b, const char *path)
{
	if (a->base != b->base || a->start != b->start || a->end != b->end ||
	    a->build_id_bytes != b->build_id_bytes ||
	    memcmp(a->build_id, b->build_id, a->build_id_bytes))
		return false;
	return a->build_id_bytes || (a->path && !strcmp(a->path, path));
}

static void set_flags(struct module *m, bool is_program)
{
	static const char anchor;
	uint64_t self = (uint64_t)(uintptr_t)&anchor, allocator = atomic_load(&allocator_addr);

	m->flags = is_program ? STREAM_MODULE_EXE : 0;
	if (self >= m->start && self < m->end)
		m->flags |= STREAM_MODULE_SELF;
	if (allocator >= m->start && allocator < m->end)
		m->flags |= STREAM_MODULE_ALLOCATOR;
	if (ends_with_name(m->path, "libc.so") || ends_with_name(m->path, "ld-linux") ||
	    ends_with_name(m->path, "ld-musl"))
		m->flags |= STREAM_MODULE_LIBC;
}

static void retire(struct module *m)
{
	m->last_birth = ld__clock_now();
	make_volatile(m);
}

static void append(const struct module *found, const char *path, uint32_t round, bool is_program)
{
	uint32_t count = atomic_load(&list_count);
	struct volatile_range *v;
	struct module *m;

	/* What lies there in the list must have gone without dlclose(): libc unloads its own plugins. */
	for (uint32_t i = 0; i < count; i++) {
		m = atomic_load(&list[i]);
		if (m->last_birth == UINT64_MAX && m->start < found->end && m->end > found->start)
			retire(m);
	}
	if (count == MODULES_MAX)
		return;		/* its code is still shown as addresses */
	v = volatile_of(found->start, found->end);
	m = ld__arena_alloc(sizeof(*m));
	if (!m)
		return;
	*m = *found;
	m->path = ld__arena_strdup(path);
	if (!m->path)
		m->path = "";
	m->first_birth = count ? ld__clock_now() : 0;
	m->generation = v ? atomic_load(&v->next_generation) : 0;
	set_flags(m, is_program);
	seen_in[count] = round;
	atomic_store_explicit(&list[count], m, memory_order_release);
	atomic_store_explicit(&list_count, count + 1, memory_order_release);
	if (v)
		atomic_fetch_add(&epoch, 1);
}

static int visit(struct dl_phdr_info *info, size_t size, void *data)
{
	struct refresh *refresh = data;
	static struct module found;	/* under the lock; too large for a small stack */
	static char program[MODULE_PATH_MAX];
	const char *path = info->dlpi_name ? info->dlpi_name : "";
	bool is_program = !refresh->index++ && !*path;
	uint32_t count;

	(void)size;
	take_lock();
	if (is_program) {
		long n = 0;

		if (!program[0])
			n = ld__sys4(SYS_readlinkat, -100, "/proc/self/exe", program, sizeof(program) - 1);
		if (n < 0)
			program[0] = 0;
		path = program;
	}
	memset(&found, 0, sizeof(found));
	describe(&found, info);
	if (found.start >= found.end)
		goto out;
	count = atomic_load(&list_count);
	for (uint32_t n = 0; n < count; n++) {
		uint32_t i = (refresh->hint + n) % count;	/* the loader's order rarely changes */
		struct module *m = atomic_load(&list[i]);

		if (!is_same_build(&found, m, path))
			continue;
		if (m->last_birth != UINT64_MAX) {
			m->last_birth = UINT64_MAX;	/* it came back */
			atomic_fetch_add(&epoch, 1);
		}
		if (found.tls_offset != INT64_MIN)
			m->tls_offset = found.tls_offset;
		if (refresh->round > seen_in[i])
			seen_in[i] = refresh->round;
		refresh->hint = i + 1;
		goto out;
	}
	append(&found, path, refresh->round, is_program);
out:
	drop_lock();
	return 0;
}

uint32_t ld__modules_refresh(void)
{
	struct refresh refresh = { .round = atomic_fetch_add(&rounds, 1) + 1 };
	uint32_t before = ld__modules_count();

	static_tls_bytes();
	dl_iterate_phdr(visit, &refresh);
	take_lock();
	for (uint32_t i = 0; i < before; i++) {
		struct module *m = atomic_load(&list[i]);

		if (m->last_birth == UINT64_MAX && seen_in[i] < refresh.round)
			retire(m);
	}
	drop_lock();
	return ld__modules_count();
}

void ld__modules_set_allocator(uint64_t addr)
{
	atomic_store(&allocator_addr, addr);
	for (uint32_t i = 0; i < ld__modules_count(); i++) {
		struct module *m = atomic_load(&list[i]);

		if (addr >= m->start && addr < m->end)
			m->flags |= STREAM_MODULE_ALLOCATOR;
	}
}

void ld__modules_after_fork_child(void)
{
	atomic_flag_clear(&lock);
}
