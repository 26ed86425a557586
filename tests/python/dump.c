/* SPDX-License-Identifier: Apache-2.0
 * dump.c - the object graph of a live interpreter as text, for the equality tests.
 *
 * Loaded by ctypes.PyDLL, so dump() runs with the GIL held, as a snapshot does. It forks as a
 * snapshot forks; the child writes lines:
 *     O object addr bytes extra type       B owner addr counted
 *     E source label value text target is_object                  (tab between all)
 *     R kind tid name                      r label value text target is_object
 *     L wrapper entries maxsize hits misses                       (of an lru_cache; maxsize + 1, 0 = unbounded)
 *     F key value */
#include <dlfcn.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "preload/fault.h"
#include "preload/python.h"
#include "preload/sys.h"

#define EXPORT __attribute__((visibility("default")))

static char buffer[1 << 16];
static size_t filled;
static int out;

static void flush(void)
{
	for (size_t at = 0; at < filled;) {
		ssize_t n = write(out, buffer + at, filled - at);

		if (n <= 0)
			_exit(9);
		at += (size_t)n;
	}
	filled = 0;
}

static void put(const char *text)
{
	size_t n = strlen(text);

	if (n > 4000)
		n = 4000;
	if (filled + n > sizeof(buffer))
		flush();
	memcpy(buffer + filled, text, n);
	filled += n;
}

static void put_number(uint64_t value, const char *after)
{
	char digits[32];
	int n = sizeof(digits);

	digits[--n] = '\0';
	do
		digits[--n] = (char)('0' + value % 10);
	while (value /= 10);
	put(digits + n);
	put(after);
}

static uint64_t *list;		/* object of each index */
static uint64_t count, room;

static void on_buffer(const struct python_buffer *b, void *data)
{
	(void)data;
	put("B\t");
	put_number(b->owner, "\t");
	put_number(b->addr, "\t");
	put_number(!b->what, "\n");
}

static void on_object(const struct python_object *object, void *data)
{
	(void)data;
	put("O\t");
	put_number(object->object, "\t");
	put_number(object->addr, "\t");
	put_number(object->bytes, "\t");
	put_number(object->extra, "\t");
	put(ld__python_type_name(object->type));
	put("\n");
	if (count < room && object->index == count)
		list[count++] = object->object;
	ld__python_buffers(object->index, on_buffer, NULL);
}

static void put_reference(const struct python_reference *ref)
{
	put_number(ref->label, "\t");
	put_number(ref->value, "\t");
	put(ref->text ? ref->text : "");
	put("\t");
	put_number(ref->target, "\t");
	put_number(ref->is_object, "\n");
}

static void on_reference(const struct python_reference *ref, void *data)
{
	put("E\t");
	put_number(*(uint64_t *)data, "\t");
	put_reference(ref);
}

static void on_root(const struct python_root *root, void *data)
{
	(void)data;
	put("R\t");
	put_number(root->kind, "\t");
	put_number(root->tid, "\t");
	put(root->name);
	put("\n");
}

static void on_root_reference(const struct python_reference *ref, void *data)
{
	(void)data;
	put("r\t");
	put_reference(ref);
}

/* What lies in a loaded file is the interpreter's own data. */
static bool on_placed(uint32_t index, void *data)
{
	Dl_info info;

	(void)data;
	return !dladdr((void *)(uintptr_t)list[index], &info);
}

static void on_cache(const struct python_cache *cache, void *data)
{
	(void)data;
	put("L\t");
	put_number(list[cache->index], "\t");
	put_number(cache->entries, "\t");
	put_number((uint64_t)cache->maxsize + 1, "\t");
	put_number(cache->hits, "\t");
	put_number(cache->misses, "\n");
}

