/* SPDX-License-Identifier: Apache-2.0
 * L4  ring.c - per-thread event rings: their memory and who owns them.
 *
 *        tail (whoever drains)     head (owning thread)
 *   free | published, not yet read | free
 *
 * (1) 0 <= head - tail <= slots; both only grow, so they never wrap in practice.
 * (2) A slot is written before head passes it and read before tail passes it.
 * (3) Full means that the owner drains, before it takes the time of the next event.
 * (4) There is no end-of-thread hook: a ring whose owner the kernel no longer knows is taken over,
 *     events and all (every event carries its thread), by the next thread that needs one. So no
 *     destructor runs, and events after a thread's last destructor are recorded like any other.
 * (5) The file's blocks are allocated before they are mapped: a full disk is met here, as a refusal,
 *     and not in the service, as SIGBUS. No descriptor stays open.
 * Rings are not inherited by a fork: a child makes its own file at its first event. */
#include "preload/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#include "preload/arena.h"
#include "preload/clock.h"
#include "preload/protocol.h"
#include "preload/stacks.h"
#include "preload/step.h"
#include "preload/stream.h"
#include "preload/sys.h"

#define RINGS_A_CHUNK 16u			/* at most: short-lived processes need one or two */
#define EVENTS_DEFAULT 4096u
#define RETIRED UINT32_MAX		/* owner of a ring that nobody takes over; no tid */
#define KEPT_MOST 16u			/* files of dead processes in the folder, beyond which ... */
#define KEPT_SECONDS_LEAST 600		/* ... those older than this go; the others after ... */
#define KEPT_SECONDS 604800
#define PROBES 8u			/* rings checked for a dead owner before a new one is made */
#define PCS_MAX 160u			/* deepest stack (128), our own frames, one to see a cut */

static struct ring *_Atomic rings[RING_MAX];
static _Atomic uint32_t owners[RING_MAX];	/* tid; 0 = nobody */
static _Atomic uint32_t ring_total;
static _Atomic uint32_t cursor;
static bool quick_allowed;
uint64_t ld__ring_cells[RING_CELLS] __attribute__((aligned(RING_PAGE)));	/* untouched until there are two threads */
static _Atomic uint32_t first_owner;		/* tid of the first thread that recorded */

/* under grow_lock */
static atomic_flag grow_lock = ATOMIC_FLAG_INIT;
static char *chunk;				/* where the next ring goes */
static uint32_t chunk_left;
static struct { char *start; size_t bytes; } chunks[RING_MAX / RINGS_A_CHUNK + 32];
static uint32_t chunk_count;

static bool opened;				/* or tried to: the settings are known */
static struct ring_file *file;			/* mapped header; NULL = anonymous */
static uint64_t file_bytes;
static char path[PATH_MAX + 8];
static uint32_t event_count = EVENTS_DEFAULT;

static size_t ring_bytes(void)
{
	return RING_PAGE + (size_t)event_count * sizeof(struct event);
}

static void take_lock(void)
{
	while (atomic_flag_test_and_set_explicit(&grow_lock, memory_order_acquire))
		ld__sys0(SYS_sched_yield);
}

static void drop_lock(void)
{
	atomic_flag_clear_explicit(&grow_lock, memory_order_release);
}

/* Allocate the blocks of [at, at + bytes) of the file. A file system without fallocate(2) gets zeros. */
static long allocate_blocks(int fd, uint64_t at, uint64_t bytes)
{
	static const char zeros[RING_PAGE];
	struct { uint64_t now, most; } limit;
	long r;

	/* beyond the limit the kernel does not only refuse, it sends SIGXFSZ */
	if (!ld__sys4(SYS_prlimit64, 0, RLIMIT_FSIZE, 0, &limit) && at + bytes > limit.now)
		return -EFBIG;
	r = ld__sys4(SYS_fallocate, fd, 0, at, bytes);
	if (r != -EOPNOTSUPP && r != -ENOSYS)
		return r;
	for (uint64_t done = 0; done < bytes; done += sizeof(zeros)) {
		r = ld__sys4(SYS_pwrite64, fd, zeros, sizeof(zeros), at + done);
		if (r != (long)sizeof(zeros))
			return r < 0 ? r : -ENOSPC;
	}
	return 0;
}

