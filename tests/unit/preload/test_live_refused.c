/* SPDX-License-Identifier: Apache-2.0
 * test_live_refused.c - the live table and the batches before it while memory is refused now and then.
 *
 * Both are compiled in here, over an arena that fails in droughts, and compared with a plain array of what should be live.
 * A block that was refused is missing and counted; everything else is as if nothing had been refused. */
#include <stdlib.h>

#include "preload/arena.h"

static void *map_or_refuse(size_t bytes);
#define ld__arena_map(bytes) map_or_refuse(bytes)
#include "preload/live.c"
#include "preload/apply.c"
#undef ld__arena_map

#include "test.h"

#define PLACES_IN_MEMORY 60000u		/* for blocks; enough for the shards to grow and shrink several times */
#define PHASES 48u
#define STEPS_A_PHASE 100000u
#define BATCH_STEPS 100000u
#define BATCH_ROOM (1u << 17)

static struct { uint64_t bytes, birth; uint32_t stack; bool live; } model[PLACES_IN_MEMORY];
static uint64_t model_count, random_state = 88172645463325252u, born, refusals;
static bool drought;

static void *map_or_refuse(size_t bytes)
{
	if (drought) {
		refusals++;
		return NULL;
	}
	return ld__arena_map(bytes);
}

static uint64_t draw(uint64_t below)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (random_state >> 20) % below;
}

/* Most lie side by side; some are no multiples of 8. */
static uint64_t address_of(uint32_t place)
{
	return 0x7f0000000000u + (uint64_t)place * 48 + (place % 97 == 5 ? 3 : 0);
}

static struct live_block next_block(uint32_t place)
{
	return (struct live_block){
		.addr = address_of(place), .bytes = draw(20) ? draw(2000) : (1ull << 26) + draw(1000), .birth = ++born,
		.stack = (uint32_t)draw(1u << STACK_BITS), .tid = 7, .kind = STREAM_NODE_MALLOC,
	};
}

static void remember(uint32_t place, const struct live_block *block)
{
	model_count += !model[place].live;
	model[place].live = true;
	model[place].bytes = block->bytes;
	model[place].birth = block->birth;
	model[place].stack = block->stack;
}

static void forget(uint32_t place)
{
	model_count -= model[place].live;
	model[place].live = false;
}

/* What is live, is so as the model has it. Returns how many of the model's blocks are missing, and forgets them. */
static uint64_t compare(void)
{
	uint64_t missing = 0, blocks, bytes, model_bytes = 0;
	struct live_block found;

	for (uint32_t place = 0; place < PLACES_IN_MEMORY; place++) {
		bool is_there = ld__live_find(address_of(place), &found);

		if (!is_there && model[place].live) {
			forget(place);
			missing++;
		}
		if (is_there != model[place].live ||
		    (is_there && (found.bytes != model[place].bytes || found.birth != model[place].birth ||
				  found.stack != model[place].stack || found.addr != address_of(place))))
			EXPECT_U64_EQ(is_there ? found.birth : 0, model[place].live ? model[place].birth : 0);
		model_bytes += model[place].live ? model[place].bytes : 0;
	}
	ld__live_totals(&blocks, &bytes);
	EXPECT_U64_EQ(blocks, model_count);
	EXPECT_U64_EQ(bytes, model_bytes);
	return missing;
}

static void start_over(void)
{
	ld__live_clear();
	memset(model, 0, sizeof(model));
	model_count = 0;
	drought = false;
	ASSERT_INT_EQ(ld__live_init(), 0);
}

/* More allocations than frees in one phase, fewer in the next: a little in front of a drought, and in it. */
static bool wants_more(uint32_t phase)
{
	return draw(100) < (phase % 4 < 2 ? 90 : 3);
}

/* A ring of many batches, filled by hand. */
static struct { struct ring ring; char page[RING_PAGE - sizeof(struct ring)]; struct event events[BATCH_ROOM]; } by_hand;

/* The first test: after the other's anomalies nothing is undone any more. */
TEST(batch_that_was_refused_memory_loses_what_is_counted_and_no_more)
{
	uint64_t missing = 0, refused_before;
	bool lost_some = false;
	uint32_t gathered = 0, went_straight = 0;

	start_over();
	by_hand.ring.event_mask = BATCH_ROOM - 1;
	refused_before = ld__live_refused();
	for (uint32_t phase = 0; phase < PHASES; phase++) {
		uint64_t refused = ld__live_refused();

		drought = phase % 3 == 0;
		for (uint32_t step = 0; step < BATCH_STEPS; step++) {
			/* in every other phase half of them come again soon, and so are undone */
			uint32_t place = (uint32_t)draw(phase % 2 || draw(2) ? PLACES_IN_MEMORY : 50);
			struct live_block block = next_block(place);
			struct event *e = &by_hand.events[step];

			block.bytes %= 2000;	/* the list of the large ones shall be empty for the other test */
			*e = (struct event){ .clock = born, .addr = block.addr, .kind = EVENT_FREE, .tid = 7 };
			if (!model[place].live && (place < 50 || wants_more(phase))) {
				e->bytes = block.bytes;
				e->stack = block.stack;
				e->kind = STREAM_NODE_MALLOC;
				remember(place, &block);
			} else {
				forget(place);	/* or it was never there */
			}
		}
		ld__apply_events(&by_hand.ring, 0, BATCH_STEPS, UINT64_MAX);
		ld__apply_finish();
		by_hand.ring.asked = 0;
		gathered += !straight;
		went_straight += straight != 0;
		missing = compare();
		EXPECT(missing <= ld__live_refused() - refused);
		lost_some |= missing > 0;
	}
	EXPECT(lost_some && gathered > PHASES / 4 && went_straight > PHASES / 4);
	EXPECT_U64_EQ(ld__live_anomalies(), 0);	/* no free was missed, so none was undone that should not be */
	EXPECT(ld__live_refused() > refused_before);
}

TEST(refused_block_is_told_and_counted_and_all_others_stay)
{
	uint64_t refused_before = ld__live_refused(), told = 0;

	start_over();
	for (uint32_t phase = 0; phase < PHASES; phase++) {
		drought = phase % 3 == 0;
		for (uint32_t step = 0; step < STEPS_A_PHASE; step++) {
			uint32_t place = (uint32_t)draw(PLACES_IN_MEMORY);

			if (wants_more(phase)) {
				struct live_block block = next_block(place);

				if (ld__live_insert(&block) == 0) {
					remember(place, &block);
				} else {
					told++;
					forget(place);	/* what was there is gone all the same */
					ASSERT(!ld__live_find(block.addr, &block));
				}
			} else {
				ASSERT(ld__live_remove(address_of(place), NULL) == model[place].live);
				forget(place);
			}
		}
		EXPECT_U64_EQ(compare(), 0);
	}
	EXPECT(refusals > 0 && told > 0);
	EXPECT_U64_EQ(ld__live_refused() - refused_before, told);
}

TEST_MAIN()
