/* SPDX-License-Identifier: Apache-2.0
 * L2  step_recall.h - stacks that one thread had lately, each found again by one comparison of words.
 *
 *   hash of the innermost frames -> set -> (sp, pc) of the innermost one, 4 keys, one cache line -> record
 *   record    stack id | where above the hook's frame a word was loaded, and what it was | ...
 *   split     a hash to which too many stacks came -> where above sp the next return address lies
 *   next      the record that came after this one the last time: loops allocate in one order, again and again
 *
 * A walk is a function of its first state and of the words that it loads (see step.c). So a stack that was
 * walked before is at hand again when its innermost frame has the same sp and pc, and all those words are as they
 * were (rbp, where it matters, was saved by the hook and is one of them): then no rule is looked up, nothing is stepped
 * over and nothing interned. The last stack serves a thread that allocates again and again at one place; this serves one
 * that goes to and fro.
 *
 * (1) A stack is kept when a walk has found it twice: those that never come back cost one store each, and do
 *     not drive out those that do.
 * (2) What was kept before the bounds of the thread's stack changed, or before code was unloaded, is of another
 *     era and never looked at: so every word that is loaded lies in the thread's own stack.
 * (3) A record is of no frame while it is written, and its key is cleared before: a signal handler that leaves with
 *     siglongjmp() leaves none that is half done. A link to a record that was written anew does no harm, since who
 *     follows it looks at all that the record says.
 * (4) Many stacks may begin alike (all strings of a program are made by one function of a library), and a set has
 *     four places. When a set is full, the hash of those in it that have one innermost frame is split: it then takes
 *     in one more return address, whose place follows from the frames inside of it and so is the same for all. */
#ifndef LEAKDIFF_STEP_RECALL_H
#define LEAKDIFF_STEP_RECALL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define RECALL_BITS 7u
#define RECALL_SETS (1u << RECALL_BITS)
#define RECALL_WAYS 4u
#define RECALL_MISSED 1024u
#define RECALL_SPLIT_BITS 6u
#define RECALL_SPLITS (1u << RECALL_SPLIT_BITS)
#define RECALL_LEVELS 4u		/* splits of one hash */
#define RECALL_WORDS 32u		/* of one stack: return addresses, and rbp where it matters */

/* A word of a frame of the calling thread, whatever type it has there. */
typedef uint64_t __attribute__((may_alias)) recall_word;

#define RECALL_FRAME 16u		/* a hook's frame lies so far below the sp of its caller's: rbp, return address */

struct recall_record {
	_Alignas(64) uint64_t frame;	/* of the hook; 0: the record is being written */
	uint64_t pc;			/* of the innermost frame */
	uint64_t era;
	struct recall_record *next;	/* what came after it the last time; NULL = nothing known */
	uint32_t stack;
	uint16_t count;			/* of words; filled up to a multiple of four with the first one */
	uint16_t frames;		/* the innermost not counted */
	uint8_t end;
	_Alignas(64) uint16_t at[RECALL_WORDS];		/* in 8 bytes from the hook's frame */
	uint64_t words[RECALL_WORDS];			/* return addresses first, innermost first */
};

struct recall_set {
	struct { uint64_t sp, pc; } keys[RECALL_WAYS];	/* pc 0: free */
};

struct recall_split {
	uint64_t hash;			/* 0: none */
	uint64_t at;			/* in bytes from sp */
};

struct recall {
	struct recall_set sets[RECALL_SETS];
	struct recall_split splits[RECALL_SPLITS];
	uint32_t missed[RECALL_MISSED];	/* stacks that were not found once, by their ids */
	uint32_t turn;
	struct recall_record records[RECALL_SETS][RECALL_WAYS];
};

/* Where the search for a stack begins. */
struct recall_key {
	uint64_t sp, pc;		/* of the innermost frame */
	uint64_t hash;
	uint32_t levels;		/* splits of the hash */
};

