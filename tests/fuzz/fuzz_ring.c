/* SPDX-License-Identifier: Apache-2.0
 * fuzz_ring.c - event rings from a hostile service: refused with a sentence, or read within their bounds. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/rings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_all(const struct rings *rings, size_t most)
{
	const struct rings_facts *facts = rings_facts(rings);
	uint64_t recorded = 0, not_drained = 0;
	char *error = NULL;

	for (uint32_t i = 0; i < facts->rings; i++) {
		struct rings_events events;

		if (rings_read(rings, i, most, &events, &error) < 0) {
			fprintf(stderr, "a ring of a file that was accepted is refused: %s\n", error ? error : "");
			abort();
		}
		if (events.count + events.unreadable > most || events.count + events.unreadable > facts->slots ||
		    events.count > events.recorded || events.not_drained > facts->slots)
			abort();
		for (size_t k = 0; k < events.count; k++)
			if (!strcmp(rings_event_name(events.events[k].kind), "unknown") || !events.events[k].tid)
				abort();
		recorded += events.recorded;
		not_drained += events.not_drained;
		rings_events_done(&events);
	}
	if (recorded != facts->recorded || not_drained != facts->not_drained)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd = memfd_create("rings", MFD_CLOEXEC);
	struct rings *rings = NULL;
	char *error = NULL;

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	if (rings_open(fd, "rings", &rings, &error) < 0) {
		if (!error || !*error)
			abort();
	} else {
		read_all(rings, SIZE_MAX);
		read_all(rings, 3);
	}
	rings_free(rings);
	free(error);
	close(fd);
	return 0;
}
