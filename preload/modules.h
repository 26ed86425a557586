/* SPDX-License-Identifier: Apache-2.0
 * L2  modules.h - which ELF object is (or was) mapped where.
 *
 * A plain array in our arena, refreshed by the agent before each snapshot and by the dlclose hook
 * before and after the real call: between two refreshes a module can only have been added. */
#ifndef LEAKDIFF_MODULES_H
#define LEAKDIFF_MODULES_H

#include <stdint.h>

#define MODULE_PATH_MAX 4096
#define MODULE_SEGMENTS_MAX 16

struct module_segment { uint64_t start, end; uint32_t prot; };

struct module {
	uint64_t base, start, end, first_birth, last_birth;
	int64_t tls_offset;
	uint64_t tls_bytes;
	uint64_t eh_frame_hdr;		/* address, 0 = none */
	uint32_t generation, flags;	/* STREAM_MODULE_* */
	uint32_t build_id_bytes;
	uint8_t build_id[32];
	uint32_t segment_count;
	struct module_segment segments[MODULE_SEGMENTS_MAX];
	const char *path;		/* in our arena */
};

/* Bring the list up to date (dl_iterate_phdr: takes the loader's lock; never call with a lock of ours
 * held, nor while threads are stopped). Returns the number of modules ever seen. */
uint32_t ld__modules_refresh(void);

/* Read access without locks; entries never move and are only appended or marked unloaded. */
uint32_t ld__modules_count(void);
const struct module *ld__modules_get(uint32_t index);

/* Changes whenever the generation of some address may have changed: what was looked up under another
 * epoch must be looked up again. */
uint64_t ld__modules_epoch(void);

/* The module that provides the service's malloc, by an address in it: marked in the list. */
void ld__modules_set_allocator(uint64_t addr);

/* Fork child only: nobody else is left to hold the list's lock. */
void ld__modules_after_fork_child(void);

/* Generation that a pc belongs to now (0 for address ranges that never saw an unload). Lock-free. */
uint16_t ld__modules_generation(uint64_t pc);

/* Has something been unloaded from the range that pc lies in? Lock-free. */
int ld__modules_changed_hands(uint64_t pc);

#endif