static inline uint32_t recall_set_of(uint64_t hash)
{
	return (uint32_t)(hash >> (64 - RECALL_BITS));
}

static inline struct recall_split *recall_split_of(struct recall *recall, uint64_t hash)
{
	return &recall->splits[hash >> (64 - RECALL_BITS - RECALL_SPLIT_BITS) & (RECALL_SPLITS - 1)];
}

/* pc_outside: of the next frame, since many stacks end in one function that others call to allocate; 0 when it
 * takes more than a look to know it. high: where the thread's stack ends. */
static inline uint64_t recall_hash(struct recall *recall, uint64_t sp, uint64_t pc, uint64_t pc_outside, uint64_t high,
				   uint32_t *ret_levels)
{
	uint64_t hash = ((sp >> 3) + pc * 0x2545f4914f6cdd1dull + pc_outside * 0xd1342543de82ef95ull) *
			0x9e3779b97f4a7c15ull;
	uint32_t levels = 0;

	for (;; levels++) {
		const struct recall_split *split = recall_split_of(recall, hash);

		if (__builtin_expect(split->hash != hash, 1) || levels == RECALL_LEVELS || sp + split->at > high - 8)
			break;
		hash = (hash ^ *(const recall_word *)(uintptr_t)(sp + split->at)) * 0x9e3779b97f4a7c15ull;
	}
	*ret_levels = levels;
	return hash;
}

#ifdef __SSE2__
/* Not emmintrin.h, which brings stdlib.h and its declaration of malloc. */
typedef uint64_t recall_pair __attribute__((vector_size(16)));
typedef double recall_doubles __attribute__((vector_size(16)));
typedef char recall_bytes __attribute__((vector_size(16)));
typedef double __attribute__((may_alias)) recall_double;

/* How the words at two places, packed into 32 bits, differ from two others: one load for both places. */
static inline recall_pair recall_differ(const recall_word *frame, const uint16_t *at, const uint64_t *words)
{
	recall_doubles two;
	uint32_t places;

	memcpy(&places, at, sizeof(places));
	__asm__("" : "+r"(places));	/* or it is loaded twice, by halves */
	two = (recall_doubles){ *(const recall_double *)&frame[places & 0xffff], *(const recall_double *)&frame[places >> 16] };
	return (recall_pair)two ^ *(const recall_pair *)(const void *)words;
}
#endif

/* Are all words that were loaded then as they were? This stands between a program's loads that wait for memory and its
 * next ones, so it takes as few loads and branches as can be: of those the processor keeps count, and when one of the
 * counts is full it looks ahead no further. */
static inline bool recall_holds(const struct recall_record *r, const recall_word *frame)
{
	uint64_t count = r->count, i = 0;
#ifdef __SSE2__
	recall_pair differ = { 0, 0 };

	do {
		differ |= recall_differ(frame, &r->at[i], &r->words[i]) | recall_differ(frame, &r->at[i + 2], &r->words[i + 2]);
		i += 4;
	} while (i < count);
	return __builtin_ia32_pmovmskb128((recall_bytes)((recall_bytes)differ == (recall_bytes){ 0 })) == 0xffff;
#else
	do {
		if (frame[r->at[i]] != r->words[i] || frame[r->at[i + 1]] != r->words[i + 1] ||
		    frame[r->at[i + 2]] != r->words[i + 2] || frame[r->at[i + 3]] != r->words[i + 3])
			return false;
		i += 4;
	} while (i < count);
	return true;
#endif
}

/* Is this record, which is of the present era, that of the stack of the hook with this frame? */
static inline bool recall_matches(const struct recall_record *r, const recall_word *frame)
{
	return r->frame == (uint64_t)(uintptr_t)frame && r->pc == frame[1] && recall_holds(r, frame);
}

/* The same of a record of any era. */
static inline bool recall_is(const struct recall_record *r, uint64_t era, const recall_word *frame)
{
	return r->era == era && recall_matches(r, frame);
}

