/* SPDX-License-Identifier: Apache-2.0
 * test_step.c - stacks by rules against libunwind's, over random call chains.
 *
 * A "tree" calls random functions of many shapes (frame pointers or none, alloca, variable arrays,
 * realigned and huge frames, tail calls, rbp used for data) to random depths and takes the stack at
 * random moments, so that every walk shares some outer frames with the one before. Each stack found
 * by rules must equal libunwind's, and its id must lead to the same addresses. */
#include <step.h>

#include <alloca.h>
#include <dlfcn.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "preload/stacks.h"

#include "test.h"

#define NOINLINE __attribute__((noinline, noclone))

static int (*unw_backtrace)(void **, int);
static __thread struct step *step;
static __thread struct step_head last_stack;
static __thread uint32_t depth_limit = STEP_DEPTH_MAX;
static __thread uint64_t random_state = 0x9e3779b97f4a7c15;
static uint64_t compared, differing, handed_over;
static __thread int last_result;

static uint32_t chance(uint32_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)(random_state >> 20) % n;
}

static void setup(void)
{
	if (!unw_backtrace) {
		void *library = dlopen("libunwind.so.8", RTLD_NOW | RTLD_LOCAL);

		unw_backtrace = library ? (int (*)(void **, int))dlsym(library, "unw_backtrace") : NULL;
		if (!unw_backtrace) {
			fprintf(stderr, "libunwind.so.8 is needed\n");
			exit(1);
		}
		ld__step_init();
	}
	if (!step)
		step = ld__step_new(&last_stack);
}

/* Walk the interned stack back and compare it with addresses, innermost first. */
static bool id_leads_to(uint32_t id, void **pcs, uint32_t count, int truncated)
{
	struct stream_stack node = { 0 };

	for (uint32_t i = 0; i < count; i++, id = node.parent) {
		if (!id)
			return false;
		ld__stacks_get(id, &node);
		if (node.pc != (uint64_t)(uintptr_t)pcs[i])
			return false;
	}
	return id == 0 && !(node.flags & STREAM_STACK_TRUNCATED) == !truncated;
}

static void print_difference(void **fast, uint32_t fast_count, void **slow, uint32_t slow_count)
{
	for (uint32_t i = 0; i < fast_count || i < slow_count; i++) {
		Dl_info info = { 0 };
		void *a = i < fast_count ? fast[i] : NULL, *b = i < slow_count ? slow[i] : NULL;

		if (b)
			dladdr(b, &info);
		fprintf(stderr, "  %3u %14p %14p %s %s\n", i, a, b, a == b ? "  " : "!!",
			info.dli_sname ? info.dli_sname : "");
	}
}

/* Take the caller's stack both ways. */
static NOINLINE void probe(void)
{
	void *fast[STEP_DEPTH_MAX], *slow[300];
	uint32_t id, n;
	int truncated, slow_truncated, count, skip;
	int64_t captured = ld__step_capture(step, __builtin_frame_address(0), ld__step_now(), depth_limit);

	last_result = captured < 0 ? (int)-captured : 0;
	id = (uint32_t)captured;
	if (last_result) {
		__atomic_fetch_add(&handed_over, 1, __ATOMIC_RELAXED);
		return;
	}
	n = ld__step_last(step, fast, STEP_DEPTH_MAX, &truncated);
	count = unw_backtrace(slow, 300);
	for (skip = 0; skip < count && slow[skip] != __builtin_return_address(0); skip++)
		;
	count -= skip;
	while (count > 0 && !slow[skip + count - 1])
		count--;
	slow_truncated = count > (int)depth_limit;
	if (slow_truncated)
		count = (int)depth_limit;
	__atomic_fetch_add(&compared, 1, __ATOMIC_RELAXED);
	if (n == (uint32_t)count && truncated == slow_truncated &&
	    memcmp(fast, slow + skip, n * sizeof(fast[0])) == 0 && id_leads_to(id, fast, n, truncated))
		return;
	if (__atomic_fetch_add(&differing, 1, __ATOMIC_RELAXED) < 3) {
		fprintf(stderr, "difference (truncated %d %d):\n", truncated, slow_truncated);
		print_difference(fast, n, slow + skip, (uint32_t)count);
	}
}

/* ------------------------------------------------------------------ functions of many shapes */

