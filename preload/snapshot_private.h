/* SPDX-License-Identifier: Apache-2.0
 * L2  snapshot_private.h - what the agent's half of a snapshot tells the child's half. */
#ifndef LEAKDIFF_SNAPSHOT_PRIVATE_H
#define LEAKDIFF_SNAPSHOT_PRIVATE_H

#include "cgroup.h"
#include "maps.h"
#include "snapshot.h"
#include "stop.h"
#include "stream.h"

/* Facts that are gathered while the threads run. All in our arena. */
struct snapshot_facts {
	uint32_t pid, ppid, uid, gid;
	char name[64];			/* of the files: made of letters that are safe everywhere */
	char exe[4096];
	char command[4096];
	char host[72];
	uint64_t process_start_ns;	/* CLOCK_REALTIME */
	uint64_t rss_anon_bytes, rss_file_bytes, rss_shmem_bytes, page_table_bytes;
	struct cgroup_memory cgroup;
	struct stream_clock taken;
	uint64_t capture_birth;
	const char *capture_state;
	bool saw_everything;		/* no block of the process is unknown */
};

/* What the child cannot know when it is made: one shared page, written by the agent after the resume. */
struct snapshot_shared {
	uint64_t pause_ns, fork_ns;
	uint32_t ready;			/* futex */
};

#define SNAPSHOT_ARENAS 512u		/* of an allocator that is asked while the threads run */

/* Everything the child needs; lives in the agent's memory, the child has a copy. */
struct snapshot_job {
	struct snapshot_request request;
	struct snapshot_facts *facts;
	struct maps smaps;		/* read before the stop */
	struct maps maps;		/* room for the child's own reading */
	struct stop *stop;
	int proc_fd, folder_fd;		/* folder_fd: negative = there is no folder */
	uint32_t number;
	struct snapshot_shared *shared;
	uint64_t first_ns, stop_ns, drain_ns, fork_begin_ns;
	uint64_t lost_events;
	uint32_t unstopped;
	uint64_t limit_ns;		/* wall clock that the child may take */
	bool python;			/* the GIL is held: Python's objects are as they should be */
	uint64_t gil_ns;		/* how long it took to get it */
	struct stream_arena *arenas;	/* what the allocator said of itself */
	uint32_t arena_count;
	char *profile;			/* mode sample: jemalloc's profile, in our arena; NULL = a walk */
	size_t profile_bytes, profile_room;
	uint64_t sample_bytes;
	char python_note[160];		/* why there are no objects although there is Python; "" = none to say */
};

/* Exit statuses of the child, made words in snapshot.c. */
enum snapshot_exit {
	SNAPSHOT_DONE = 0,
	SNAPSHOT_NO_OUTPUT,		/* could not write */
	SNAPSHOT_NO_MEMORY,
	SNAPSHOT_FAULT,
	SNAPSHOT_NO_PROC,		/* /proc/self/maps could not be read */
	SNAPSHOT_INGEST_FAILED,
};

/* snapshot_facts.c */
void ld__snapshot_facts_read(struct snapshot_facts *facts, int proc_fd);
uint64_t ld__snapshot_statm(int proc_fd, uint64_t *ret_shared_bytes);

/* Memory that only the calling process has: its own, and pages that it or the one that it was forked from
 * changed since the fork. 0 = unknown. */
uint64_t ld__snapshot_private_bytes(int proc_fd);

/* snapshot_child.c: the walk; never returns. */
_Noreturn void ld__snapshot_child(struct snapshot_job *job);

/* snapshot_output.c: where a stream without a reader goes.
 *
 * Opens a pipe to `leakdiff ingest`, or where that cannot be had a file in the folder. Returns the
 * descriptor to write to, or a negative errno. */
struct snapshot_output {
	int fd;
	int ingest;			/* pid, 0 = a file */
	char temporary[160], final[160];	/* names in the folder */
};
int ld__snapshot_output_open(struct snapshot_output *output, const struct snapshot_job *job);
/* All was written (or not): wait for ingest, or give the file its name. Returns an exit status. */
int ld__snapshot_output_close(struct snapshot_output *output, const struct snapshot_job *job,
			      bool whole);

#endif
