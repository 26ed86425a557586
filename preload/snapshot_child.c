/* SPDX-License-Identifier: Apache-2.0
 * L7  snapshot_child.c - the forked copy: walk the memory, write the stream, end.
 *
 *   settle      drop descriptors, signals, priority; first choice of the OOM killer
 *   nodes       frozen live table -> numbered nodes
 *   regions     /proc/self/maps -> pieces, roots, pages that hold something
 *   write       META CLOCK MODULES SEGMENTS THREADS ROOTS STACKS | EDGES ROOT_EDGES | TYPES MAPS NODES
 *   tracebacks  last, because unwinding trusts the most
 *   END
 *
 * Only system calls and plain memory: every lock of the service may be held by a thread that does
 * not exist here. Nothing of the application is called. */
#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "agent_private.h"
#include "budget.h"
#include "clock.h"
#include "config.h"
#include "fault.h"
#include "frames.h"
#include "glibc_heaps.h"
#include "guard.h"
#include "jemalloc.h"
#include "kernel.h"
#include "live.h"
#include "modules.h"
#include "nodes.h"
#include "objects.h"
#include "python_frames.h"
#include "python_places.h"
#include "regions.h"
#include "ring.h"
#include "scan.h"
#include "snapshot_private.h"
#include "stacks.h"

#define RECORDS_AHEAD 16u		/* nodes between asking for what was recorded of one and using it */
#define IOPRIO_WHO_PROCESS 1
#define IOPRIO_IDLE (3 << 13)
#define IOPRIO_LOWEST (2 << 13 | 7)
#define TRACEBACK_LIMIT_NS (5 * NS_PER_S)
#define FD_OUT 3			/* the child's descriptors, everything else is closed */
#define FD_PROC 4
#define FD_FOLDER 5
#define FD_FIRST_UNUSED 6
#define FD_ASIDE 64

struct walk {
	struct snapshot_job *job;
	struct snapshot_output output;
	struct writer *writer;
	struct nodes nodes;
	struct regions regions;
	struct rtti *rtti;
	struct objects *objects;	/* NULL without Python */
	uint32_t object_roots;
	struct scan scan;
	uint64_t blocks, bytes, mappings, mapped_bytes;
	uint64_t scan_cpu_ns;		/* processor time of the scan */
	uint64_t peak_bytes;		/* largest memory of the child's own that was seen */
	size_t notes_used;
	char notes[4096];
};

static struct walk walk;		/* too large for the agent's stack */

static void note(const char *format, unsigned long number)
{
	walk.notes_used =
		ld__text_format(walk.notes, sizeof(walk.notes), walk.notes_used, format, number);
}

/* ---- settle ---- */

static int move_fd(int fd, int to)
{
	return fd < 0 ? -EBADF : (int)ld__sys3(SYS_fcntl, fd, F_DUPFD, to);
}

/* Close all descriptors that were inherited, at once: a peer's end of file must not wait for us. */
static void keep_descriptors(struct snapshot_job *job)
{
	int out = move_fd(job->request.fd, FD_ASIDE), proc = move_fd(job->proc_fd, FD_ASIDE);
	int folder = move_fd(job->folder_fd, FD_ASIDE);

	for (int fd = 0; fd < FD_FIRST_UNUSED; fd++)
		kernel_close(fd);
	job->request.fd = out < 0 ? -1 : (int)ld__sys3(SYS_dup3, out, FD_OUT, O_CLOEXEC);
	job->proc_fd = (int)ld__sys3(SYS_dup3, proc, FD_PROC, O_CLOEXEC);
	job->folder_fd = folder < 0 ? -1 : (int)ld__sys3(SYS_dup3, folder, FD_FOLDER, O_CLOEXEC);
	kernel_close_from(FD_FIRST_UNUSED);
	for (int fd = 0; fd < 3; fd++)	/* nothing that is opened later may become 0, 1 or 2 */
		ld__sys4(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR, 0);
}

static void set_oom_score(int proc_fd)
{
	int fd = kernel_openat(proc_fd, "self/oom_score_adj", O_WRONLY, 0);

	if (fd < 0)
		return;
	kernel_write(fd, "1000", 4);
	kernel_close(fd);
}

/* Returns /proc/self/pagemap. A process that changed its user owns its own /proc files only while it
 * is dumpable; it is so here for two system calls. */
