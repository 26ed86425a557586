/* SPDX-License-Identifier: Apache-2.0
 * L7  shapes.c - see shapes.h.
 *
 * A shape is read off the chain alone: the types that it passes and the words of its edges. The first that
 * fits is said; the order is from the most telling to the least. */
#include "core/shapes.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"

static const struct chain_step *step_of(const struct chain *chain, const char *type, size_t *ret_at)
{
	for (size_t i = 0; i < chain->count; i++)
		if (!strcmp(chain->steps[i].type, type)) {
			*ret_at = i;
			return &chain->steps[i];
		}
	return NULL;
}

static bool edge_is(const struct chain_step *step, const char *text)
{
	return step->edge && !strcmp(step->edge, text);
}

static bool edge_begins(const struct chain_step *step, const char *text)
{
	return step->edge && !strncmp(step->edge, text, strlen(text));
}

static int visit_mro(const struct heap_reference *ref, void *data)
{
	(void)data;
	return ref->label == HEAP_LABEL_ATTR && ref->text && !strcmp(ref->text, "__mro__");
}

/* Is it a class, whatever its metaclass is? */
static bool is_class(const struct heap *heap, const struct chain_step *step)
{
	return !strcmp(step->type, "type") ||
	       (step->id < heap->nodes && heap_references(heap, step->id, visit_mro, NULL) == 1);
}

/* What the bound of a cache means for whoever waits for the end of its growth. */
static void say_bound(struct text *text, const struct heap_cache *cache, uint64_t retained_bytes)
{
	char size[TEXT_SIZE];

	if (cache->maxsize == HEAP_UNKNOWN)
		text_printf(text, "the cache has %" PRIu64 " entries", cache->entries);
	else if (cache->maxsize < 0)
		text_printf(text, "the cache has %" PRIu64 " entries and no bound (maxsize=None): it never stops growing",
			    cache->entries);
	else if (cache->entries >= (uint64_t)cache->maxsize)
		text_printf(text, "the cache is full, %" PRIu64 " of %" PRId64 " entries: the least used makes room for a new one",
			    cache->entries, cache->maxsize);
	else
		text_printf(text, "the cache has %" PRIu64 " of %" PRId64 " entries and stops growing when it is full",
			    cache->entries, cache->maxsize);
	if (cache->maxsize > 0 && cache->entries && cache->entries < (uint64_t)cache->maxsize)
		text_printf(text, ", at about %s", text_size((int64_t)((double)retained_bytes / (double)cache->entries *
								      (double)cache->maxsize), size));
	if (cache->hits == 0 && cache->misses > 0)
		text_printf(text, "; none of %" PRId64 " calls was answered from it", cache->misses);
}

/* functools.lru_cache: on a method its keys hold self. */
static int say_lru_cache(const struct heap *heap, const struct chain *chain, size_t at, const uint64_t *retained,
			 char **ret_shape)
{
	const struct chain_step *step = &chain->steps[at];
	const struct heap_cache *cache = step->id < heap->nodes ? heap_cache_of(heap, step->id) : NULL;
	struct text text = { 0 };
	bool of_class, keeps_self;

	of_class = at >= 1 && edge_begins(&chain->steps[at - 1], ".") && is_class(heap, &chain->steps[at - 1]);
	keeps_self = of_class && edge_is(step, "lru_cache key") && at + 2 < chain->count &&
		     (edge_is(&chain->steps[at + 1], "[0]") || edge_is(&chain->steps[at + 1], "[*]"));
	if (keeps_self)
		text_printf(&text, "functools.lru_cache on the method %s keeps self alive: each of its keys holds a %s",
			    chain->steps[at - 1].edge + 1, chain->steps[at + 2].type);
	else
		text_append(&text, "functools.lru_cache keeps the arguments and the result of each call");
	if (cache) {
		text_append(&text, "; ");
		say_bound(&text, cache, retained ? retained[step->id] : 0);
	}
	*ret_shape = text_take(&text);
	return *ret_shape ? 0 : -ENOMEM;
}

