/* SPDX-License-Identifier: Apache-2.0
 * test_profile.c - heap profiles that allocators write: read, un-biased, refused, made snapshots. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "core/ingest.h"
#include "core/profile.h"
#include "core/profile_stream.h"
#include "core/snapshot_file.h"
#include "core/store.h"
#include "core/heap.h"

#define MAPS "\nMAPPED_LIBRARIES:\n" \
	     "10000-20000 r-xp 00001000 fe:00 42   /nowhere/service\n" \
	     "30000-40000 rw-p 00000000 00:00 0 \n"
#define JEMALLOC "heap_v2/4096\n  t*: 13: 13000 [0: 0]\n  t0: 13: 13000 [0: 0]\n" \
		 "@ 0x10100 0x10200\n  t*: 10: 10240 [0: 0]\n  t0: 10: 10240 [0: 0]\n" \
		 "@ 0x10300 0x10200\n  t*: 3: 24576 [0: 0]\n  t1: 3: 24576 [0: 0]\n"
#define GPERFTOOLS "heap profile:      3:      96 [     5:      160] @ heapprofile\n" \
		   "     2:      64 [     2:       64] @ 0x10100 0x10200\n" \
		   "     1:      32 [     3:       96] @ 0x10300\n"

static struct profile *parsed(const char *text)
{
	struct profile *profile = NULL;
	char *error = NULL;

	EXPECT_INT_EQ(profile_parse(text, strlen(text), "x.heap", true, &profile, &error), 0);
	if (error)
		fprintf(stderr, "%s\n", error);
	free(error);
	return profile;
}

static void expect_refused(const char *text, int code, const char *sentence)
{
	struct profile *profile = NULL;
	char *error = NULL;

	EXPECT_INT_EQ(profile_parse(text, strlen(text), "x.heap", true, &profile, &error), code);
	EXPECT(profile == NULL);
	EXPECT_CONTAINS(error, sentence);
	EXPECT_CONTAINS(error, "x.heap");
	free(error);
}

TEST(samples_of_jemalloc_are_unbiased_by_stack_before_they_are_summed)
{
	struct profile *profile = parsed(JEMALLOC MAPS);

	ASSERT_NOT_NULL(profile);
	ASSERT_U64_EQ(profile->entry_count, 2);
	/* 1 / (1 - exp(-1024 / 4096)) = 4.52081 and 1 / (1 - exp(-8192 / 4096)) = 1.15652 */
	EXPECT_U64_EQ(profile->entries[0].count, 45);
	EXPECT_U64_EQ(profile->entries[0].bytes, 46293);
	EXPECT_U64_EQ(profile->entries[1].count, 3);
	EXPECT_U64_EQ(profile->entries[1].bytes, 28423);
	EXPECT_U64_EQ(profile->samples, 13);
	EXPECT_U64_EQ(profile->sample_bytes, 4096);
	EXPECT_U64_EQ(profile->mapping_count, 2);
	EXPECT_STR_EQ(profile->mappings[0].path, "/nowhere/service");
	profile_free(profile);
}

TEST(counts_of_gperftools_are_exact)
{
	struct profile *profile = parsed(GPERFTOOLS MAPS);

	ASSERT_NOT_NULL(profile);
	ASSERT_U64_EQ(profile->entry_count, 2);
	EXPECT_U64_EQ(profile->entries[0].count, 2);
	EXPECT_U64_EQ(profile->entries[0].bytes, 64);
	EXPECT_U64_EQ(profile->entries[1].frames, 1);
	EXPECT_U64_EQ(profile->sample_bytes, 0);
	profile_free(profile);
}

TEST(the_older_sampling_word_of_tcmalloc_counts_its_rate_twice)
{
	struct profile *profile = parsed("heap profile: 1: 100 [1: 100] @ heap/8192\n1: 100 [1: 100] @ 0x10100\n" MAPS);

	ASSERT_NOT_NULL(profile);
	EXPECT_U64_EQ(profile->sample_bytes, 4096);
	profile_free(profile);
	profile = parsed("heap profile: 1: 100 [1: 100] @ heap_v2/8192\n1: 100 [1: 100] @ 0x10100\n" MAPS);
	ASSERT_NOT_NULL(profile);
	EXPECT_U64_EQ(profile->sample_bytes, 8192);
	profile_free(profile);
}

TEST(what_is_no_whole_profile_is_refused_with_a_sentence)
{
	expect_refused("", -EBADMSG, "empty");
	expect_refused("heap_v2/4096\n", -EBADMSG, "truncated");
	expect_refused("heap_v3/4096\n  t*: 1: 1 [0: 0]\n", -EPROTO, "heap_v3");
	expect_refused("heap_v1/4096\n  t*: 1: 1 [0: 0]\n", -EBADMSG, "heap_v1");
	expect_refused("heap_v2/0\n", -EBADMSG, "first line");
	expect_refused("heap_v2/4096x\n", -EBADMSG, "first line");
	expect_refused(JEMALLOC, -EBADMSG, "truncated");
	expect_refused(JEMALLOC "\nMAPPED_LIBRARIES:\n", -EBADMSG, "truncated");
	expect_refused(JEMALLOC "\nMAPPED_LIBRARIES:\n10000-20000 r-xp 0000", -EBADMSG, "truncated");
	expect_refused(JEMALLOC "@ 0x1\n" MAPS, -EBADMSG, "line 12");
	expect_refused(JEMALLOC "@ 0x1 zz\n" MAPS, -EBADMSG, "line 10 names a frame that is no address");
	expect_refused("heap_v2/4096\n  t*: 99999999999999999999: 1 [0: 0]\n" MAPS, -EBADMSG, "counts");
	expect_refused("heap_v2/4096\n  t*: 1: 1 [0: 0]\n@ 0x1\n  t*: 9000000000000000000: 1 [0: 0]\n" MAPS, -EBADMSG,
		       "more than any memory");
	expect_refused(GPERFTOOLS, -EBADMSG, "truncated");
	expect_refused("heap profile: 3: 96 [3: 96] @ growthz\n", -EBADMSG, "another kind");
	expect_refused("heap profile: 3: 96 [3: 96] @ heapprofile\n1: 32 [1: 32] @ 0x1\n" MAPS, -EBADMSG, "fewer than");
	expect_refused("heap profile: 3 96\n", -EBADMSG, "first line");
	expect_refused("heap of stones\n", -EBADMSG, "no heap profile");
	expect_refused(JEMALLOC "\nMAPPED_LIBRARIES:\n30000-40000 r-xp 0 0:0 0\n10000-20000 r-xp 0 0:0 0\n", -EBADMSG,
		       "begins before");
}