static int open_own_files(int proc_fd)
{
	long dumpable = ld__sys5(SYS_prctl, PR_GET_DUMPABLE, 0, 0, 0, 0);
	int fd;

	if (dumpable != 1)
		ld__sys5(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0);
	set_oom_score(proc_fd);
	fd = kernel_openat(proc_fd, "self/pagemap", O_RDONLY, 0);
	if (dumpable != 1)
		ld__sys5(SYS_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
	return fd;
}

static int settle(struct snapshot_job *job)
{
	ld__in_snapshot_child = 1;
	keep_descriptors(job);
	ld__fault_install(job->limit_ns);
	ld__sys5(SYS_prctl, PR_SET_NAME, "leakdiff-snap", 0, 0, 0);
	ld__sys0(SYS_setsid);		/* a Ctrl-C is meant for the service */
	ld__sys3(SYS_setpriority, PRIO_PROCESS, 0, 19);
	if (ld__sys3(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_IDLE) < 0)
		ld__sys3(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_LOWEST);
	return open_own_files(job->proc_fd);
}

/* ---- what the sections need ---- */

static void count_nodes(void)
{
	for (uint32_t i = 0; i < walk.nodes.count; i++) {
		if (walk.nodes.flags[i] & NODE_INNER || walk.nodes.kind[i] == STREAM_NODE_PYTHON)
			continue;		/* counted by objects.c */
		if (!(walk.nodes.flags[i] & NODE_MAPPING)) {
			walk.blocks++;
			walk.bytes += node_bytes(&walk.nodes, i);
		} else if (!(walk.nodes.flags[i] & NODE_FOLDED)) {
			walk.mappings++;
			walk.mapped_bytes += node_bytes(&walk.nodes, i);
		}
	}
}

static uint64_t resident(bool own)
{
	uint64_t total = 0;

	for (uint32_t i = 0; i < walk.regions.count; i++) {
		const struct region *region = &walk.regions.items[i];

		if (region->rss_bytes != MAP_NUMBER_UNKNOWN &&
		    (!own || region->kind == STREAM_MAP_OWN))
			total += region->rss_bytes;
	}
	return total;
}

static const char *allocator_name(void)
{
	for (uint32_t i = 0; i < ld__modules_count(); i++)
		if (ld__modules_get(i)->flags & STREAM_MODULE_ALLOCATOR)
			return text_base_name(ld__modules_get(i)->path);
	return "";
}

static uint32_t thread_count(void)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < ld__stop_count(walk.job->stop); i++) {
		const struct stop_thread *thread = ld__stop_thread(walk.job->stop, i);

		count += thread && thread->stop != STREAM_STOP_SELF;
	}
	return count;
}

/* The end of the pause is not known to a child that was made before it. */
static void wait_for_pause(struct snapshot_shared *shared)
{
	struct timespec wait = { 2, 0 };

	if (!__atomic_load_n(&shared->ready, __ATOMIC_ACQUIRE))
		kernel_futex(&shared->ready, 0 /* FUTEX_WAIT, across processes */, 0, &wait);
}

/* What stands beside the account: shares of common pages, and all processes of the group. */
static void write_outside(void)
{
	const struct maps *smaps = &walk.job->smaps;
	const struct cgroup_memory *cgroup = &walk.job->facts->cgroup;
	uint64_t pss = 0, swap = 0;

	for (uint32_t i = 0; i < smaps->count; i++) {
		pss += smaps->entries[i].pss_bytes;
		swap += smaps->entries[i].swap_bytes;
	}
	ld__writer_meta_number(walk.writer, "pss_bytes", pss);
	ld__writer_meta_number(walk.writer, "private_bytes", smaps->private_bytes);
	ld__writer_meta_number(walk.writer, "swap_bytes", swap);
	ld__writer_meta_number(walk.writer, "lazy_free_bytes", smaps->lazy_free_bytes);
	ld__writer_meta_number(walk.writer, "huge_bytes", smaps->huge_bytes);
	if (cgroup->current_bytes != CGROUP_UNKNOWN)
		ld__writer_meta_number(walk.writer, "cgroup_current_bytes", cgroup->current_bytes);
	if (cgroup->max_bytes != CGROUP_UNKNOWN)
		ld__writer_meta_number(walk.writer, "cgroup_max_bytes", cgroup->max_bytes);
	if (cgroup->anon_bytes != CGROUP_UNKNOWN)
		ld__writer_meta_number(walk.writer, "cgroup_anon_bytes", cgroup->anon_bytes);
	if (cgroup->file_bytes != CGROUP_UNKNOWN)
		ld__writer_meta_number(walk.writer, "cgroup_file_bytes", cgroup->file_bytes);
	if (cgroup->kernel_bytes != CGROUP_UNKNOWN)
		ld__writer_meta_number(walk.writer, "cgroup_kernel_bytes", cgroup->kernel_bytes);
}