static int say(char **ret_shape, const char *sentence)
{
	*ret_shape = strdup(sentence);
	return *ret_shape ? 0 : -ENOMEM;
}

static bool is_container(const char *type)
{
	static const char *const types[] = { "list", "dict", "set", "collections.deque", "collections.defaultdict",
					     "collections.OrderedDict" };

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (!strcmp(type, types[i]))
			return true;
	return false;
}

int shape_find(const struct heap *heap, uint32_t root, const struct chain *chain, const uint64_t *retained,
	       char **ret_shape)
{
	enum heap_root_kind kind = root == HEAP_NONE ? 0 : heap->root[root].kind;
	size_t at = 0;

	*ret_shape = NULL;
	if (root == HEAP_NONE || chain->count < 2)
		return 0;
	if (step_of(chain, "functools._lru_cache_wrapper", &at))
		return say_lru_cache(heap, chain, at, retained, ret_shape);
	for (size_t i = 0; i < chain->count; i++) {
		const struct chain_step *step = &chain->steps[i];

		if (edge_begins(step, "[ContextVar "))
			return say(ret_shape, "a context variable keeps it: it was set and never reset, in a context that lives on");
		if (edge_is(step, ".__traceback__") || edge_is(step, ".tb_frame"))
			return say(ret_shape, "an exception that is kept keeps its traceback, and so the local variables of every frame");
		if (edge_is(step, ".queries_log"))
			return say(ret_shape, "Django keeps every SQL query while DEBUG is on (connection.queries)");
		if (edge_is(step, ".handlers") && !strncmp(step->type, "logging.", 8))
			return say(ret_shape, "logging handlers pile up: addHandler() is called again and again on one logger");
		if (edge_is(step, ".filters") && !strncmp(step->type, "logging.", 8))
			return say(ret_shape, "logging filters pile up: addFilter() is called again and again on one logger");
		if (edge_is(step, "._result"))
			return say(ret_shape, "an asyncio task that has finished is kept, and with it its result");
		if (!strcmp(step->type, "asyncio.events.TimerHandle"))
			return say(ret_shape, "a timer of asyncio that is not due yet keeps it (call_later, call_at)");
		if (!strcmp(step->type, "_thread._local") || !strcmp(step->type, "_thread._localdummy"))
			return say(ret_shape, "a thread-local variable keeps it as long as its thread lives");
		if (!strcmp(step->type, "_asyncio.Task") && i + 1 < chain->count && !edge_is(step, "._exception"))
			return say(ret_shape, "an asyncio task that does not finish holds it; `leakdiff threads` says what the task awaits");
		if (!strcmp(step->type, "greenlet.greenlet") || strstr(step->type, ".Greenlet"))
			return say(ret_shape, "a greenlet that does not finish holds it; `leakdiff threads` says where it stands");
	}
	if (kind == HEAP_ROOT_PY_FRAME)
		return say(ret_shape, "a local variable of a function that still runs holds it");
	if (kind != HEAP_ROOT_PY_MODULE)
		return 0;
	for (size_t i = 1; i + 1 < chain->count; i++) {
		if (chain->steps[i].role != CHAIN_POINT || !is_container(chain->steps[i].type))
			continue;
		if (!strcmp(chain->steps[i + 1].type, "method") || !strcmp(chain->steps[i + 1].type, "function"))
			return say(ret_shape, "callbacks pile up: each keeps the object or the variables that it is bound to, "
					      "and is never taken back");
		*ret_shape = is_class(heap, &chain->steps[i - 1])
			? text_format("the class attribute %s is one %s for all instances, and it is only added to",
				      chain->steps[i - 1].edge ? chain->steps[i - 1].edge + 1 : "", chain->steps[i].type)
			: !strcmp(chain->steps[i - 1].type, "module")
			? text_format("the module-level %s %s is only added to", chain->steps[i].type,
				      chain->steps[i - 1].edge ? chain->steps[i - 1].edge + 1 : "") : NULL;
		return 0;
	}
	return 0;
}
