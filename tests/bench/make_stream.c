/* SPDX-License-Identifier: Apache-2.0
 * make_stream.c - writes a synthetic capture stream: NODES blocks with EDGES references.
 *
 *   bench_make_stream NODES EDGES [STACKS] > big.stream
 *
 * The shape is a service's: block sizes repeat, neighbours were often born together, most references
 * are local, some blocks are large tables, a few hundred globals and stack frames hold the rest. The
 * same arguments give the same bytes. */
#include <stdio.h>
#include <unistd.h>

#include "../unit/stream_builder.h"

static uint64_t state = 88172645463325252ull;

static uint64_t random_below(uint64_t limit)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return limit ? state % limit : 0;
}

static void add_stacks(struct builder *b, uint32_t stacks)
{
	uint32_t parent = builder_stack(b, 0x401000, 0, 0);

	for (uint32_t i = 1; i < stacks; i++) {
		/* chains about 20 deep that share their outer halves */
		uint32_t from = i % 20 == 0 ? 1 + (uint32_t)random_below(i) : parent;

		parent = builder_stack(b, 0x401000 + random_below(0x40000), from, 0);
	}
}

int main(int argc, char **argv)
{
	static const uint32_t sizes[] = { 16, 24, 32, 32, 48, 64, 64, 96, 128, 256, 512, 4096 };
	struct builder b = { 0 };
	uint64_t nodes = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
	uint64_t edges = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
	uint32_t stacks = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 20000;
	uint64_t addr = 0x555555560010, birth = 1, made = 0;
	uint32_t path, main_name, root;
	uint8_t *bytes;
	size_t size;

	if (nodes < 2 || nodes > 100000000 || stacks < 1) {
		fprintf(stderr, "usage: bench_make_stream NODES EDGES [STACKS] > FILE\n");
		return 64;
	}
	builder_meta(&b, "pid", "4711");
	builder_meta(&b, "command", "synthetic");
	builder_meta(&b, "mode", "full");
	path = builder_string(&b, "/nonexistent/synthetic");
	main_name = builder_string(&b, "synthetic");
	builder_add(&b, STREAM_MODULES, (struct stream_module){
		.base = 0x400000, .start = 0x400000, .end = 0x500000, .last_birth = UINT64_MAX,
		.tls_offset = INT64_MIN, .path = path, .flags = STREAM_MODULE_EXE });
	builder_add(&b, STREAM_THREADS, (struct stream_thread){
		.sp = 0x7ffc0000, .stack_start = 0x7ff00000, .stack_end = 0x7fff0000, .tid = 4711,
		.name = main_name, .stop = STREAM_STOP_PTRACE, .flags = 1, .syscall = STREAM_NONE });
	builder_add(&b, STREAM_CLOCK, (struct stream_clock){ 0, 1700000000000000000, 0 });
	builder_add(&b, STREAM_CLOCK, (struct stream_clock){ nodes * 3, 1700000600000000000, 600000000000 });
	add_stacks(&b, stacks);

	for (uint64_t i = 0; i < nodes; i++) {
		uint32_t bytes_wanted = sizes[random_below(sizeof(sizes) / sizeof(*sizes))];

		/* runs of neighbours are born together, then the allocator fills an older hole */
		birth = random_below(8) ? birth + 1 : 1 + random_below(nodes * 3);
		builder_node(&b, &(struct stream_node){
			.addr = addr, .bytes = bytes_wanted, .birth = birth, .type = STREAM_NONE,
			.stack = 1 + (uint32_t)(random_below(4) ? random_below(stacks) % 500 % stacks : random_below(stacks)),
			.thread = 4711 + (uint32_t)random_below(4), .kind = STREAM_NODE_MALLOC, .weight = 1 });
		addr += (bytes_wanted + 8 + 15) / 16 * 16;
	}
	root = builder_root(&b, &(struct stream_root){
		.start = 0x480000, .end = 0x490000, .kind = STREAM_ROOT_GLOBAL, .module = 0, .thread = STREAM_NONE });
	builder_root(&b, &(struct stream_root){
		.start = 0x7ffc0000, .end = 0x7fff0000, .kind = STREAM_ROOT_STACK, .module = STREAM_NONE, .thread = 0 });
	for (uint64_t i = 0; i < 2000 && made < edges; i++, made++)
		builder_edge(&b, true, root + (i >= 1500), STREAM_LABEL_OFFSET,
			     i < 1500 ? 0x480000 + i * 8 : 0x7ffc0000 + i * 8, (uint32_t)random_below(nodes), 0);
	for (uint64_t i = 0; i < nodes && made < edges; i++) {
		uint64_t left = edges - made, per = left / (nodes - i) * 2 + 1;
		uint64_t count = i % 100000 == 50000 ? 4096 : random_below(per + 1);

		if (i == nodes - 1)
			count = left;
		for (uint64_t k = 0; k < count && made < edges; k++, made++) {
			uint64_t near = i + random_below(64) + 1;
			uint64_t target = random_below(10) < 7 && near < nodes ? near : random_below(nodes);

			builder_edge(&b, false, (uint32_t)i, STREAM_LABEL_OFFSET, k * 8, (uint32_t)target,
				     random_below(20) ? 0 : 8);
		}
	}
	bytes = builder_finish(&b, &size);
	if (fwrite(bytes, 1, size, stdout) != size || fflush(stdout)) {
		perror("bench_make_stream");
		return 2;
	}
	free(bytes);
	return 0;
}