static __thread int tree_budget;
static __thread uint32_t tree_depth;
typedef uint64_t shape(uint32_t depth, uint64_t a, uint64_t b);
static shape *const shapes[];
static const uint32_t shape_count;

static NOINLINE uint64_t descend(uint32_t depth, uint64_t a, uint64_t b);

#define CALLS(depth, a, b)                                                                          \
	uint64_t sum = (a) ^ (b);                                                                   \
	for (uint32_t calls_ = chance(3) + 1; calls_ > 0; calls_--) {                               \
		if (chance(4) == 0)                                                                 \
			probe();                                                                    \
		sum += descend((depth) + 1, sum, a);                                                \
		sum ^= descend((depth) + 1, b, sum) + calls_;                                       \
	}                                                                                           \
	if (chance(2))                                                                              \
		probe();

#define SHAPE(name, options, before, after)                                                         \
	static NOINLINE __attribute__((optimize options)) uint64_t name(uint32_t depth, uint64_t a, uint64_t b) \
	{                                                                                           \
		before                                                                              \
		CALLS(depth, a, b)                                                                  \
		after                                                                               \
		return sum;                                                                         \
	}
#define TOUCH(array) memset(array, (int)a, sizeof(array)); __asm__ volatile("" : : "r"(array) : "memory");
#define USE_BP                                                                                      \
	uint64_t v0 = a * 3, v1 = b * 5, v2 = a + b, v3 = a - b, v4 = a ^ b, v5 = a * b;            \
	__asm__ volatile("" : "+r"(v0), "+r"(v1), "+r"(v2), "+r"(v3), "+r"(v4), "+r"(v5));
#define USED_BP sum += v0 + v1 + v2 + v3 + v4 + v5;

SHAPE(plain, ("O2"), , )
SHAPE(plain_o0, ("O0"), , )
SHAPE(plain_o1, ("O1"), , )
SHAPE(with_fp, ("O2", "no-omit-frame-pointer"), , )
SHAPE(without_fp, ("O2", "omit-frame-pointer"), USE_BP, USED_BP)
SHAPE(without_fp_small, ("Os", "omit-frame-pointer"), USE_BP, USED_BP)
SHAPE(o0_without_fp, ("O0", "omit-frame-pointer"), , )
SHAPE(o3, ("O3"), USE_BP, USED_BP)
SHAPE(large, ("O2"), uint8_t big[5000]; TOUCH(big), sum += big[depth % 5000];)
SHAPE(large_fp, ("O2", "no-omit-frame-pointer"), uint8_t big[3000]; TOUCH(big), sum += big[depth % 3000];)
SHAPE(with_alloca, ("O2"), uint8_t *p = alloca(16 + chance(600)); p[0] = 1; __asm__ volatile("" : : "r"(p) : "memory");,
      sum += p[0];)
SHAPE(with_alloca_bp, ("O2"), USE_BP uint8_t *p = alloca(1 + chance(60)); p[0] = 1;
      __asm__ volatile("" : : "r"(p) : "memory");, USED_BP sum += p[0];)
SHAPE(with_vla, ("O1"), uint8_t p[1 + chance(300)]; p[0] = 1; __asm__ volatile("" : : "r"(p) : "memory");, sum += p[0];)
SHAPE(realigned, ("O2"), _Alignas(64) uint8_t p[64]; TOUCH(p), sum += p[3];)
SHAPE(realigned_alloca, ("O2"), _Alignas(128) uint8_t p[64]; TOUCH(p) uint8_t *q = alloca(16 + chance(99)); q[0] = 2;
      __asm__ volatile("" : : "r"(q) : "memory");, sum += p[3] + q[0];)

static NOINLINE uint64_t tail(uint32_t depth, uint64_t a, uint64_t b)
{
	if (chance(3) == 0)
		probe();
	return descend(depth + 1, b, a);
}

static NOINLINE uint64_t direct(uint32_t depth, uint64_t a, uint64_t b)
{
	uint64_t sum = depth < tree_depth ? direct(depth + 1, b, a) : 1;

	if (chance(3) == 0)
		probe();
	return sum + a;
}

static __thread jmp_buf *landing;

static NOINLINE uint64_t lands(uint32_t depth, uint64_t a, uint64_t b)
{
	jmp_buf here, *outer = landing;
	volatile uint64_t sum = a;

	if (setjmp(here) == 0) {
		landing = &here;
		sum += descend(depth + 1, b, a);
	}
	landing = outer;
	probe();
	return sum;
}