/* The stack of the hook with this frame, NULL when it is not known. */
static inline struct recall_record *recall_find(struct recall *recall, const struct recall_key *key, uint64_t era,
						const recall_word *frame)
{
	uint32_t at = recall_set_of(key->hash);

	for (uint32_t way = 0; way < RECALL_WAYS; way++) {
		struct recall_record *r = &recall->records[at][way];

		if (recall->sets[at].keys[way].pc == key->pc && recall->sets[at].keys[way].sp == key->sp && recall_is(r, era, frame))
			return r;
	}
	return NULL;
}

/* A stack was not found. Returns whether it shall be kept, which is so when it was missed before. */
static inline bool recall_missed(struct recall *recall, uint32_t stack)
{
	uint32_t *missed = &recall->missed[stack % RECALL_MISSED];
	bool again = *missed == stack;

	*missed = again ? 0 : stack;
	return again;
}

/* Is a key's set full, and does it hold others that begin like this one? Then these stacks are told apart by
 * the word `at` bytes above sp from now on, and have to be learned anew. */
static inline bool recall_divide(struct recall *recall, const struct recall_key *key, uint64_t era, uint64_t at)
{
	uint32_t place = recall_set_of(key->hash), alike = 0;
	struct recall_set *set = &recall->sets[place];
	struct recall_split *split = recall_split_of(recall, key->hash);

	for (uint32_t way = 0; way < RECALL_WAYS; way++) {
		if (!set->keys[way].pc || recall->records[place][way].era != era)
			return false;
		alike += set->keys[way].pc == key->pc && set->keys[way].sp == key->sp;
	}
	if (alike < 2 || key->levels == RECALL_LEVELS)
		return false;
	split->hash = 0;
	atomic_signal_fence(memory_order_seq_cst);
	split->at = at;
	atomic_signal_fence(memory_order_seq_cst);
	split->hash = key->hash;
	for (uint32_t way = 0; way < RECALL_WAYS; way++) {
		if (set->keys[way].pc == key->pc && set->keys[way].sp == key->sp)
			set->keys[way].pc = 0;
	}
	return true;
}

/* The record to fill in for a key, whose holder is forgotten. The caller ends with recall_keep(). */
static inline struct recall_record *recall_take(struct recall *recall, const struct recall_key *key, uint64_t era,
						uint32_t *ret_way)
{
	uint32_t at = recall_set_of(key->hash), way = 0;

	while (way < RECALL_WAYS && recall->sets[at].keys[way].pc && recall->records[at][way].era == era)
		way++;
	if (way == RECALL_WAYS)
		way = recall->turn++ % RECALL_WAYS;
	recall->sets[at].keys[way].pc = 0;
	recall->records[at][way].frame = 0;
	atomic_signal_fence(memory_order_seq_cst);
	*ret_way = way;
	return &recall->records[at][way];
}

/* One more word that was loaded. Returns false when the record has no room for it. */
static inline bool recall_add(struct recall_record *r, uint64_t frame, uint64_t at, uint64_t word)
{
	uint64_t distance = (at - frame) / 8;

	if (r->count == RECALL_WORDS || distance > UINT16_MAX)
		return false;
	r->at[r->count] = (uint16_t)distance;
	r->words[r->count++] = word;
	return true;
}

static inline void recall_keep(struct recall *recall, const struct recall_key *key, uint64_t era, uint32_t way)
{
	uint32_t at = recall_set_of(key->hash);
	struct recall_record *r = &recall->records[at][way];
	struct recall_set *set = &recall->sets[at];

	for (uint32_t i = r->count; i % 4; i++) {
		r->at[i] = r->at[0];
		r->words[i] = r->words[0];
	}
	r->era = era;
	r->pc = key->pc;
	r->next = NULL;
	atomic_signal_fence(memory_order_seq_cst);
	r->frame = key->sp - RECALL_FRAME;
	set->keys[way].sp = key->sp;
	set->keys[way].pc = key->pc;
}

#endif
