/* SPDX-License-Identifier: Apache-2.0
 * test_modules.c - the list of modules: what is loaded, what came and went, whose an address is now. */
#include "preload/modules.h"

#include <dlfcn.h>

#include "preload/clock.h"
#include "preload/stream.h"
#include "test.h"

static const char anchor;

static const struct module *module_of(uint64_t addr)
{
	for (uint32_t i = 0; i < ld__modules_count(); i++) {
		const struct module *m = ld__modules_get(i);

		if (addr >= m->start && addr < m->end && m->last_birth == UINT64_MAX)
			return m;
	}
	return NULL;
}

TEST(program_and_libc_are_found_with_path_segments_and_build_id)
{
	const struct module *self, *libc;

	ld__clock_init();
	EXPECT(ld__modules_refresh() >= 3);
	self = module_of((uint64_t)(uintptr_t)&anchor);
	libc = module_of((uint64_t)(uintptr_t)&dlopen);
	ASSERT_NOT_NULL(self);
	ASSERT_NOT_NULL(libc);
	EXPECT(self->flags & STREAM_MODULE_EXE);
	EXPECT(self->path[0] == '/');
	EXPECT(libc->flags & STREAM_MODULE_LIBC);
	EXPECT(libc->build_id_bytes >= 8);
	EXPECT(libc->segment_count >= 3);
	EXPECT(libc->tls_bytes > 0);
	EXPECT(libc->tls_offset < 0);
	EXPECT(libc->eh_frame_hdr > libc->start && libc->eh_frame_hdr < libc->end);
	EXPECT_U64_EQ(libc->generation, 0);
}

TEST(refresh_without_change_adds_nothing)
{
	uint32_t count = ld__modules_refresh();
	uint64_t epoch = ld__modules_epoch();

	EXPECT_U64_EQ(ld__modules_refresh(), count);
	EXPECT_U64_EQ(ld__modules_epoch(), epoch);
}

/* Any library will do that nothing else here needs. */
static void *open_some(const char **names)
{
	for (; *names; names++) {
		void *library = dlopen(*names, RTLD_NOW | RTLD_LOCAL);

		if (library)
			return library;
	}
	return NULL;
}

TEST(library_that_comes_back_to_its_place_keeps_its_generation)
{
	static const char *names[] = { "libbz2.so.1.0", "libz.so.1", "libexpat.so.1", NULL };
	void *library = open_some(names), *symbol;
	const struct module *m;
	uint32_t count;
	uint64_t pc, epoch;

	ASSERT_NOT_NULL(library);
	symbol = dlsym(library, "BZ2_bzlibVersion");
	if (!symbol)
		symbol = dlsym(library, "zlibVersion");
	if (!symbol)
		symbol = dlsym(library, "XML_ExpatVersion");
	ASSERT_NOT_NULL(symbol);
	pc = (uint64_t)(uintptr_t)symbol;
	count = ld__modules_refresh();
	m = module_of(pc);
	ASSERT_NOT_NULL(m);
	EXPECT_INT_EQ(ld__modules_generation(pc), 0);
	EXPECT(!ld__modules_changed_hands(pc));
	epoch = ld__modules_epoch();

	dlclose(library);
	ld__modules_refresh();
	EXPECT(m->last_birth != UINT64_MAX);
	EXPECT(ld__modules_changed_hands(pc));
	EXPECT(ld__modules_epoch() > epoch);
	EXPECT_INT_EQ(ld__modules_generation(pc), 1);	/* whoever comes next is somebody else */

	library = open_some(names);
	ASSERT_NOT_NULL(library);
	if (dlsym(library, "BZ2_bzlibVersion") == symbol || dlsym(library, "zlibVersion") == symbol ||
	    dlsym(library, "XML_ExpatVersion") == symbol) {
		/* already before the list knows: the loader is asked */
		EXPECT_INT_EQ(ld__modules_generation(pc), 0);
		EXPECT_U64_EQ(ld__modules_refresh(), count);
		EXPECT_INT_EQ(ld__modules_generation(pc), 0);
		EXPECT_U64_EQ(m->last_birth, UINT64_MAX);
		/* an answer is kept, but not longer than it is true */
		EXPECT_INT_EQ(ld__modules_generation(pc), 0);
	}
	dlclose(library);
	ld__modules_refresh();
	EXPECT_INT_EQ(ld__modules_generation(pc), 1);
}

TEST_MAIN()