static NOINLINE uint64_t jumps(uint32_t depth, uint64_t a, uint64_t b)
{
	(void)depth;
	probe();
	if (landing && chance(2))
		longjmp(*landing, 1);
	return a + b;
}

/* Hand-written, with right unwind information, and rbp given another meaning. */
uint64_t asm_frame(uint32_t depth, uint64_t a, uint64_t b);
uint64_t asm_descend(uint32_t depth, uint64_t a, uint64_t b);
#if defined(__x86_64__)
__asm__(".text\n.type asm_frame, @function\nasm_frame:\n.cfi_startproc\n"
	"push %rbx\n.cfi_adjust_cfa_offset 8\n.cfi_rel_offset %rbx, 0\n"
	"push %rbp\n.cfi_adjust_cfa_offset 8\n.cfi_rel_offset %rbp, 0\n"
	"sub $24, %rsp\n.cfi_adjust_cfa_offset 24\n"
	"mov $12345, %rbp\n"
	"call asm_descend\n"
	"add $24, %rsp\n.cfi_adjust_cfa_offset -24\n"
	"pop %rbp\n.cfi_adjust_cfa_offset -8\n.cfi_restore %rbp\n"
	"pop %rbx\n.cfi_adjust_cfa_offset -8\n.cfi_restore %rbx\n"
	"ret\n.cfi_endproc\n.size asm_frame, .-asm_frame\n");
#else
uint64_t asm_frame(uint32_t depth, uint64_t a, uint64_t b)
{
	return asm_descend(depth, a, b);
}
#endif

uint64_t asm_descend(uint32_t depth, uint64_t a, uint64_t b)
{
	return descend(depth, a, b);
}

static shape *const shapes[] = {
	plain, plain_o0, plain_o1, with_fp, without_fp, without_fp_small, o0_without_fp, o3, large, large_fp,
	with_alloca, with_alloca_bp, with_vla, realigned, realigned_alloca, tail, direct, lands, jumps, asm_frame,
};
static const uint32_t shape_count = sizeof(shapes) / sizeof(shapes[0]);

static NOINLINE uint64_t descend(uint32_t depth, uint64_t a, uint64_t b)
{
	if (depth >= tree_depth || tree_budget-- <= 0) {
		probe();
		return a;
	}
	return shapes[chance(shape_count)](depth, a, b) + 1;
}

static NOINLINE void trees(int count)
{
	for (int i = 0; i < count; i++) {
		static const uint32_t limits[] = { 128, 128, 64, 20, 5, 2, 1 };

		if (chance(8) == 0)
			depth_limit = limits[chance(7)];
		tree_depth = 1 + chance(chance(4) ? 24 : 60);
		tree_budget = 40 + (int)chance(400);
		descend(0, 1, 2);
	}
}

static void counters_clear(void)
{
	compared = differing = handed_over = 0;
}

TEST(random_trees_have_the_stacks_that_libunwind_finds)
{
	struct step_counts counts;

	setup();
	counters_clear();
	trees(1500);
	depth_limit = STEP_DEPTH_MAX;
	ld__step_counts(&counts);
	printf("main thread: %" PRIu64 " compared, %" PRIu64 " handed over, %" PRIu64 " frames stepped, %" PRIu64
	       " found unchanged\n", compared, handed_over, counts.stepped, counts.compared);
	EXPECT_TRUE(compared > 200000);
	EXPECT_U64_EQ(differing, 0);
	EXPECT_U64_EQ(handed_over, 0);
	EXPECT_TRUE(counts.compared > counts.stepped);
}

/* ------------------------------------------------------------------ stacks that come back */

#define LEVELS 6u
typedef void way(uint32_t level, uint32_t which);
static way *const ways[LEVELS][2];

static NOINLINE void go(uint32_t level, uint32_t which)
{
	if (level == LEVELS)
		probe();
	else
		ways[level][which >> level & 1](level + 1, which);
	__asm__ volatile("");
}