/* Extend the file by `bytes` and map the new part. */
static char *extend_file(size_t bytes)
{
	long fd, r, ret;

	fd = ld__sys4(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0);
	if (fd < 0)
		return NULL;		/* other root, other user, folder gone: anonymous from now on */
	r = allocate_blocks((int)fd, file_bytes, bytes);
	ret = r < 0 ? r : ld__sys6(SYS_mmap, 0, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, file_bytes);
	ld__sys1(SYS_close, fd);
	if (ld__sys_failed(ret))
		return NULL;
	file_bytes += bytes;
	ld__arena_own((void *)ret, bytes);
	return (char *)ret;
}

static bool add_chunk(void)
{
	/* before the settings are read there is one thread, which moves to the file then */
	uint32_t total = atomic_load(&ring_total);
	uint32_t count = !opened || total < 2 ? 1 : total < RINGS_A_CHUNK ? total : RINGS_A_CHUNK;
	size_t bytes = count * ring_bytes();
	char *start = NULL;

	if (chunk_count >= sizeof(chunks) / sizeof(*chunks))
		return false;
	if (file) {
		start = extend_file(bytes);
		if (start)
			file->ring_count += count;
		else
			file = NULL;	/* the file keeps what it has; the geometry stays true */
	}
	if (!start)
		start = ld__arena_map(bytes);
	if (!start)
		return false;
	ld__sys3(SYS_madvise, start, bytes, MADV_DONTFORK);
	chunks[chunk_count].start = start;
	chunks[chunk_count++].bytes = bytes;
	chunk = start;
	chunk_left = count;
	return true;
}

static struct ring *add_ring(uint32_t owner)
{
	struct ring *ring = NULL;
	uint32_t index;
	void **pcs = ld__arena_alloc(PCS_MAX * sizeof(*pcs));
	struct stack_memo *memo = ld__stacks_memo_new();

	if (!pcs || !memo)
		return NULL;
	take_lock();
	index = atomic_load(&ring_total);
	if (index < RING_MAX && (chunk_left || add_chunk())) {
		ring = (struct ring *)(void *)chunk;
		chunk += ring_bytes();
		chunk_left--;
		ring->events_at = RING_PAGE;
		ring->event_mask = ring->own_mask = event_count - 1;
		ring->index = ring->own_index = index;
		ld__ring_set_limit(ring, event_count);
		ring->clock_base = 1;
		ring->pcs = pcs;
		ring->memo = memo;
		ring->step = ld__step_new(&ring->last_stack);
		atomic_store(&owners[index], owner);
		atomic_store_explicit(&rings[index], ring, memory_order_release);
		atomic_store_explicit(&ring_total, index + 1, memory_order_release);
	}
	drop_lock();
	return ring;
}

static bool thread_is_gone(uint32_t tid)
{
	return ld__sys3(SYS_tgkill, ld__sys_getpid(), tid, 0) == -ESRCH;
}

/* A ring that nobody owns any more. One with our own tid is certain: its owner died, or we would
 * have a ring; for others the kernel is asked, a few at a time so that no thread pays for all. */
static struct ring *take_over(uint32_t tid)
{
	uint32_t total = atomic_load_explicit(&ring_total, memory_order_acquire), start;

	for (uint32_t i = 0; i < total; i++) {
		if (atomic_load_explicit(&owners[i], memory_order_relaxed) == tid)
			return atomic_load_explicit(&rings[i], memory_order_acquire);
	}
	start = atomic_fetch_add_explicit(&cursor, PROBES, memory_order_relaxed);
	for (uint32_t n = 0; n < PROBES && n < total; n++) {
		uint32_t i = (start + n) % total, owner = atomic_load(&owners[i]);

		if (owner != RETIRED && (!owner || thread_is_gone(owner)) &&
		    atomic_compare_exchange_strong(&owners[i], &owner, tid))
			return atomic_load_explicit(&rings[i], memory_order_acquire);
	}
	return NULL;
}

/* The short hooks look at the last stack without asking whether there is room for one. */
static struct ring *quick_ring(struct ring *ring)
{
	return quick_allowed && ring && ring->step ? ring : NULL;
}

static void set_ring(struct guard *g, struct ring *ring)
{
	g->ring = ring;
	g->quick = quick_ring(ring);
}

struct ring *ld__ring_acquire(void)
{
	struct guard *g = &ld__guard;
	uint32_t tid = ld__sys_gettid(), nobody = 0;
	struct ring *ring;

	if (!atomic_compare_exchange_strong(&first_owner, &nobody, tid) && nobody != tid)
		ld__clock_share(true);
	ring = take_over(tid);

