/* SPDX-License-Identifier: Apache-2.0
 * L3  python_traces.c - where Python's threads, asyncio tasks and greenlets stand.
 *
 *   thread     its thread state's frames; the name from threading._active
 *   task       coroutine, what it awaits, what that awaits, ...: shown innermost first, as the others
 *   greenlet   the frame that its gr_frame getter gives (C code, made for this), and those below
 *
 * No property, no repr(), no code of the application runs. Locals are names; with LEAKDIFF_VALUES=1 values of
 * exact built-in types are shown short, everything else by its type. */
#include <string.h>

#include "config.h"
#include "python_private.h"

#define LOCALS_BYTES 1024u
#define AWAITS_MAX 256
#define FRAMES_MAX 2000

static void (*give_thread)(const struct python_thread *thread, void *data);
static void (*give_trace)(const struct python_trace *trace, void *data);
static void *give_data;

static uint64_t as_address(const void *object)
{
	return (uint64_t)(uintptr_t)object;
}

/* An attribute that an instance keeps itself; 0 = it has none of that name. */
static uint64_t attribute(uint64_t object, const char *name)
{
	const struct py_type_info *info = ld__py_type_info(py_type(object));
	struct py_inline values;
	uint64_t dict;

	if (!info)
		return 0;
	if (ld__py_inline_values(info, object, &values))
		for (uint32_t i = 0; i < values.count; i++)
			if (!strcmp(ld__py_text(py_word(values.names, 16l * i)), name))
				return py_word(values.values, 8l * i);
	dict = ld__py_instance_dict(info, object);
	if (!dict || py_type(dict) != ld__py.PyDict_Type)
		return 0;
	return as_address(ld__py.PyDict_GetItemString((py_object *)(uintptr_t)dict, name));
}

/* ---- frames ---- */

static void list_locals(const struct py_frame *frame, char *out)
{
	struct py_text text = { out, out + LOCALS_BYTES - 1 };

	*out = '\0';
	for (uint32_t i = 0; i < frame->slot_count; i++) {
		uint64_t value = py_word(frame->slots, 8l * i), name;

		if (!value)
			continue;
		name = ld__py_slot_name(frame->code, i);
		if (text.at != out)
			ld__py_put(&text, ", ");
		ld__py_put(&text, name ? ld__py_text(name) : "?");
		if (!ld__config()->values)
			continue;
		ld__py_put(&text, "=");
		ld__py_put(&text, ld__py_key_text(value));
	}
}

static void trace_frame(const struct py_frame *frame)
{
	static char locals[LOCALS_BYTES];
	const struct python_layout *l = &ld__py.layout;
	int line = ld__py.PyCode_Addr2Line((py_object *)(uintptr_t)frame->code, ld__py_frame_at(frame));
	struct python_trace trace = {
		.function = ld__py_text(py_word(frame->code, l->code_qualname >= 0 ? l->code_qualname : l->code_name)),
		.file = ld__py_text(py_word(frame->code, l->code_file)),
		.line = line > 0 ? (uint32_t)line : 0, .locals = locals,
	};

	list_locals(frame, locals);
	ld__py_guard_pause(true);
	give_trace(&trace, give_data);
	ld__py_guard_pause(false);
}

static void trace_chain(uint64_t at)
{
	struct py_frame frame;

	for (int depth = 0; at && depth < FRAMES_MAX; depth++, at = frame.back)
		if (ld__py_frame_read(at, &frame))
			trace_frame(&frame);
}

static void begin(const struct python_thread *thread)
{
	ld__py_guard_pause(true);
	give_thread(thread, give_data);
	ld__py_guard_pause(false);
}

/* ---- threads ---- */

/* The name that threading knows a thread by; "" = not one of its threads. */
static const char *thread_name(uint64_t ident)
{
	py_object *threading = ld__py.PyDict_GetItemString(ld__py.PyImport_GetModuleDict(), "threading");
	py_object *active, *key, *value;
	uint64_t dict, name;
	long at = 0;

	if (!threading || py_type(as_address(threading)) != ld__py.PyModule_Type)
		return "";
	dict = py_word(as_address(threading), 16);
	active = dict ? ld__py.PyDict_GetItemString((py_object *)(uintptr_t)dict, "_active") : NULL;
	if (!active || py_type(as_address(active)) != ld__py.PyDict_Type)
		return "";
	while (ld__py.PyDict_Next(active, &at, &key, &value)) {
		int overflow = 0;

		if (py_type(as_address(key)) != ld__py.PyLong_Type ||
		    (uint64_t)ld__py.PyLong_AsLongLongAndOverflow(key, &overflow) != ident || overflow)
			continue;
		name = attribute(as_address(value), "_name");
		return name ? ld__py_text(name) : "";
	}
	return "";
}

static void trace_thread(uint64_t tstate)
{
	const struct python_layout *l = &ld__py.layout;
	uint64_t frame = ld__py_tstate_frame(tstate);
	struct python_thread thread = {
		.kind = PYTHON_TRACE_THREAD, .thread_pointer = py_word(tstate, l->thread_id), .state = "",
		.tid = l->native_id >= 0 ? (uint32_t)py_word(tstate, l->native_id) : 0,
	};

	if (!frame)			/* our own thread, or one of C that has called in before */
		return;
	thread.name = thread_name(thread.thread_pointer);
	begin(&thread);
	trace_chain(frame);
}

/* ---- tasks ---- */

static bool is_awaitable(uint64_t object)
{
	uint64_t type = object ? py_type(object) : 0;

	return type && (type == ld__py.PyCoro_Type || type == ld__py.PyGen_Type || type == ld__py.PyAsyncGen_Type);
}

static uint64_t found_coroutine, found_name, found_number;