static void write_meta(void)
{
	static const char *const triggers[] = {
		[SNAPSHOT_SOCKET] = "socket", [SNAPSHOT_TIMER] = "timer", [SNAPSHOT_RSS] = "rss",
		[SNAPSHOT_EXIT] = "exit", [SNAPSHOT_SIGNAL] = "signal",
	};
	const struct snapshot_job *job = walk.job;
	const struct snapshot_facts *facts = job->facts;
	struct writer *w = walk.writer;
	uint32_t budget_ppm, spent_ppm;

	wait_for_pause(job->shared);
	ld__writer_section(w, STREAM_META);
	ld__writer_meta(w, "version", LEAKDIFF_VERSION);
	ld__writer_meta_number(w, "pid", facts->pid);
	ld__writer_meta_number(w, "nspid", facts->pid);
	ld__writer_meta_number(w, "ppid", facts->ppid);
	ld__writer_meta_number(w, "uid", facts->uid);
	ld__writer_meta_number(w, "gid", facts->gid);
	ld__writer_meta(w, "name", facts->name);
	ld__writer_meta(w, "command", facts->command);
	ld__writer_meta(w, "exe", facts->exe);
	ld__writer_meta(w, "hostname", facts->host);
	ld__writer_meta_number(w, "taken_realtime_ns", (uint64_t)facts->taken.realtime_ns);
	ld__writer_meta_number(w, "taken_monotonic_ns", (uint64_t)facts->taken.monotonic_ns);
	ld__writer_meta_number(w, "taken_birth", facts->taken.birth);
	ld__writer_meta_number(w, "capture_birth", facts->capture_birth);
	ld__writer_meta_number(w, "process_start_realtime_ns", facts->process_start_ns);
	ld__writer_meta(w, "mode", ld__config_mode_name());
	ld__writer_meta(w, "capture", facts->capture_state);
	ld__writer_meta_number(w, "depth", ld__config()->depth);
	if (*ld__config()->wrappers)
		ld__writer_meta(w, "wrappers", ld__config()->wrappers);
	ld__writer_meta_number(w, "pause_ns", job->shared->pause_ns);
	ld__writer_meta_number(w, "stop_ns", job->stop_ns);
	ld__writer_meta_number(w, "drain_ns", job->drain_ns);
	ld__writer_meta_number(w, "fork_ns", job->shared->fork_ns);
	ld__writer_meta_number(w, "consistent", job->unstopped == 0);
	ld__writer_meta(w, "trigger", triggers[job->request.trigger]);
	ld__writer_meta_number(w, "number", job->number);
	ld__writer_meta_number(w, "page_size", PAGE_BYTES);
	ld__writer_meta_number(w, "rss_bytes", resident(false));
	ld__writer_meta_number(w, "rss_anon_bytes", facts->rss_anon_bytes);
	ld__writer_meta_number(w, "rss_file_bytes", facts->rss_file_bytes);
	ld__writer_meta_number(w, "rss_shmem_bytes", facts->rss_shmem_bytes);
	ld__writer_meta_number(w, "page_table_bytes", facts->page_table_bytes);
	ld__writer_meta_number(w, "own_bytes", resident(true));
	write_outside();
	ld__writer_meta_number(w, "live_blocks", walk.blocks);
	ld__writer_meta_number(w, "live_bytes", walk.bytes);
	ld__writer_meta_number(w, "mappings", walk.mappings);
	ld__writer_meta_number(w, "mapped_bytes", walk.mapped_bytes);
	ld__writer_meta_number(w, "lost_events", job->lost_events);
	ld__writer_meta_number(w, "stacks_refused", ld__stacks_refused());
	ld__writer_meta_number(w, "anomalies", ld__live_anomalies());
	ld__writer_meta(w, "allocator", allocator_name());
	ld__writer_meta_number(w, "thread_count", thread_count());
	ld__writer_meta_number(w, "unstopped_threads", job->unstopped);
	if (ld__config()->mode == CONFIG_LITE)
		ld__writer_meta_number(w, "interval_bytes", 1ull << ld__sample_lg);
	budget_ppm = ld__budget_of(&spent_ppm);
	if (budget_ppm) {
		ld__writer_meta_number(w, "budget_ppm", budget_ppm);
		ld__writer_meta_number(w, "budget_spent_ppm", spent_ppm);
	}
	if (job->profile) {
		ld__writer_meta(w, "profile", "jemalloc heap_v2");
		ld__writer_meta_number(w, "sample_bytes", job->sample_bytes);
	}
	if (walk.objects) {
		ld__writer_meta_number(w, "gil_wait_ns", job->gil_ns);
		ld__objects_write_meta(walk.objects, w);
	}
}