	if (!ring)
		ring = add_ring(tid);
	if (!ring)
		return NULL;
	ring->wait_start = 0;
	if (ring->step)
		ld__step_reset(ring->step);	/* another thread, another stack */
	ring->owner = (uint64_t)tid << 40;
	g->tid = tid;
	set_ring(g, ring);
	return ring;
}

void ld__ring_allow_quick(bool allow)
{
	quick_allowed = allow;
	set_ring(&ld__guard, ld__guard.ring);
}

void ld__ring_forget(void)
{
	set_ring(&ld__guard, NULL);
}

void ld__ring_retire(void)
{
	struct ring *ring = ld__guard.ring;

	ld__ring_forget();
	if (ring)
		atomic_store(&owners[ring->index], RETIRED);
}

/* Does nobody listen there any more? The process may be one of another pid namespace that shares the folder. */
static bool is_deserted(const char *folder, const char *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	size_t length = strlen(folder);
	long fd, r;

	if (length + 1 + strlen(name) >= sizeof(address.sun_path))
		return false;
	memcpy(address.sun_path, folder, length);
	address.sun_path[length] = '/';
	strcpy(address.sun_path + length + 1, name);
	fd = ld__sys3(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return false;
	r = ld__sys3(SYS_connect, fd, &address, sizeof(address));
	ld__sys1(SYS_close, fd);
	return r == -ECONNREFUSED;
}

/* Rings of processes that were killed are kept for `leakdiff recover`, but not for ever and not
 * without number: a service may kill its helpers all day. */
static void remove_old_files(const char *folder)
{
	struct { uint64_t inode; int64_t offset; uint16_t bytes; uint8_t type; char name[]; } *entry;
	char names[2048] __attribute__((aligned(8)));
	uint32_t kept = 0;
	int64_t now_s = (int64_t)(ld__sys_clock_ns(CLOCK_REALTIME) / 1000000000u);
	long fd, n;

	fd = ld__sys4(SYS_openat, AT_FDCWD, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW, 0);
	if (fd < 0)
		return;
	while ((n = ld__sys3(SYS_getdents64, fd, names, sizeof(names))) > 0) {
		for (long at = 0; at < n; at += entry->bytes) {
			struct stat st;
			uint32_t pid = 0;
			const char *p;

			entry = (void *)(names + at);
			for (p = entry->name; *p >= '0' && *p <= '9' && pid < 100000000; p++)
				pid = pid * 10 + (uint32_t)(*p - '0');
			if (!pid || (strcmp(p, CONTROL_RING_SUFFIX) && strcmp(p, CONTROL_SOCKET_SUFFIX)) ||
			    ld__sys2(SYS_kill, pid, 0) != -ESRCH ||
			    fstatat((int)fd, entry->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
				continue;
			if (S_ISSOCK(st.st_mode) ? is_deserted(folder, entry->name) :
			    now_s - st.st_mtime > (kept < KEPT_MOST ? KEPT_SECONDS : KEPT_SECONDS_LEAST))
				ld__sys3(SYS_unlinkat, fd, entry->name, 0);
			else
				kept += !S_ISSOCK(st.st_mode);
		}
	}
	ld__sys1(SYS_close, fd);
}

int ld__ring_open(const char *folder, uint32_t events)
{
	struct stream_clock start;
	char digits[16], *d = digits + sizeof(digits);
	uint32_t pid = ld__sys_getpid();
	size_t length = strlen(folder);
	long fd, r, ret;

	opened = true;
	event_count = events;
	chunk_left = 0;
	path[0] = 0;
	if (!length)
		return -ENOENT;
	*--d = 0;
	for (uint32_t n = pid; n; n /= 10)
		*--d = (char)('0' + n % 10);
	if (length + 1 + strlen(d) + sizeof(CONTROL_RING_SUFFIX) > sizeof(path))
		return -ENAMETOOLONG;
	memcpy(path, folder, length);
	path[length++] = '/';
	memcpy(path + length, d, strlen(d));
	length += strlen(d);
	memcpy(path + length, CONTROL_RING_SUFFIX, sizeof(CONTROL_RING_SUFFIX));

	remove_old_files(folder);
	/* what an earlier image of this process (before exec) or an earlier process of this number left */
	ld__sys3(SYS_unlinkat, AT_FDCWD, path, 0);
	fd = ld__sys4(SYS_openat, AT_FDCWD, path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		path[0] = 0;
		return (int)fd;
	}
	r = allocate_blocks((int)fd, 0, RING_PAGE);
	ret = r < 0 ? r : ld__sys6(SYS_mmap, 0, RING_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ld__sys1(SYS_close, fd);
	if (ld__sys_failed(ret)) {
		ld__sys3(SYS_unlinkat, AT_FDCWD, path, 0);
		path[0] = 0;
		return (int)ret;
	}
	ld__sys3(SYS_madvise, ret, RING_PAGE, MADV_DONTFORK);
	ld__arena_own((void *)ret, RING_PAGE);
	ld__clock_first(&start);
	file = (struct ring_file *)ret;
	file_bytes = RING_PAGE;
	file->version = RING_VERSION;
	file->header_bytes = RING_PAGE;
	file->pid = pid;
	file->ring_count = 0;
	file->ring_bytes = (uint32_t)ring_bytes();
	file->ring_header_bytes = RING_PAGE;
	file->event_count = event_count;
	file->event_bytes = sizeof(struct event);
	file->start_clock = start.birth;
	file->start_realtime_ns = start.realtime_ns;
	file->clock_is_time = ld__clock_is_time();
	memcpy(file->magic, RING_MAGIC, sizeof(file->magic));
	chunks[chunk_count].start = (char *)ret;
	chunks[chunk_count++].bytes = RING_PAGE;
	return 0;
}

void ld__ring_unlink(void)
{
	char *suffix = path + strlen(path) - strlen(CONTROL_RING_SUFFIX);

	if (!path[0])
		return;
	ld__sys3(SYS_unlinkat, AT_FDCWD, path, 0);
	/* the agent takes its socket away itself where the end of the process lets it */
	memcpy(suffix, CONTROL_SOCKET_SUFFIX, sizeof(CONTROL_SOCKET_SUFFIX));
	ld__sys3(SYS_unlinkat, AT_FDCWD, path, 0);
	path[0] = 0;
}

void ld__ring_after_fork_child(void)
{
	uint32_t total = atomic_load(&ring_total);

	/* the memory is not here (MADV_DONTFORK): only forget it, something else may lie there soon */
	for (uint32_t i = 0; i < chunk_count; i++)
		ld__arena_disown(chunks[i].start, chunks[i].bytes);
	chunk_count = 0;
	for (uint32_t i = 0; i < total; i++) {
		atomic_store(&rings[i], NULL);
		atomic_store(&owners[i], 0);
	}
	atomic_store(&ring_total, 0);
	atomic_store(&first_owner, 0);
	ld__clock_share(false);
	ld__sys3(SYS_madvise, ld__ring_cells, sizeof(ld__ring_cells), MADV_DONTNEED);	/* the parent's indexes */
	chunk_left = 0;
	file = NULL;
	path[0] = 0;
	atomic_flag_clear(&grow_lock);
}

static struct ring forked_over;			/* head of the ring of the thread that forks */

void ld__ring_before_fork(void)
{
	if (ld__guard.ring)
		forked_over = *ld__guard.ring;
}

void ld__ring_in_fork_child(void)
{
	struct ring *ring = ld__guard.ring;
	long ret;

	if (!ring)
		return;
	ret = ld__sys6(SYS_mmap, ring, ring_bytes(), PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	if (ld__sys_failed(ret))
		return;
	ld__arena_own(ring, ring_bytes());
	*ring = forked_over;
}

uint32_t ld__ring_count(void)
{
	return atomic_load_explicit(&ring_total, memory_order_acquire);
}

struct ring *ld__ring_get(uint32_t index)
{
	return atomic_load_explicit(&rings[index], memory_order_acquire);
}

struct ring *ld__ring_of_tid(uint32_t tid)
{
	uint32_t total = ld__ring_count();

	for (uint32_t i = 0; i < total; i++) {
		if (atomic_load_explicit(&owners[i], memory_order_relaxed) == tid)
			return ld__ring_get(i);
	}
	return NULL;
}

int ld__ring_wait_of(uint32_t tid, uint64_t *ret_waited_ns, int64_t *ret_timeout_ms)
{
	struct ring *ring = ld__ring_of_tid(tid);
	uint64_t start;

	if (!ring)
		return 0;
	start = __atomic_load_n(&ring->wait_start, __ATOMIC_ACQUIRE);
	if (!start)
		return 0;
	*ret_waited_ns = ld__clock_since_ns(start);
	*ret_timeout_ms = ring->wait_timeout_ms;
	return 1;
}

const char *ld__ring_path(void)
{
	return path;
}