/* All 64 ways have stack pointers of their own. */
#define WAY(level)                                                                                  \
	static NOINLINE void narrow_##level(uint32_t next, uint32_t which)                          \
	{                                                                                           \
		go(next, which);                                                                    \
		__asm__ volatile("# narrow " #level);                                               \
	}                                                                                           \
	static NOINLINE void wide_##level(uint32_t next, uint32_t which)                            \
	{                                                                                           \
		char pad[32u << (level)];                                                           \
		__asm__ volatile("" : : "r"(pad) : "memory");                                       \
		go(next, which);                                                                    \
		__asm__ volatile("" : : "r"(pad) : "memory");                                       \
	}
WAY(0) WAY(1) WAY(2) WAY(3) WAY(4) WAY(5)
static way *const ways[LEVELS][2] = { { narrow_0, wide_0 }, { narrow_1, wide_1 }, { narrow_2, wide_2 },
				      { narrow_3, wide_3 }, { narrow_4, wide_4 }, { narrow_5, wide_5 } };

static uint64_t frames_stepped(void)
{
	struct step_counts counts;

	ld__step_counts(&counts);
	return counts.stepped;
}

/* Each stack differs from the one before from its outer frames on. */
static NOINLINE void rounds(uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		for (uint32_t which = 0; which < 1u << LEVELS; which++)
			go(0, which);
	}
}

TEST(stacks_that_come_back_are_found_without_a_step)
{
	static const uint32_t parts[3] = { 2, 80, 2 };	/* from one place, or they were other stacks */
	uint64_t stepped[3];

	setup();
	counters_clear();
	depth_limit = STEP_DEPTH_MAX;
	for (int i = 0; i < 3; i++) {
		uint64_t before = frames_stepped();

		rounds(parts[i]);
		stepped[i] = frames_stepped() - before;
	}
	printf("64 stacks twice in turn: %" PRIu64 " frames stepped over at first, %" PRIu64 " later\n", stepped[0],
	       stepped[2]);
	EXPECT_TRUE(stepped[0] > 500 && stepped[2] < stepped[0] / 2);
	EXPECT_U64_EQ(differing, 0);
	EXPECT_U64_EQ(handed_over, 0);
}

static NOINLINE void leaf_of_both(uint32_t times)
{
	while (times-- > 0)
		probe();
	__asm__ volatile("");
}
static NOINLINE void middle_of_both(uint32_t times) { leaf_of_both(times); __asm__ volatile("# middle"); }
static NOINLINE void outer_of_one(uint32_t times) { middle_of_both(times); __asm__ volatile("# one"); }
static NOINLINE void outer_of_two(uint32_t times) { middle_of_both(times); __asm__ volatile("# two"); }

TEST(a_stack_that_differs_far_out_is_not_taken_for_the_one_that_is_known)
{
	uint64_t walks = 0;

	setup();
	counters_clear();
	depth_limit = STEP_DEPTH_MAX;
	for (uint32_t i = 0; i < 5000; i++) {
		outer_of_one(1 + i % 3);
		outer_of_two(1 + i % 2);
		walks += 2 + i % 3 + i % 2;
	}
	EXPECT_U64_EQ(compared, walks);
	EXPECT_U64_EQ(differing, 0);
	EXPECT_U64_EQ(handed_over, 0);
}

#define ALIKE(n) \
	static NOINLINE void alike_##n(void) { middle_of_both(1); __asm__ volatile("# alike " #n); }
ALIKE(0) ALIKE(1) ALIKE(2) ALIKE(3) ALIKE(4) ALIKE(5) ALIKE(6) ALIKE(7) ALIKE(8) ALIKE(9) ALIKE(10) ALIKE(11)
static void (*const alike[12])(void) = { alike_0, alike_1, alike_2, alike_3, alike_4, alike_5,
					 alike_6, alike_7, alike_8, alike_9, alike_10, alike_11 };

/* One stack pointer and three frames that are the same: what tells them apart lies further out than a hash of
 * the innermost two can know. */
TEST(stacks_that_begin_alike_are_found_without_a_step)
{
	uint64_t before = 0;

	setup();
	counters_clear();
	depth_limit = STEP_DEPTH_MAX;
	for (uint32_t i = 0; i < 1100 * 12; i++) {
		if (i == 1000 * 12)
			before = frames_stepped();
		alike[i % 12]();
	}
	EXPECT_TRUE(frames_stepped() - before < 100);
	EXPECT_U64_EQ(differing, 0);
	EXPECT_U64_EQ(handed_over, 0);
}

TEST(another_depth_is_another_stack)
{
	setup();
	counters_clear();
	for (uint32_t i = 0; i < 3000; i++) {
		depth_limit = i / 3 % 2 ? 4 : STEP_DEPTH_MAX;
		outer_of_one(2);
	}
	depth_limit = STEP_DEPTH_MAX;
	EXPECT_U64_EQ(compared, 6000);
	EXPECT_U64_EQ(differing, 0);
}