static void write_clock(void)
{
	struct stream_clock first;

	ld__clock_first(&first);
	ld__writer_section(walk.writer, STREAM_CLOCK);
	ld__writer_put(walk.writer, &first, sizeof(first));
	ld__writer_put(walk.writer, &walk.job->facts->taken, sizeof(struct stream_clock));
}

static void write_modules(void)
{
	struct writer *w = walk.writer;

	ld__writer_section(w, STREAM_MODULES);
	for (uint32_t i = 0; i < ld__modules_count(); i++) {
		const struct module *module = ld__modules_get(i);
		struct stream_module out = {
			.base = module->base,
			.start = module->start,
			.end = module->end,
			.first_birth = module->first_birth,
			.last_birth = module->last_birth,
			.tls_offset = module->tls_offset,
			.tls_bytes = module->tls_bytes,
			.path = ld__writer_string(w, module->path, -1),
			.generation = module->generation,
			.build_id_bytes = module->build_id_bytes,
			.flags = module->flags,
		};

		memcpy(out.build_id, module->build_id, sizeof(out.build_id));
		ld__writer_put(w, &out, sizeof(out));
	}
	ld__writer_section(w, STREAM_SEGMENTS);
	for (uint32_t i = 0; i < ld__modules_count(); i++)
		for (uint32_t s = 0; s < ld__modules_get(i)->segment_count; s++) {
			const struct module_segment *segment = &ld__modules_get(i)->segments[s];
			struct stream_segment out = {
				.start = segment->start,
				.end = segment->end,
				.module = i,
				.prot = segment->prot,
			};

			ld__writer_put(w, &out, sizeof(out));
		}
}

static void write_threads(void)
{
	const struct stop *stop = walk.job->stop;

	ld__writer_section(walk.writer, STREAM_THREADS);
	for (uint32_t i = 0; i < ld__stop_count(stop); i++) {
		const struct stop_thread *thread = ld__stop_thread(stop, i);
		struct stream_thread out;

		if (!thread)
			continue;
		out = (struct stream_thread){
			.sp = thread->sp,
			.thread_pointer = thread->thread_pointer,
			.stack_start = walk.regions.threads[i].stack_start,
			.stack_end = walk.regions.threads[i].stack_end,
			.tid = thread->tid,
			.name = ld__writer_string(walk.writer, thread->name, -1),
			.stop = thread->stop,
			.flags = thread->tid == walk.job->facts->pid,
			.syscall = thread->syscall,
		};
		/* where the thread stands is an address; what it computes with is content */
		out.registers[STREAM_REGISTER_SP] = thread->registers[STREAM_REGISTER_SP];
		out.registers[STREAM_REGISTER_PC] = thread->registers[STREAM_REGISTER_PC];
		ld__writer_put(walk.writer, &out, sizeof(out));
	}
}

static const char *region_name(const struct region *region)
{
	const struct maps *maps = region->from_smaps ? &walk.job->smaps : &walk.job->maps;

	return maps->names + region->name;
}

static void write_roots(void)
{
	ld__writer_section(walk.writer, STREAM_ROOTS);
	for (uint32_t i = 0; i < walk.regions.root_count; i++) {
		const struct region_root *root = &walk.regions.roots[i];
		struct stream_root out = {
			.start = root->start,
			.end = root->end,
			.kind = root->kind,
			.module = root->module,
			.thread = root->thread,
		};

		if (root->kind == STREAM_ROOT_REGISTER)
			out.start = out.end = 0;
		if (root->gaps)
			out.name =
				ld__writer_string(walk.writer, "blocks from before recording", -1);
		else if (root->region != STREAM_NONE)
			out.name = ld__writer_string(
				walk.writer, region_name(&walk.regions.items[root->region]), -1);
		ld__writer_put(walk.writer, &out, sizeof(out));
	}
	if (walk.objects)
		walk.object_roots =
			ld__objects_write_roots(walk.objects, walk.writer, walk.job->stop);
}

