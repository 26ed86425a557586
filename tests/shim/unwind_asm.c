/* SPDX-License-Identifier: Apache-2.0
 * unwind_asm.c - callbacks that allocate, called by hand-written code: with unwind information, with a
 * CFA on another register, with rbp as data, without a word, and generated at run time. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

typedef void call_function(void (*callback)(void));

#if defined(__x86_64__)
call_function asm_plain, asm_bp_is_data, asm_on_rbx, asm_silent, asm_silent_bp;
__asm__(".text\n"
	".type asm_plain, @function\nasm_plain:\n.cfi_startproc\n"
	"sub $40, %rsp\n.cfi_adjust_cfa_offset 40\ncall *%rdi\nadd $40, %rsp\n.cfi_adjust_cfa_offset -40\n"
	"ret\n.cfi_endproc\n.size asm_plain, .-asm_plain\n"

	".type asm_bp_is_data, @function\nasm_bp_is_data:\n.cfi_startproc\n"
	"push %rbp\n.cfi_adjust_cfa_offset 8\n.cfi_rel_offset %rbp, 0\nmov $77, %rbp\n"
	"call *%rdi\npop %rbp\n.cfi_adjust_cfa_offset -8\n.cfi_restore %rbp\n"
	"ret\n.cfi_endproc\n.size asm_bp_is_data, .-asm_bp_is_data\n"

	".type asm_on_rbx, @function\nasm_on_rbx:\n.cfi_startproc\n"
	"push %rbx\n.cfi_adjust_cfa_offset 8\n.cfi_rel_offset %rbx, 0\nmov %rsp, %rbx\n"
	".cfi_def_cfa_register %rbx\nsub $64, %rsp\nand $-64, %rsp\ncall *%rdi\nmov %rbx, %rsp\n"
	".cfi_def_cfa_register %rsp\npop %rbx\n.cfi_adjust_cfa_offset -8\n.cfi_restore %rbx\n"
	"ret\n.cfi_endproc\n.size asm_on_rbx, .-asm_on_rbx\n"

	".type asm_silent, @function\nasm_silent:\n"
	"sub $24, %rsp\ncall *%rdi\nadd $24, %rsp\nret\n.size asm_silent, .-asm_silent\n"

	".type asm_silent_bp, @function\nasm_silent_bp:\n"
	"push %rbp\nmov %rsp, %rbp\nsub $32, %rsp\ncall *%rdi\nleave\nret\n.size asm_silent_bp, .-asm_silent_bp\n");
#endif

static volatile int counter;

static __attribute__((noinline)) void allocate(void)
{
	void *volatile block = malloc((size_t)(10 + counter++ % 20));

	free(block);
}

static __attribute__((noinline)) void nest(call_function *call, int depth, void (*callback)(void))
{
	uint8_t room[64];

	memset(room, depth, sizeof(room));
	__asm__ volatile("" : : "r"(room) : "memory");
	if (depth > 0)
		nest(call, depth - 1, callback);
	else
		call(callback);
	allocate();
}

int main(void)
{
#if defined(__x86_64__)
	static const uint8_t code[] = { 0x48, 0x83, 0xec, 0x08, 0xff, 0xd7, 0x48, 0x83, 0xc4, 0x08, 0xc3 };
	uint8_t *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	call_function *generated = (call_function *)(void *)memory;
	call_function *const calls[] = { asm_plain, asm_bp_is_data, asm_on_rbx, asm_silent, asm_silent_bp, generated };

	memcpy(memory, code, sizeof(code));
	mprotect(memory, 4096, PROT_READ | PROT_EXEC);
	for (int i = 0; i < 3000; i++)
		nest(calls[i % 6], i % 11, allocate);
#endif
	puts("done");
	return 0;
}
