/* SPDX-License-Identifier: Apache-2.0
 * L1  recover.h - what processes left behind in their folder.
 *
 *   PID.ring              event rings: removed at a normal end, so this one crashed or was killed
 *   NAME.PID.N.snap       snapshots
 *   NAME.PID.N.stream     capture streams that nobody ingested: recover_ingest() does
 *   .NAME.PID.N....tmp    a snapshot or stream that was being written; PID.sock, which nobody answers
 *
 * Whether a process still runs is asked of the kernel: somebody maps its ring file. */
#ifndef LEAKDIFF_CLI_RECOVER_H
#define LEAKDIFF_CLI_RECOVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/rings.h"

struct recover_file {
	char *name;			/* in the folder */
	uint64_t number;		/* N; 0 = has none */
	enum { RECOVER_SNAPSHOT, RECOVER_STREAM, RECOVER_LEFTOVER, RECOVER_RING } kind;
	char *made;			/* a stream's snapshot, once there is one: a path */
	char *error;			/* why a ring or a stream could not be read */
};

struct recover_process {
	uint32_t pid;
	bool running;
	struct recover_file *files;	/* snapshots by number, then streams, then the others */
	size_t count;
	int ring_fd;			/* -1 = no ring file, or it was refused */
	struct rings *rings;		/* NULL = the same */

	/* the last snapshot that can be read; path NULL = there is none */
	char *snapshot_path;
	uint64_t snapshot_blocks, snapshot_bytes;
	int64_t snapshot_ns;		/* CLOCK_REALTIME */
};

struct recovery {
	char *folder;
	struct recover_process *processes;	/* by pid */
	size_t count;
};

/* Look into a folder; pid 0 = for all that a crash can have left. Reads rings and the last snapshots; a file
 * that is refused is kept with its sentence. Returns 0 with *ret_recovery (recovery_free()), a negative errno
 * when the folder cannot be opened, or -ENOMEM. */
int recovery_make(const char *folder, uint32_t pid, struct recovery **ret_recovery)
	__attribute__((warn_unused_result));
struct recovery *recovery_free(struct recovery *recovery);

/* Make snapshots of the streams that have none, of processes that ended. Returns 0 or -ENOMEM; what failed is
 * in the files' error. */
int recovery_ingest(struct recovery *recovery, void (*progress)(const char *what, uint64_t done, uint64_t total, void *data))
	__attribute__((warn_unused_result));

/* Is it what --remove takes away? Everything of a process that ended but snapshots, and streams without one. */
bool recover_is_removable(const struct recover_process *process, const struct recover_file *file);

/* DIR/NAME; the caller frees. NULL = no memory. */
char *recover_path(const struct recovery *recovery, const struct recover_file *file);

/* Seconds for one tick of the birth clock of these rings, from this machine's clock; 0 = not known: the rings are
 * of another machine or boot, or their clock only counts. */
double recover_tick_s(const struct rings_facts *facts);

/* Write the answer as JSON to stdout; most: events of each ring. Returns 0 or -ENOMEM, -EIO. */
int json_write_recovery(const struct recovery *recovery, size_t most) __attribute__((warn_unused_result));

#endif