static uint32_t write_stacks(void)
{
	uint32_t count = ld__stacks_count();

	ld__writer_section(walk.writer, STREAM_STACKS);
	for (uint32_t id = 1; id <= count; id++) {
		struct stream_stack out;

		ld__stacks_get(id, &out);
		ld__writer_put(walk.writer, &out, sizeof(out));
	}
	return count;
}

static void write_places(void)
{
	uint32_t count = ld__python_place_count();

	if (!count)
		return;
	ld__writer_section(walk.writer, STREAM_PYFRAMES);
	for (uint32_t i = 0; i < count; i++) {
		const struct python_place *place = ld__python_place(i);
		struct stream_pyframe out = {
			.function = ld__writer_string(walk.writer, place->function, -1),
			.file = ld__writer_string(walk.writer, place->file, -1),
			.line = place->line,
		};

		ld__writer_put(walk.writer, &out, sizeof(out));
	}
}

static void write_maps(void)
{
	ld__writer_section(walk.writer, STREAM_MAPS);
	for (uint32_t i = 0; i < walk.regions.count; i++) {
		const struct region *region = &walk.regions.items[i];
		struct stream_map out = {
			.start = region->start,
			.end = region->end,
			.file_offset = region->offset,
			.rss_bytes = region->rss_bytes,
			.pss_bytes = region->pss_bytes,
			.swap_bytes = region->swap_bytes,
			.live_resident_bytes = region->live_bytes,
			.name = ld__writer_string(walk.writer, region_name(region), -1),
			.prot = region->prot,
			.kind = region->kind,
			.shared = region->shared,
			.module = region->module,
		};

		ld__writer_put(walk.writer, &out, sizeof(out));
	}
}

static void write_arenas(void)
{
	const struct snapshot_job *job = walk.job;

	ld__writer_section(walk.writer, STREAM_ARENAS);
	for (uint32_t i = 0; i < job->arena_count; i++)
		ld__writer_put(walk.writer, &job->arenas[i], sizeof(job->arenas[i]));
	if (!job->profile && !job->arena_count &&
	    ld__glibc_heaps_write(walk.writer, &job->maps, &walk.regions, &walk.nodes) < 0)
		note("there was not enough memory to walk the allocator's arenas\n", 0);
}

/* Mode sample: what jemalloc knows, instead of blocks and references. */
static void write_profile(void)
{
	const size_t most = 64u << 10;

	ld__writer_section(walk.writer, STREAM_PROFILE);
	for (size_t at = 0; at < walk.job->profile_bytes; at += most) {
		size_t left = walk.job->profile_bytes - at;

		ld__writer_put(walk.writer, walk.job->profile + at, left < most ? left : most);
	}
}

static void write_nodes(uint32_t stacks)
{
	ld__writer_section(walk.writer, STREAM_NODES);
	for (uint32_t i = 0; i < walk.nodes.count; i++) {
		uint8_t flags = walk.nodes.flags[i];
		struct live_block record = { 0 };
		struct object_facts object;
		struct stream_node out = {
			.addr = walk.nodes.addr[i],
			.bytes = node_bytes(&walk.nodes, i),
			.type = walk.nodes.type[i] - 1,		/* 0 - 1 is STREAM_NONE */
			.kind = (uint16_t)((flags & NODE_INNER ? STREAM_NODE_PYTHON : walk.nodes.kind[i]) |
					   (flags & NODE_FOLDED ? STREAM_NODE_FOLDED : 0)),
			.weight = 1,
		};

		if (flags & NODE_OBJECT) {
			ld__objects_describe(walk.objects, i, &object);
			out.bytes = object.bytes;
			out.extra = object.unexplained;
			out.type = object.type;
		}
		if (flags & NODE_INNER) {
			uint32_t origin = ld__objects_origin(walk.objects, i);

			if (origin != STREAM_NONE)
				record = ld__nodes_record(&walk.nodes, origin);
		} else {
			if (i + 2 * RECORDS_AHEAD < walk.nodes.count) {
				ld__live_prefetch(walk.nodes.addr[i + 2 * RECORDS_AHEAD]);
				ld__live_prefetch_record(walk.nodes.addr[i + RECORDS_AHEAD]);
			}
			record = ld__nodes_record(&walk.nodes, i);
		}
		out.birth = record.birth;
		out.stack = record.stack <= stacks ? record.stack : 0;
		out.sample = (uint16_t)(out.stack ? ld__sample_lg_of(record.sample) : 0);
		out.thread = record.tid;
		ld__writer_put(walk.writer, &out, sizeof(out));
	}
}

