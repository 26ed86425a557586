/* SPDX-License-Identifier: Apache-2.0
 * fence.c - run a program behind a filter of system calls, as containers and service managers do:
 *
 *   fence refuse|kill NUMBER... -- PROGRAM ARGUMENT...
 *
 * refuse: those calls fail with EPERM, as in a container of Docker's; kill: they end the process, as with
 * SystemCallFilter= of systemd. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define CALLS_MAX 32

int main(int argc, char **argv)
{
	struct sock_filter filter[CALLS_MAX + 3] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	};
	struct sock_fprog program = { .filter = filter };
	unsigned calls = 0;
	int at = 2;

	while (at < argc && calls < CALLS_MAX && strcmp(argv[at], "--"))
		calls++, at++;
	if (at + 1 >= argc || strcmp(argv[at], "--"))
		return 64;
	for (unsigned i = 0; i < calls; i++)
		filter[1 + i] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)atoi(argv[2 + i]),
							     (unsigned char)(calls - i), 0);
	filter[1 + calls] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	filter[2 + calls] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, strcmp(argv[1], "kill") ?
							 SECCOMP_RET_ERRNO | EPERM : SECCOMP_RET_KILL_PROCESS);
	program.len = (unsigned short)(calls + 3);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) {
		perror("fence");
		return 77;
	}
	execv(argv[at + 1], argv + at + 1);
	perror("fence");
	return 127;
}
