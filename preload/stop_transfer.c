/* SPDX-License-Identifier: Apache-2.0
 * L3  stop_transfer.c - a write that a stop cut short goes on as if nothing had been.
 *
 * A thread that blocks in the middle of a large write or send (or of a receive that waits for all)
 * comes out of it when it is stopped, with the number of bytes moved so far. That is no error, but
 * without signals it never happens, and programs rely on it. So when the thread goes on, it first
 * runs a few instructions of ours, on its own stack below the red zone, that move the rest:
 *
 *   sp -> | number | moved | count | buffer | return to | sp of the call |
 *
 * and return to where the call would have, with the sum. If the second part is cut short by a
 * signal or an error, the sum says so, as the kernel's own count would. A stop during the second part
 * is the same again, one level deeper. */
#include <errno.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/user.h>

#include "kernel.h"
#include "stop_private.h"

#define RED_ZONE 128u

void ld__stop_transfer_rest(void);

__asm__(".text\n"
	".globl ld__stop_transfer_rest\n"
	".hidden ld__stop_transfer_rest\n"
	".type ld__stop_transfer_rest, @function\n"
	"ld__stop_transfer_rest:\n"
	"	pushfq\n"
	"	mov 16(%rsp), %rax\n"		/* moved */
	"	mov 24(%rsp), %rdx\n"		/* count */
	"	mov 32(%rsp), %rsi\n"		/* buffer */
	"	sub %rax, %rdx\n"
	"	add %rax, %rsi\n"
	"	mov 8(%rsp), %rax\n"		/* number */
	"	syscall\n"
	"	test %rax, %rax\n"
	"	jle 1f\n"
	"	add %rax, 16(%rsp)\n"
	"1:	mov 16(%rsp), %rax\n"
	"	mov 24(%rsp), %rdx\n"
	"	mov 32(%rsp), %rsi\n"
	"	popfq\n"
	"	mov 32(%rsp), %rcx\n"		/* a system call may change rcx and r11, no more */
	"	mov 40(%rsp), %rsp\n"
	"	jmp *%rcx\n"
	".size ld__stop_transfer_rest, . - ld__stop_transfer_rest\n");

bool ld__stop_is_cut_short(uint64_t number, int64_t result, uint64_t count, uint64_t flags)
{
	if (result <= 0 || (uint64_t)result >= count)
		return false;
	return number == SYS_write || number == SYS_sendto ||
	       (number == SYS_recvfrom && flags & MSG_WAITALL && !(flags & MSG_PEEK));
}

bool ld__stop_has_signal(struct stop *stop, uint32_t tid)
{
	static const char *const keys[] = { "SigPnd:\t", "ShdPnd:\t", "SigBlk:\t" };
	uint64_t sets[3] = { 0, 0, 0 };
	char text[3072];

	if (ld__stop_read(stop, tid, "status", text, sizeof(text)) <= 0)
		return true;
	for (const char *p = text; *p; p++)
		for (int i = 0; i < 3 && *p == '\n'; i++)
			if (text_starts(p + 1, keys[i])) {
				const char *at = p + 9;

				sets[i] = ld__text_hex(&at);
			}
	return ((sets[0] | sets[1]) & ~sets[2]) != 0;
}

/* Runs in the tracer. Returns whether *registers was changed. */
bool ld__stop_finish_transfer(struct stop *stop, uint32_t tid, struct user_regs_struct *registers)
{
	uint64_t sp = ((registers->rsp - RED_ZONE) & ~15ull) - 48;
	const uint64_t frame[6] = {
		registers->orig_rax, registers->rax, registers->rdx,
		registers->rsi,	     registers->rip, registers->rsp,
	};

	if (!ld__stop_is_cut_short(registers->orig_rax, (int64_t)registers->rax, registers->rdx,
				   registers->r10) ||
	    ld__stop_has_signal(stop, tid))
		return false;		/* a signal cuts it short by right */
	for (size_t i = 0; i < sizeof(frame) / sizeof(frame[0]); i++)
		if (ld__sys4(SYS_ptrace, PTRACE_POKEDATA, tid, sp + i * 8, frame[i]) < 0)
			return false;	/* no room on the stack: the short count stands */
	registers->rsp = sp;
	registers->rip = (uint64_t)(uintptr_t)ld__stop_transfer_rest;
	registers->orig_rax = (unsigned long long)-1;
	return true;
}