/* ---- the walk ---- */

_Noreturn static void end_child(int status)
{
	kernel_exit_group(status);
}

/* The child's tables are all made when the nodes are joined; later only texts are added. */
static void look_at_memory(void)
{
	uint64_t bytes = ld__snapshot_private_bytes(walk.job->proc_fd);

	if (bytes > walk.peak_bytes)
		walk.peak_bytes = bytes;
}

/* What is known only now: META goes on here. Processor time, since a reader may keep us waiting. */
static void write_costs(void)
{
	look_at_memory();
	ld__writer_section(walk.writer, STREAM_META);
	ld__writer_meta_number(walk.writer, "scanned_bytes", walk.scan.words * 8);
	ld__writer_meta_number(walk.writer, "scan_cpu_ns", walk.scan_cpu_ns);
	ld__writer_meta_number(walk.writer, "child_cpu_ns",
			       kernel_clock_ns(CLOCK_PROCESS_CPUTIME_ID));
	ld__writer_meta_number(walk.writer, "child_peak_bytes", walk.peak_bytes);
	if (walk.objects)
		ld__objects_write_sums(walk.objects, walk.writer);
}

static void collect_notes(uint32_t cut_tracebacks)
{
	const struct snapshot_job *job = walk.job;

	if (!job->profile)
		walk.notes_used = ld__text_format(walk.notes, sizeof(walk.notes), walk.notes_used, "%s",
						  ld__stop_notes(job->stop));
	if (ld__config()->mode == CONFIG_LITE)
		note("mode lite: of smaller blocks only a sample has its stack, now one for each %lu KiB; what they stand "
		     "for by site is in the view v_estimates\n", (1ul << ld__sample_lg) >> 10);
	if (job->profile)
		note("mode sample: mappings that the program made, and what it had allocated before jemalloc's "
		     "profiler was active, are not known\n", 0);
	if (job->profile && !ld__jemalloc_has_our_stacks())
		note("mode sample: this jemalloc takes no stacks of ours: they are its own, without Python's frames\n", 0);
	if (walk.scan.cut_short)
		note("the time limit came before all memory was read: references are missing\n", 0);
	if (walk.scan.skipped_words)
		note("%lu words of memory could not be read\n", walk.scan.skipped_words);
	if (walk.nodes.refused)
		note("%lu blocks beyond the limit of the format are missing\n", walk.nodes.refused);
	if (job->maps.refused)
		note("%lu mappings that appeared while the snapshot began are missing\n",
		     job->maps.refused);
	if (walk.regions.refused)
		note("%lu pieces of memory beyond the table's size are missing\n",
		     walk.regions.refused);
	if (walk.regions.spans.refused_pages)
		note("%lu pages beyond the table's size " STREAM_NOT_READ "\n",
		     walk.regions.spans.refused_pages);
	if (walk.regions.unforked_bytes)
		note("%lu bytes that the service keeps out of forks " STREAM_NOT_READ "\n",
		     walk.regions.unforked_bytes);
	if (ld__writer_strings_refused(walk.writer))
		note("%lu names beyond the string table's size are missing\n",
		     ld__writer_strings_refused(walk.writer));
	if (!job->facts->saw_everything)
		note("recording did not begin with the process: older blocks are unknown, and what "
		     "they hold counts as held\n",
		     0);
	if (job->python_note[0])
		walk.notes_used = ld__text_format(walk.notes, sizeof(walk.notes), walk.notes_used,
						  "%s\n", job->python_note);
	if (ld__python_frames_why()[0])
		walk.notes_used = ld__text_format(walk.notes, sizeof(walk.notes), walk.notes_used,
						  "%s\n", ld__python_frames_why());
	if (ld__python_places_refused())
		note("%lu Python stacks beyond the table's size are the interpreter's own\n",
		     ld__python_places_refused());
	if (job->python && !walk.objects)
		note("there was not enough memory to walk Python's objects\n", 0);
	if (cut_tracebacks)
		note("the tracebacks of %lu threads are incomplete\n", cut_tracebacks);
}

