/* SPDX-License-Identifier: Apache-2.0
 * L0  protocol.h - what `leakdiff` and the library in the service say to each other.
 *
 * The library listens on a SOCK_SEQPACKET Unix socket, "<folder>/<pid>.sock" (mode 0600, folder
 * 0700); where it cannot create that, on the abstract name "leakdiff.<pid>". It serves a peer whose
 * uid is 0 or its own effective uid and refuses every other with CONTROL_ERROR. How the folder is
 * found: the process maps "<folder>/<pid>.ring" (the event rings), so the path stands in
 * /proc/PID/maps; <pid> is the number in the process's own pid namespace.
 *
 *   client                         library
 *   struct control_request  ---->
 *   (+ one descriptor for SNAP)
 *                           <----  CONTROL_PROGRESS*  text for a person
 *                           <----  CONTROL_RESULT     "key=value\n"...   or CONTROL_ERROR text
 *   reads the descriptor's other end up to end of file (SNAP)
 *
 * For SNAP the descriptor is the write end of a pipe (or a file): the capture stream goes there.
 * RESULT comes as soon as the service runs again; the stream may still be flowing. */
#ifndef LEAKDIFF_PROTOCOL_H
#define LEAKDIFF_PROTOCOL_H

#include <stdint.h>

#define CONTROL_MAGIC 0x4b43444cu	/* "LDCK" */
#define CONTROL_VERSION 1u
#define CONTROL_MESSAGE_MAX 4096u
#define CONTROL_SOCKET_SUFFIX ".sock"
#define CONTROL_RING_SUFFIX ".ring"
#define CONTROL_ABSTRACT_PREFIX "leakdiff."

enum control_command {
	CONTROL_SNAP = 1,		/* take a snapshot; keys of the result: pause_ns, stop_ns, fork_ns, blocks, bytes, lost_events, consistent, folder, number, name */
	CONTROL_STATUS,			/* state, mode, blocks, bytes, lost_events, own_bytes, folder, name, predicted_pause_ns */
	CONTROL_ON,			/* start recording */
	CONTROL_OFF,			/* stop recording; the live table is kept but goes stale, and is marked so */
};

enum control_reply {
	CONTROL_PROGRESS = 1,
	CONTROL_RESULT,
	CONTROL_ERROR,			/* one sentence: what is wrong and what to do */
};

struct control_request {
	uint32_t magic, version;
	uint32_t command;		/* enum control_command */
	uint32_t flags;
	uint64_t max_pause_ns;		/* refuse when the predicted pause is longer; 0 = no limit */
	uint64_t timeout_ns;		/* bounded waits (stop, GIL); 0 = default */
};

struct control_message {		/* followed by text, not NUL-terminated, up to CONTROL_MESSAGE_MAX */
	uint32_t magic;
	uint32_t reply;			/* enum control_reply */
};

#endif
