/* SPDX-License-Identifier: Apache-2.0
 * test_filter.c - what filters of system calls would answer, and whether the kernel agrees. */
#include "preload/filter.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

#define NUMBER BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))
#define RETURN(action) BPF_STMT(BPF_RET | BPF_K, (action))
#define PROGRAM(filter) { sizeof(filter) / sizeof((filter)[0]), (filter) }

static const uint64_t none[6];

TEST(a_filter_of_one_number_answers_for_it_alone)
{
	struct sock_filter filter[] = { NUMBER, BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_futex, 0, 1),
					RETURN(SECCOMP_RET_KILL_PROCESS), RETURN(SECCOMP_RET_ALLOW) };
	struct sock_fprog program = PROGRAM(filter);

	EXPECT_U64_EQ(ld__filter_answer(&program, SYS_futex, none), SECCOMP_RET_KILL_PROCESS);
	EXPECT_U64_EQ(ld__filter_answer(&program, SYS_poll, none), SECCOMP_RET_ALLOW);
	EXPECT_TRUE(ld__filter_ends_us(&program));
	EXPECT_TRUE(!ld__filter_ends_naming(&program));
	filter[2].k = SECCOMP_RET_ERRNO | EPERM;	/* a refusal is an answer */
	EXPECT_TRUE(!ld__filter_ends_us(&program));
	filter[2].k = SECCOMP_RET_TRAP;
	EXPECT_TRUE(ld__filter_ends_us(&program));
	filter[1].k = SYS_ptrace;			/* a call that we never make without asking */
	EXPECT_TRUE(!ld__filter_ends_us(&program));
	filter[1].k = SYS_prctl;
	EXPECT_TRUE(!ld__filter_ends_us(&program) && ld__filter_ends_naming(&program));
}

TEST(a_damaged_filter_counts_as_killing)
{
	struct sock_filter outside[] = { BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 4000), RETURN(SECCOMP_RET_ALLOW) };
	struct sock_filter endless[] = { NUMBER };
	struct sock_filter far[] = { BPF_JUMP(BPF_JMP | BPF_JA, 0xfffffff0u, 0, 0), RETURN(SECCOMP_RET_ALLOW) };
	struct sock_fprog programs[] = { PROGRAM(outside), PROGRAM(endless), PROGRAM(far), { 0, far } };

	for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++)
		EXPECT_U64_EQ(ld__filter_answer(&programs[i], SYS_poll, none), SECCOMP_RET_KILL_PROCESS);
}

static uint32_t next(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state >> 8;
}

/* Only what the kernel takes: forward jumps, words of the arguments, no shift by more than 31. */
static void make(struct sock_filter *filter, unsigned short count, uint32_t *seed)
{
	static const uint16_t operations[] = { BPF_ADD, BPF_SUB, BPF_MUL, BPF_AND, BPF_OR, BPF_XOR, BPF_LSH, BPF_RSH };
	static const uint16_t conditions[] = { BPF_JEQ, BPF_JGT, BPF_JGE, BPF_JSET };

	for (unsigned short at = 0; at < count - 2; at++) {
		uint16_t source = next(seed) % 2 ? BPF_X : BPF_K, left = (uint16_t)(count - 2 - at), operation;

		switch (next(seed) % 6) {
		case 0:
			filter[at] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 16 + next(seed) % 12 * 4);
			break;
		case 1:
			filter[at] = (struct sock_filter)BPF_STMT((next(seed) % 2 ? BPF_LD : BPF_LDX) | BPF_IMM, next(seed));
			break;
		case 2:
			filter[at] = (struct sock_filter)BPF_STMT(BPF_MISC | (next(seed) % 2 ? BPF_TAX : BPF_TXA), 0);
			break;
		case 3:
			filter[at] = (struct sock_filter)BPF_JUMP(BPF_JMP | conditions[next(seed) % 4] | source, next(seed) % 500,
								  (uint8_t)(next(seed) % left), (uint8_t)(next(seed) % left));
			break;
		case 4:
			filter[at] = (struct sock_filter)BPF_STMT(next(seed) % 2 ? BPF_ST : BPF_LD | BPF_MEM, 3);
			if (at && filter[at].code != BPF_ST)
				filter[0] = (struct sock_filter)BPF_STMT(BPF_ST, 3);	/* no word is read that was never written */
			break;
		default:
			operation = operations[next(seed) % 8];
			if (operation == BPF_LSH || operation == BPF_RSH)
				source = BPF_K;
			filter[at] = (struct sock_filter)BPF_STMT(BPF_ALU | operation | source, next(seed) % 31);
		}
	}
	filter[count - 2] = (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xff);
	filter[count - 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
}

/* The child tells by its status which errno the filter chose for a call of getpriority(2). */
static int asked_of_kernel(const struct sock_fprog *program)
{
	int status;
	pid_t child = fork();

	if (!child) {
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program))
			_exit(250);
		_exit(syscall(SYS_getpriority, 77L, 5L, 3L, 1L, 2L, 9L) < 0 ? errno : 0);
	}
	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

TEST(random_filters_answer_as_the_kernel_says)
{
	/* exit_group goes through; for getpriority alone the random part decides, and its result is an errno */
	const uint64_t args[6] = { 77, 5, 3, 1, 2, 9 };
	uint32_t seed = 20240229, refused = 0;

	if (prctl(PR_GET_SECCOMP) < 0) {
		fprintf(stderr, "the kernel has no seccomp: not tested\n");
		return;
	}
	for (int round = 0; round < 300; round++) {
		struct sock_filter filter[24] = {
			NUMBER, BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getpriority, 1, 0), RETURN(SECCOMP_RET_ALLOW),
		};
		struct sock_fprog program = PROGRAM(filter);
		uint32_t answer;
		int said;

		make(filter + 3, 20, &seed);
		filter[22] = (struct sock_filter)BPF_STMT(BPF_ALU | BPF_OR | BPF_K, SECCOMP_RET_ERRNO | 128);
		filter[21] = (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0x7f);
		filter[23] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_A, 0);
		said = asked_of_kernel(&program);
		if (said == 250) {
			refused++;
			continue;
		}
		answer = ld__filter_answer(&program, SYS_getpriority, args);
		EXPECT_INT_EQ((int)(answer & 0xffff), said);
	}
	EXPECT_TRUE(refused < 150);
}

TEST_MAIN()