_Noreturn void ld__snapshot_child(struct snapshot_job *job)
{
	struct region_input input = { .maps = &job->maps,
				      .smaps = &job->smaps,
				      .nodes = &walk.nodes,
				      .stop = job->stop };
	struct stream_end end = { 0 };
	uint32_t stacks, cut;
	int r;

	walk.job = job;
	input.pagemap_fd = settle(job);
	input.unrecorded = !job->facts->saw_everything;
	r = ld__maps_read(&job->maps, job->proc_fd, false);
	if (r < 0 && r != -E2BIG)
		end_child(SNAPSHOT_NO_PROC);
	if (job->request.fd < 0) {
		r = ld__snapshot_output_open(&walk.output, job);
		if (r < 0)
			end_child(SNAPSHOT_NO_OUTPUT);
		job->request.fd = r;
	}
	if (job->python)
		walk.objects = ld__objects_new();
	if (ld__nodes_new(&walk.nodes, ld__objects_list, walk.objects,
			  walk.objects ? ld__objects_count(walk.objects) : 0) < 0)
		end_child(SNAPSHOT_NO_MEMORY);
	if (walk.objects)
		ld__objects_find_arenas(walk.objects, &walk.nodes);
	if (ld__regions_new(&walk.regions, &input) < 0)
		end_child(SNAPSHOT_NO_MEMORY);
	walk.writer = ld__writer_new(job->request.fd);
	walk.rtti = walk.writer ? ld__rtti_new(walk.writer) : NULL;
	if (!walk.rtti)
		end_child(SNAPSHOT_NO_MEMORY);
	if (walk.objects)
		ld__objects_join(walk.objects, &walk.nodes, walk.rtti);
	count_nodes();
	look_at_memory();

	write_meta();
	write_clock();
	write_modules();
	if (!job->profile) {
		write_threads();
		write_roots();
	}
	stacks = write_stacks();
	write_places();
	walk.scan = (struct scan){ .nodes = &walk.nodes,
				   .regions = &walk.regions,
				   .rtti = walk.rtti,
				   .objects = walk.objects };
	walk.scan_cpu_ns = kernel_clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	if (!job->profile && (ld__scan_nodes(&walk.scan, walk.writer) == -ENOMEM ||
			      ld__scan_roots(&walk.scan, walk.writer) == -ENOMEM))
		end_child(SNAPSHOT_NO_MEMORY);
	walk.scan_cpu_ns = kernel_clock_ns(CLOCK_PROCESS_CPUTIME_ID) - walk.scan_cpu_ns;
	ld__rtti_write(walk.rtti);
	write_maps();
	write_arenas();
	if (job->profile)
		write_profile();
	else
		write_nodes(stacks);
	if (walk.objects) {
		ld__objects_write_traces(walk.objects, walk.writer, job->stop);
		ld__objects_write_caches(walk.objects, walk.writer);
	}
	ld__writer_flush(walk.writer);

	ld__fault_limit(TRACEBACK_LIMIT_NS, true);
	cut = job->profile ? 0 : ld__frames_write(walk.writer, job->stop, &walk.regions);
	ld__fault_limit(job->limit_ns, false);

	write_costs();
	collect_notes(cut);
	end = (struct stream_end){
		.nodes = job->profile ? 0 : walk.nodes.count,
		.edges = walk.scan.edge_count,
		.roots = job->profile ? 0 : walk.regions.root_count + walk.object_roots,
		.root_edges = walk.scan.root_edge_count,
		.stacks = stacks,
		.lost_events = job->lost_events,
		.skipped_words = walk.scan.skipped_words,
		.child_ns = kernel_now_ns() - job->fork_begin_ns,
		.faults = ld__fault_count,
		.notes = ld__writer_string(walk.writer, walk.notes, (long)walk.notes_used),
	};
	r = ld__writer_finish(walk.writer, &end);
	if (walk.output.fd)
		end_child(ld__snapshot_output_close(&walk.output, job, r == 0));
	end_child(r < 0 ? SNAPSHOT_NO_OUTPUT : SNAPSHOT_DONE);
}