/* As a hook does it: the frame of a function that is called again and again from one place. */
static NOINLINE bool is_the_last_again(bool capture)
{
	const void *frame = __builtin_frame_address(0);
	bool again = ld__step_again(&last_stack, frame, atomic_load(&ld__step_unloads)) != NULL;

	if (capture)
		last_result = ld__step_capture(step, frame, ld__step_now(), STEP_DEPTH_MAX) < 0;
	return again;
}

/* Bit i: the last stack was found again in round i. */
static NOINLINE uint32_t ask_the_last(void)
{
	uint32_t found = 0;

	for (volatile int round = 0; round < 8; round++) {
		if (round == 2)
			ld__step_stand_aside(true);
		if (round == 3)
			ld__step_stand_aside(false);
		if (round == 5)
			ld__step_change_depth();
		found |= (uint32_t)is_the_last_again(round != 2) << round;
	}
	return found;
}

TEST(the_last_stack_is_not_looked_at_while_hooks_stand_aside_nor_after_the_depth_changed)
{
	uint32_t found = 0;

	setup();
	for (int i = 0; i < 100; i++)
		found = ask_the_last();
	/* after the change two walks learn it anew */
	EXPECT_INT_EQ(found, 0x1b);
	EXPECT_INT_EQ(last_result, 0);
}

static void *tree_thread(void *argument)
{
	random_state += (uint64_t)(uintptr_t)argument * 0x1234567;
	setup();
	trees(150);
	return NULL;
}

TEST(threads_end_where_libunwind_ends)
{
	pthread_t threads[4];

	setup();
	counters_clear();
	for (uintptr_t i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, tree_thread, (void *)(i + 1));
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	EXPECT_TRUE(compared > 50000);
	EXPECT_U64_EQ(differing, 0);
	EXPECT_U64_EQ(handed_over, 0);
}

TEST(a_thread_on_a_stack_of_its_own_choice_is_known_too)
{
	pthread_attr_t attr;
	pthread_t thread;
	void *memory = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	setup();
	counters_clear();
	pthread_attr_init(&attr);
	pthread_attr_setstack(&attr, memory, 1 << 20);
	pthread_create(&thread, &attr, tree_thread, (void *)77);
	pthread_join(thread, NULL);
	munmap(memory, 1 << 20);
	EXPECT_TRUE(compared > 10000);
	EXPECT_U64_EQ(differing, 0);
	EXPECT_U64_EQ(handed_over, 0);
}

static ucontext_t main_context, other_context;
static int other_result;

static void other_stack(void)
{
	probe();
	other_result = last_result;
	trees(2);
}

TEST(another_stack_is_handed_over_and_the_first_one_goes_on)
{
	uint8_t *memory = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	setup();
	for (int i = 0; i < 20; i++) {
		getcontext(&other_context);
		other_context.uc_stack.ss_sp = memory;
		other_context.uc_stack.ss_size = 1 << 20;
		other_context.uc_link = &main_context;
		makecontext(&other_context, other_stack, 0);
		swapcontext(&main_context, &other_context);
		EXPECT_INT_EQ(other_result, 1 + CFI_FOREIGN_STACK);
		counters_clear();
		trees(5);
		EXPECT_U64_EQ(differing, 0);
		EXPECT_U64_EQ(handed_over, 0);
	}
	munmap(memory, 1 << 20);
}

static volatile int handler_result;	/* raise() is declared to call nothing of ours */

static void handler(int sig)
{
	(void)sig;
	probe();
	handler_result = last_result;
}

TEST(a_signal_handler_is_handed_over)
{
	uint8_t *memory = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	stack_t alternative = { .ss_sp = memory, .ss_size = 1 << 16 }, off = { .ss_flags = SS_DISABLE };
	struct sigaction action = { .sa_handler = handler };

	setup();
	sigaction(SIGUSR1, &action, NULL);
	raise(SIGUSR1);
	EXPECT_INT_EQ(handler_result, 1 + CFI_SIGNAL);
	action.sa_flags = SA_ONSTACK;
	sigaltstack(&alternative, NULL);
	sigaction(SIGUSR1, &action, NULL);
	raise(SIGUSR1);
	EXPECT_INT_EQ(handler_result, 1 + CFI_FOREIGN_STACK);
	sigaltstack(&off, NULL);
	signal(SIGUSR1, SIG_DFL);
	munmap(memory, 1 << 16);
}