static void on_fact(const char *key, const char *value, void *data)
{
	(void)data;
	put("F\t");
	put(key);
	put("\t");
	put(value);
	put("\n");
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void time_fact(const char *name, double *ret_last)
{
	double t = now();

	put("F\t");
	put(name);
	put("\t");
	put_number((uint64_t)((t - *ret_last) * 1e6), "\n");
	*ret_last = t;
}

static void nothing(const struct python_reference *ref, void *data)
{
	(void)ref;
	++*(uint64_t *)data;
}

static int child(const char *path, int edges)
{
	double last = now();
	uint64_t references = 0;

	ld__fault_install(60000000000ull);

	out = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (out < 0 || ld__python_child_begin() < 0)
		return 8;
	room = 1ull << 27;
	list = mmap(NULL, room * 8, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ld__python_enumerate(NULL, NULL);
	ld__python_objects(on_object, NULL);
	time_fact("enumerate_us", &last);
	for (uint64_t i = 0; i < count; i++)
		if (edges)
			ld__python_references((uint32_t)i, on_reference, &list[i]);
		else
			ld__python_references((uint32_t)i, nothing, &references);
	time_fact("references_us", &last);
	ld__python_roots(on_placed, on_root, on_root_reference, NULL);
	ld__python_caches(on_cache, NULL);
	ld__python_facts(on_fact, NULL);
	put("F\tend\t1\n");
	flush();
	return 0;
}

/* 0 = done; else the child's status, or -1: not present, -2: no fork. Holds the GIL, as its caller does. */
EXPORT int dump(const char *path, int edges)
{
	const char *why = NULL;
	int status = 0;
	long pid;

	if (!ld__python_present(&why)) {
		fprintf(stderr, "not present: %s\n", why ? why : "no CPython");
		return -1;
	}
	pid = ld__sys5(SYS_clone, 0, 0, 0, 0, 0);
	if (pid < 0)
		return -2;
	if (pid == 0)
		ld__sys1(SYS_exit_group, child(path, edges));
	while (waitpid((pid_t)pid, &status, __WALL) < 0)
		;
	return status;
}

struct request { const char *path; int edges, status; };

static void dump_request(void *data)
{
	struct request *request = data;

	request->status = dump(request->path, request->edges);
}

/* The same from a thread that takes the GIL itself, as the agent does. Call without the GIL (ctypes.CDLL).
 * Returns dump()'s answer, or -1000 + the negative errno of ld__python_with_gil(). */
EXPORT int dump_with_gil(const char *path, int edges, int timeout_ms)
{
	struct request request = { path, edges, -3 };
	uint32_t holder = 0;
	int r;

	if (!ld__python_present(NULL))
		return -1;
	r = ld__python_with_gil(dump_request, &request, (uint64_t)timeout_ms * 1000000, &holder);
	return r < 0 ? -1000 + r : request.status;
}

/* Hold the GIL in C, as an extension that computes does. Call with PyDLL. */
EXPORT void hog(int ms)
{
	double end = now() + ms / 1000.0;

	while (now() < end)
		;
}

/* --- types that break the rules, but only in a forked child ---------------------------------- */

static int born_in;			/* pid in which such a type behaves */

static int traverse_fault(void *self, int (*visit)(void *, void *), void *data)
{
	(void)self;
	(void)visit;
	(void)data;
	if (getpid() != born_in)
		*(volatile int *)8 = 1;
	return 0;
}

static int traverse_loop(void *self, int (*visit)(void *, void *), void *data)
{
	(void)self;
	(void)visit;
	(void)data;
	for (volatile int n = 0; getpid() != born_in; n++)
		;
	return 0;
}

static int traverse_visits(void *self, int (*visit)(void *, void *), void *data)
{
	while (getpid() != born_in) {
		int r = visit(self, data);

		if (r)
			return r;
	}
	return 0;
}

static int traverse_wild(void *self, int (*visit)(void *, void *), void *data)
{
	(void)self;
	return getpid() == born_in ? 0 : visit((void *)0xdeadbeef0, data);
}

static int traverse_abort(void *self, int (*visit)(void *, void *), void *data)
{
	(void)self;
	(void)visit;
	(void)data;
	if (getpid() != born_in)
		abort();
	return 0;
}

struct type_slot { int slot; void *function; };
struct type_spec {
	const char *name;
	int basicsize, itemsize;
	unsigned flags;
	struct type_slot *slots;
};

/* A type whose tp_traverse misbehaves: how = 0 fault, 1 endless loop, 2 endless visits, 3 a wild pointer,
 * 4 abort(). Call with PyDLL, restype py_object. */
EXPORT void *broken_type(int how)
{
	static void *const ways[] = { (void *)traverse_fault, (void *)traverse_loop, (void *)traverse_visits,
				      (void *)traverse_wild, (void *)traverse_abort };
	static const char *const names[] = { "broken.Fault", "broken.Loop", "broken.Visits", "broken.Wild",
					     "broken.Abort" };
	static struct type_slot slots[5][2];
	static struct type_spec specs[5];
	void *(*make)(struct type_spec *) = (void *(*)(struct type_spec *))dlsym(RTLD_DEFAULT, "PyType_FromSpec");

	born_in = getpid();
	if (!make || how < 0 || how > 4)
		return NULL;
	slots[how][0] = (struct type_slot){ 71, ways[how] };	/* Py_tp_traverse */
	specs[how] = (struct type_spec){ names[how], 24, 0, (1u << 10) | (1u << 14) | (1u << 18), slots[how] };
	return make(&specs[how]);
}

/* An object that only this library's static array holds, as an extension might; and a native block
 * that holds one. */
EXPORT void *held_by_array[4];
EXPORT void **held_by_block;

EXPORT void keep(void *object, int in_block)
{
	void (*incref)(void *) = (void (*)(void *))dlsym(RTLD_DEFAULT, "Py_IncRef");

	incref(object);
	if (in_block) {
		held_by_block = malloc(800);
		memset(held_by_block, 0, 800);
		held_by_block[5] = object;
	} else {
		held_by_array[2] = object;
	}
}
