/* SPDX-License-Identifier: Apache-2.0
 * L3  python.c - find CPython in this process, learn its version, borrow the GIL.
 *
 * Nothing here allocates from the service's heap on purpose; dlsym and pthread_create may, so
 * callers are inside the guard. A symbol that is missing means "no Python for us", never trouble. */
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "arena.h"
#include "gate.h"
#include "guard.h"
#include "python_private.h"
#include "real.h"
#include "sys.h"

#define GIL_STACK_BYTES (1u << 20)
#define GIL_TIMEOUT_DEFAULT_NS 5000000000ull

struct python_api ld__py;

static const struct python_layout layouts[] = {
#define X(...) { __VA_ARGS__ },
#include "python_layout.inc"
#undef X
};

static int api_state;			/* 0 unknown, 1 usable, -1 found but not for us */
static const char *api_why;

/* --- symbols ------------------------------------------------------------------------------- */

struct candidates {
	char paths[4][512];
	int count;
};

static int keep_python_library(struct dl_phdr_info *info, size_t size, void *data)
{
	struct candidates *candidates = data;
	const char *name = info->dlpi_name, *slash;

	(void)size;
	if (!name || !*name || candidates->count == 4 || strlen(name) >= sizeof(candidates->paths[0]))
		return 0;
	slash = strrchr(name, '/');
	if (strstr(slash ? slash : name, "libpython"))
		strcpy(candidates->paths[candidates->count++], name);
	return 0;
}

/* The handle to look names up with: the global scope, or the library that an embedder opened
 * RTLD_LOCAL, which the global scope does not show. */
static bool find_handle(void **ret_handle)
{
	struct candidates candidates = { .count = 0 };

	if (dlsym(RTLD_DEFAULT, "_PyRuntime") && dlsym(RTLD_DEFAULT, "Py_GetVersion")) {
		*ret_handle = RTLD_DEFAULT;
		return true;
	}
	dl_iterate_phdr(keep_python_library, &candidates);
	for (int i = 0; i < candidates.count; i++) {
		void *handle = dlopen(candidates.paths[i], RTLD_NOLOAD | RTLD_LAZY);

		if (!handle)
			continue;
		if (dlsym(handle, "_PyRuntime") && dlsym(handle, "Py_GetVersion")) {
			*ret_handle = handle;	/* keeps the library: an interpreter is never unloaded */
			return true;
		}
		dlclose(handle);
	}
	return false;
}

static int parse_version(const char *text)
{
	int major = 0, minor = 0;

	while (*text >= '0' && *text <= '9')
		major = major * 10 + (*text++ - '0');
	if (*text++ != '.')
		return 0;
	while (*text >= '0' && *text <= '9')
		minor = minor * 10 + (*text++ - '0');
	return major * 100 + minor;
}

/* From 3.13 on the interpreter says itself where its fields are. */
static bool take_debug_offsets(void)
{
	static const struct { int at; size_t field; } taken[] = {
		{ 184, offsetof(struct python_layout, tstate_frame) },
		{ 192, offsetof(struct python_layout, thread_id) },
		{ 200, offsetof(struct python_layout, native_id) },
		{ 232, offsetof(struct python_layout, frame_back) },
		{ 240, offsetof(struct python_layout, frame_code) },
		{ 248, offsetof(struct python_layout, frame_lasti) },
		{ 256, offsetof(struct python_layout, frame_slots) },
		{ 264, offsetof(struct python_layout, frame_owner) },
		{ 280, offsetof(struct python_layout, code_file) },
		{ 288, offsetof(struct python_layout, code_name) },
		{ 296, offsetof(struct python_layout, code_qualname) },
		{ 304, offsetof(struct python_layout, code_linetable) },
		{ 312, offsetof(struct python_layout, code_line) },
		{ 328, offsetof(struct python_layout, code_slotnames) },
		{ 344, offsetof(struct python_layout, code_bytes) },
	};

	if (memcmp((const void *)(uintptr_t)ld__py._PyRuntime, "xdebugpy", 8) != 0)
		return false;
	if (py_word(ld__py._PyRuntime, 16) != 0) {
		api_why = "a free-threaded CPython is not supported yet";
		return false;
	}
	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
		uint64_t value = py_word(ld__py._PyRuntime, taken[i].at);

		if (value > 4096) {
			api_why = "this CPython describes itself in a way that we do not understand";
			return false;
		}
		memcpy((char *)&ld__py.layout + taken[i].field, &(int){ (int)value }, sizeof(int));
	}
	return true;
}