static NOINLINE void generated_code_calls(void (*call)(void))
{
	/* sub $8, %rsp; call *%rdi; add $8, %rsp; ret - in no module, like a compiler's at run time */
	static const uint8_t code[] = { 0x48, 0x83, 0xec, 0x08, 0xff, 0xd7, 0x48, 0x83, 0xc4, 0x08, 0xc3 };
	void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	memcpy(memory, code, sizeof(code));
	mprotect(memory, 4096, PROT_READ | PROT_EXEC);
	((void (*)(void (*)(void)))memory)(call);
	munmap(memory, 4096);
}

/* In a module, but without a word about its frame. */
void asm_silent(void (*call)(void));
#if defined(__x86_64__)
__asm__(".text\n.type asm_silent, @function\nasm_silent:\n"
	"sub $40, %rsp\ncall *%rdi\nadd $40, %rsp\nret\n.size asm_silent, .-asm_silent\n");
#else
void asm_silent(void (*call)(void))
{
	call();
}
#endif

TEST(code_without_unwind_information_is_handed_over)
{
	setup();
	generated_code_calls(probe);
	EXPECT_INT_EQ(last_result, 1 + CFI_NO_MODULE);
	asm_silent(probe);
	EXPECT_INT_EQ(last_result, 1 + CFI_NO_FDE);
}

TEST(while_a_library_goes_everything_is_handed_over)
{
	struct step_counts before, after;

	setup();
	probe();
	EXPECT_INT_EQ(last_result, 0);
	ld__step_unload_begin();
	probe();
	EXPECT_INT_EQ(last_result, 1 + CFI_UNLOADING);
	ld__step_unload_begin();
	ld__step_unload_end();
	probe();
	EXPECT_INT_EQ(last_result, 1 + CFI_UNLOADING);
	ld__step_counts(&before);
	ld__step_forget(0, UINT64_MAX);
	ld__step_unload_end();
	probe();
	EXPECT_INT_EQ(last_result, 0);
	ld__step_counts(&after);
	EXPECT_TRUE(after.rules > before.rules);
}

static NOINLINE void fresh_thread_probe(uint64_t low, uint64_t high, int expected)
{
	ld__step_set_bounds(step, low, high);
	probe();
	EXPECT_INT_EQ(last_result, expected);
	ld__step_reset(step);
}

TEST(a_walk_stays_inside_the_bounds)
{
	uint64_t here = (uint64_t)(uintptr_t)__builtin_frame_address(0);

	setup();
	probe();
	EXPECT_INT_EQ(last_result, 0);
	/* The outermost frames lie beyond these bounds. */
	fresh_thread_probe(here - 4096, here + 64, 1 + CFI_OUTSIDE);
	probe();
	EXPECT_INT_EQ(last_result, 0);
}

static void nothing(uint64_t here) { (void)here; }
static void lose_outer_frames(uint64_t here) { ld__step_set_bounds(step, here - 4096, here + 64); }
static void begin_unload(uint64_t here) { (void)here; ld__step_unload_begin(); }

/* One and the same call each time, so it is the same stack; what it is found by goes before the last one. */
static NOINLINE void recall_until(void (*end)(uint64_t here), int expected)
{
	void (*volatile before[20])(uint64_t here);
	int results[20];

	for (int i = 0; i < 20; i++)
		before[i] = i < 19 ? nothing : end;
	for (int i = 0; i < 20; i++) {
		before[i]((uint64_t)(uintptr_t)__builtin_frame_address(0));
		probe();
		results[i] = last_result;
	}
	for (int i = 0; i < 20; i++)
		EXPECT_INT_EQ(results[i], i < 19 ? 0 : expected);
}

TEST(a_stack_that_was_just_recalled_is_not_when_the_bounds_change_or_code_goes)
{
	setup();
	trees(50);		/* until the thread is worth the memory for it */
	depth_limit = STEP_DEPTH_MAX;
	recall_until(lose_outer_frames, 1 + CFI_OUTSIDE);
	ld__step_reset(step);
	recall_until(begin_unload, 1 + CFI_UNLOADING);
	ld__step_unload_end();
	probe();
	EXPECT_INT_EQ(last_result, 0);
}

TEST_MAIN()
