/* SPDX-License-Identifier: Apache-2.0
 * L0  stop_filter.h - does a filter of system calls (seccomp) end whoever makes the calls that only we make? */
#ifndef LEAKDIFF_STOP_FILTER_H
#define LEAKDIFF_STOP_FILTER_H

#include <stdbool.h>

/* Agent only, while the threads run. The answer is remembered until the agent has got another filter; to
 * find it takes a forked child, as cheap or dear as the process is small or large. proc_fd: /proc. */
bool ld__stop_filter_is_deadly(int proc_fd);

#endif