static int resolve(void)
{
	void *handle;
	const char *version;
	size_t n;

	if (!find_handle(&handle))
		return 0;
#define X(required, type, name, parameters)                                                         \
	*(void **)(void *)&ld__py.name = dlsym(handle, #name);                                      \
	if ((required) && !ld__py.name) {                                                           \
		api_why = "this CPython lacks " #name;                                              \
		return -1;                                                                          \
	}
	PYTHON_FUNCTIONS(X)
#undef X
#define X(name) ld__py.name = (uint64_t)(uintptr_t)dlsym(handle, #name);
	PYTHON_DATA(X)
#undef X
	if (!ld__py.PyType_Type || !ld__py.PyDict_Type || !ld__py.PyTuple_Type || !ld__py.PyList_Type ||
	    !ld__py.PyUnicode_Type || !ld__py.PyLong_Type || !ld__py.PyMethodDescr_Type ||
	    !ld__py.PyExc_MemoryError || !ld__py.PyModule_Type || !ld__py.PyBaseObject_Type) {
		api_why = "this CPython does not export its types";
		return -1;
	}
	version = ld__py.Py_GetVersion();
	for (n = 0; n + 1 < sizeof(ld__py.version_text) && version[n] && version[n] != ' '; n++)
		ld__py.version_text[n] = version[n];
	ld__py.version_text[n] = '\0';
	ld__py.version = parse_version(version);
	ld__py.debug_build = dlsym(handle, "_Py_NegativeRefcount") != NULL;
	if (dlsym(handle, "_Py_ForgetReference") && dlsym(handle, "_Py_AddToAllObjects")) {
		api_why = "a CPython built with Py_TRACE_REFS is not supported";
		return -1;
	}
	for (size_t i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++) {
		if (layouts[i].version != ld__py.version)
			continue;
		ld__py.layout = layouts[i];
		if (ld__py.version >= 313 && !take_debug_offsets())
			return -1;
		return 1;
	}
	api_why = "this version of CPython is not known (3.8 to 3.13 are)";
	return -1;
}

bool ld__python_loaded(void)
{
	int state = __atomic_load_n(&api_state, __ATOMIC_ACQUIRE);

	if (state)
		return state > 0;
	state = resolve();
	__atomic_store_n(&api_state, state, __ATOMIC_RELEASE);
	return state > 0;
}

const char *ld__python_why(void)
{
	return api_why ? api_why : "";
}

/* Has the interpreter begun to end, or ended? */
static bool is_ending(void)
{
	return (ld__py.Py_IsFinalizing && ld__py.Py_IsFinalizing()) ||
	       (ld__py._Py_IsFinalizing && ld__py._Py_IsFinalizing()) || !ld__py.Py_IsInitialized();
}

bool ld__python_is_own_code(const void *address)
{
	const void *python = (const void *)(uintptr_t)ld__py.Py_GetVersion;

	return python && ld__real_same_object(address, python);
}

bool ld__python_present(const char **ret_why)
{
	const char *why = NULL;

	if (!ld__python_loaded())
		why = api_why;
	else if (!ld__py.Py_IsInitialized())
		why = "the Python interpreter is not initialised";
	else if (is_ending())
		why = "the Python interpreter is shutting down";
	else
		return true;
	if (ret_why)
		*ret_why = why;
	return false;
}

/* --- the GIL -------------------------------------------------------------------------------
 *
 * What PyGILState_Ensure() does, in two steps, since it crashes in an interpreter that has ended by the
 * time it gets to run:
 *   (1) a thread state is made, behind the gate: nobody can finish the end of the interpreter meanwhile
 *   (2) the GIL is awaited with it. If the interpreter ends now, it ends this thread, as it does every
 *       other that waits there; whoever waits for this thread then gives up. */

enum gil_state { GIL_IDLE, GIL_WAITING, GIL_RUNNING, GIL_DONE, GIL_ABANDONED, GIL_LATE, GIL_REFUSED };

static struct {
	uint32_t state;			/* enum gil_state; a futex */
	pthread_t thread;
	void *stack;
	void (*call)(void *data);
	void *data;
} gil;

static void leave_word(uint32_t state)
{
	__atomic_store_n(&gil.state, state, __ATOMIC_RELEASE);
	ld__sys3(SYS_futex, &gil.state, FUTEX_WAKE, 1);
}

static void *make_state(void)
{
	void *tstate = NULL;

	ld__gate_close(is_ending);
	if (!is_ending())
		tstate = ld__py.PyThreadState_New(ld__py.PyInterpreterState_Main());
	ld__gate_open();
	return tstate;
}

static void *hold_gil(void *unused)
{
	uint32_t expected = GIL_WAITING;
	void *tstate;

	(void)unused;
	ld__guard_own_thread();
	tstate = make_state();
	if (!tstate) {
		leave_word(GIL_REFUSED);
		return NULL;
	}
	ld__py.PyEval_RestoreThread(tstate);
	if (__atomic_compare_exchange_n(&gil.state, &expected, GIL_RUNNING, false, __ATOMIC_ACQ_REL,
					__ATOMIC_ACQUIRE)) {
		gil.call(gil.data);
		expected = GIL_DONE;
	} else {
		expected = GIL_LATE;
	}
	ld__py.PyThreadState_Clear(tstate);
	ld__py.PyThreadState_DeleteCurrent();
	leave_word(expected);
	return NULL;
}

static void forget_thread(void)
{
	pthread_join(gil.thread, NULL);
	ld__arena_unmap(gil.stack, GIL_STACK_BYTES);
	gil.stack = NULL;
	__atomic_store_n(&gil.state, GIL_IDLE, __ATOMIC_RELEASE);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	ld__sys2(SYS_clock_gettime, CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Who holds the GIL now, as a native thread id; 0 = not known. Up to 3.11 the "current" thread state
 * is process-wide; 3.13 tells where the holder stands; 3.12 does neither. */
static uint32_t gil_holder(void)
{
	uint64_t tstate = 0;

	if (ld__py.version <= 311 && ld__py._PyThreadState_UncheckedGet)
		tstate = (uint64_t)(uintptr_t)ld__py._PyThreadState_UncheckedGet();
	if (!tstate || ld__py.layout.native_id < 0)
		return 0;
	return (uint32_t)py_word(tstate, ld__py.layout.native_id);
}

static int start_thread(void)
{
	sigset_t all, old;
	pthread_attr_t attr;
	int r;

	gil.stack = ld__arena_map(GIL_STACK_BYTES);
	if (!gil.stack)
		return -ENOMEM;
	pthread_attr_init(&attr);
	r = -pthread_attr_setstack(&attr, gil.stack, GIL_STACK_BYTES);
	if (r < 0)
		goto fail;
	sigfillset(&all);
	ld__sys4(SYS_rt_sigprocmask, SIG_SETMASK, &all, &old, 8);
	__atomic_store_n(&gil.state, GIL_WAITING, __ATOMIC_RELEASE);
	r = -pthread_create(&gil.thread, &attr, hold_gil, NULL);
	ld__sys4(SYS_rt_sigprocmask, SIG_SETMASK, &old, 0, 8);
	if (r < 0)
		goto fail;
	pthread_attr_destroy(&attr);
	return 0;
fail:
	pthread_attr_destroy(&attr);
	ld__arena_unmap(gil.stack, GIL_STACK_BYTES);
	gil.stack = NULL;
	gil.state = GIL_IDLE;
	return r;
}

int ld__python_with_gil(void (*call)(void *data), void *data, uint64_t timeout_ns,
			uint32_t *ret_holder_tid)
{
	uint32_t state = __atomic_load_n(&gil.state, __ATOMIC_ACQUIRE);
	uint64_t end;
	int r;

	*ret_holder_tid = 0;
	if (state == GIL_LATE || state == GIL_REFUSED)
		forget_thread();
	else if (state != GIL_IDLE)
		return -EBUSY;
	gil.call = call;
	gil.data = data;
	end = now_ns() + (timeout_ns ? timeout_ns : GIL_TIMEOUT_DEFAULT_NS);
	r = start_thread();
	if (r < 0)
		return r;
	for (;;) {
		uint64_t now = now_ns();
		bool ending;

		state = __atomic_load_n(&gil.state, __ATOMIC_ACQUIRE);
		if (state == GIL_DONE || state == GIL_REFUSED) {
			forget_thread();
			return state == GIL_DONE ? 0 : -ECANCELED;
		}
		ending = state == GIL_WAITING && is_ending();
		if (ending || (state == GIL_WAITING && now >= end)) {
			uint32_t expected = GIL_WAITING;

			*ret_holder_tid = ending ? 0 : gil_holder();
			if (__atomic_compare_exchange_n(&gil.state, &expected, GIL_ABANDONED, false,
							__ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
				return ending ? -ECANCELED : -ETIMEDOUT;
			continue;
		}
		/* once it runs it is as bounded as a snapshot is */
		struct timespec left = { 0, 20000000 };

		ld__sys4(SYS_futex, &gil.state, FUTEX_WAIT, state, &left);
	}
}

void ld__python_after_fork_child(void)
{
	gil.state = GIL_IDLE;
	gil.stack = NULL;		/* its mapping is a copy that nobody uses: 1 MiB untouched */
}