TEST(every_cut_of_a_profile_is_refused_or_read_but_never_both)
{
	static const char *const whole[] = { JEMALLOC MAPS, GPERFTOOLS MAPS };

	for (size_t k = 0; k < 2; k++)
		for (size_t length = 0; length < strlen(whole[k]); length++) {
			struct profile *profile = NULL;
			char *error = NULL;
			int r = profile_parse(whole[k], length, "x.heap", true, &profile, &error);

			/* at the end of a line among the mappings nobody can tell */
			if (length < strlen(whole[k]) - strlen("30000-40000 rw-p 00000000 00:00 0 \n"))
				EXPECT(r < 0);
			EXPECT((r < 0) == (error != NULL));
			EXPECT((r == 0) == (profile != NULL));
			profile_free(profile);
			free(error);
		}
}

TEST(a_tagged_stack_is_the_streams_own_and_a_false_tag_is_no_frame)
{
	struct profile *profile = parsed("heap_v2/4096\n  t*: 3: 3 [0: 0]\n@ 0x10100 0x4c446b5400000002\n  t*: 1: 9000 [0: 0]\n"
					 "@ 0x10200 0x4c446b5400000009\n  t*: 2: 9000 [0: 0]\n" MAPS);
	struct stream *stream = calloc(1, sizeof(*stream));
	char *error = NULL;

	ASSERT_NOT_NULL(profile);
	ASSERT_NOT_NULL(stream);
	stream->stacks = calloc(2, sizeof(*stream->stacks));
	stream->stacks[0].pc = 0x555;
	stream->stacks[1] = (struct stream_stack){ .pc = 0x666, .parent = 1 };
	stream->stack_count = 2;
	ASSERT_INT_EQ(profile_into_stream(profile, stream, &error), 0);
	EXPECT_U64_EQ(stream->stack_count, 3);
	EXPECT_U64_EQ(stream->node_stack[0], 2);
	EXPECT_U64_EQ(stream->node_stack[stream->node_count - 1], 3);
	EXPECT_U64_EQ(stream->stacks[2].pc, 0x10200);
	EXPECT_U64_EQ(stream->stacks[2].parent, 0);
	/* a second one has nodes to meet */
	EXPECT_INT_EQ(profile_into_stream(profile, stream, &error), -EBADMSG);
	EXPECT_CONTAINS(error, "both");
	free(error);
	stream_free(stream);
	profile_free(profile);
}

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	if (!file || fputs(text, file) < 0 || fclose(file))
		abort();
}

TEST(a_profile_opens_as_a_snapshot_without_references_and_leaves_nothing_behind)
{
	char path[] = "/tmp/test_profile.XXXXXX", *error = NULL;
	int fd = mkstemp(path);
	struct store *store = NULL;
	struct heap *heap = NULL;
	uint64_t count = 0, bytes = 0;

	ASSERT(fd >= 0);
	close(fd);
	write_file(path, JEMALLOC MAPS);
	ASSERT_INT_EQ(snapshot_file_open(path, &store, &error), 0);
	ASSERT_INT_EQ(store_load(store, &heap, &error), 0);
	EXPECT(heap_is_profile(heap));
	EXPECT_STR_EQ(heap->meta.path, path);
	EXPECT_U64_EQ(heap->meta.sample_bytes, 4096);
	EXPECT_U64_EQ(heap->stack_count, 2);
	EXPECT_U64_EQ(heap->roots, 1);
	EXPECT_STR_EQ(heap->root[0].name, PROFILE_HOLDER);
	for (uint32_t v = 0; v < heap->nodes; v++) {
		count += heap->weight[v];
		bytes += heap->bytes[v] * heap->weight[v];
	}
	EXPECT_U64_EQ(count, 48);
	EXPECT_U64_EQ(bytes, 46293 + 28423);
	EXPECT_U64_EQ(heap->meta.blocks, 48);
	heap_free(heap);
	store_free(store);

	write_file(path, "heap_v2/4096\n");
	store = NULL;
	EXPECT_INT_EQ(snapshot_file_open(path, &store, &error), -EBADMSG);
	EXPECT_CONTAINS(error, path);
	free(error);
	unlink(path);
}

TEST(a_count_that_no_memory_can_hold_makes_no_nodes)
{
	struct profile *profile = parsed("heap profile: 288230376151711744: 288230376151711744 [ 0: 0] @ heapprofile\n"
					 " 288230376151711744: 288230376151711744 [ 0: 0] @ 0x10100\n" MAPS);
	struct stream *stream = NULL;
	char *error = NULL;

	ASSERT_NOT_NULL(profile);
	EXPECT_INT_EQ(profile_make_stream(profile, 1, "/dev/null", &stream, &error), -EBADMSG);
	EXPECT_CONTAINS(error, "damaged");
	free(error);
	stream_free(stream);
	profile_free(profile);
}

TEST_MAIN()