static int visit_task(py_object *object, void *data)
{
	uint64_t target = as_address(object);

	(void)data;
	if (!found_coroutine && is_awaitable(target))
		found_coroutine = target;
	if (!found_name && is_str(target))
		found_name = target;
	if (!found_number && py_type(target) == ld__py.PyLong_Type)
		found_number = target;		/* 3.12 and later: a name that nobody has asked for yet */
	return 0;
}

static uint64_t found_inner;

static int visit_inner(py_object *object, void *data)
{
	(void)data;
	if (!found_inner && is_awaitable(as_address(object)))
		found_inner = as_address(object);
	return 0;
}

/* What a suspended coroutine waits for: the last temporary of its frame. */
static uint64_t awaited_by(const struct py_frame *frame)
{
	uint64_t object = frame->stack_count
		? py_word(frame->slots, 8l * (frame->slot_count + frame->stack_count - 1)) : 0;
	const struct py_type_info *info;

	if (!object || is_awaitable(object))
		return object;
	/* asend() of an asynchronous generator and the like show the generator to the collector alone */
	info = ld__py_type_info(py_type(object));
	found_inner = 0;
	if (info && info->traverse && ld__py_is_gc(info, object) && !(info->flags & FLAG_HEAPTYPE))
		info->traverse((py_object *)(uintptr_t)object, visit_inner, NULL);
	return found_inner ? found_inner : object;
}

static void trace_task(uint64_t index)
{
	static struct py_frame frames[AWAITS_MAX];
	static char state[160], name[64];
	struct py_text text = { state, state + sizeof(state) - 1 };
	uint64_t object = ld__py_object((uint32_t)index);
	const struct py_type_info *info = py_info(py_item((uint32_t)index));
	struct python_thread task = { .kind = PYTHON_TRACE_TASK, .object = object, .state = state };
	uint64_t at, waits = 0;
	int count = 0;

	found_coroutine = found_name = found_number = 0;
	*state = '\0';
	if (info->traverse)
		info->traverse((py_object *)(uintptr_t)object, visit_task, NULL);
	if (!found_coroutine) {		/* the tasks of pure Python */
		found_coroutine = attribute(object, "_coro");
		if (!is_awaitable(found_coroutine))
			return;
	}
	if (!found_name)
		found_name = attribute(object, "_name");
	for (at = found_coroutine; is_awaitable(at) && count < AWAITS_MAX; at = waits) {
		if (!ld__py_frame_read(ld__py_generator_frame(at), &frames[count]))
			break;
		waits = awaited_by(&frames[count]);
		count++;
	}
	if (!count)
		return;			/* finished */
	if (waits) {
		ld__py_put(&text, "awaits ");
		ld__py_put(&text, ld__py_type_name(py_type(waits)));
	}
	task.name = found_name ? ld__py_text(found_name) : "";
	if (!found_name && found_number) {
		struct py_text made = { name, name + sizeof(name) - 1 };

		ld__py_put(&made, "Task-");
		ld__py_put(&made, ld__py_key_text(found_number));
		task.name = name;
	}
	begin(&task);
	while (count-- > 0)
		trace_frame(&frames[count]);
}

/* ---- greenlets ---- */

static void trace_greenlet(uint64_t index)
{
	uint64_t object = ld__py_object((uint32_t)index);
	struct python_thread greenlet = {
		.kind = PYTHON_TRACE_GREENLET, .object = object, .name = "", .state = "",
	};
	uint64_t frame = ld__py_greenlet_frame(py_info(py_item((uint32_t)index)), object);

	if (!frame)
		return;			/* the one that runs, or one that has ended */
	greenlet.name = ld__py_type_name(py_info(py_item((uint32_t)index))->type);
	begin(&greenlet);
	trace_chain(frame);
}

/* Is the type, or one that it derives from, called so? */
static bool derives(uint64_t type, const char *const *names)
{
	for (int depth = 0; type && depth < 64; type = py_word(type, TP_BASE), depth++) {
		const char *name = (const char *)(uintptr_t)py_word(type, TP_NAME);

		for (int i = 0; name && names[i]; i++)
			if (!strcmp(name, names[i]))
				return true;
	}
	return false;
}

void ld__python_traces(void (*thread)(const struct python_thread *thread, void *data),
		       void (*trace)(const struct python_trace *trace, void *data), void *data)
{
	static const char *const tasks[] = { "_asyncio.Task", NULL };
	static const char *const greenlets[] = { "greenlet.greenlet", NULL };
	uint32_t types = (uint32_t)(ld__py_heap.types.bytes / sizeof(struct py_type_info));
	unsigned char *kinds = ld__py_map(types + 1ull);

	give_thread = thread;
	give_trace = trace;
	give_data = data;
	for (void *interp = ld__py.PyInterpreterState_Head(); interp;
	     interp = ld__py.PyInterpreterState_Next(interp))
		for (void *tstate = ld__py.PyInterpreterState_ThreadHead(interp); tstate;
		     tstate = ld__py.PyThreadState_Next(tstate))
			ld__py_guarded("traceback", trace_thread, as_address(tstate));
	if (!kinds)
		return;
	for (uint32_t i = 0; i < types; i++) {
		const struct py_type_info *info = (const struct py_type_info *)(void *)ld__py_heap.types.at + i;

		kinds[i] = derives(info->type, tasks) ? 1 : derives(info->type, greenlets) ? 2 : 0;
	}
	for (uint32_t n = 0; n < py_count(); n++) {
		uint32_t type = ITEM_TYPE(py_item(n)->type);
		uint8_t kind = type < types && !(py_item(n)->type & ITEM_FAULTED) ? kinds[type] : 0;

		if (kind)
			ld__py_guarded_item("traceback", kind == 1 ? trace_task : trace_greenlet, n);
	}
}
