/* SPDX-License-Identifier: Apache-2.0
 * more.c - the unit that defines what plain.c only declares. */
#include "fixture.h"

struct peer { int socket; struct peer *next; char name[32]; };

struct peer *make_peer(void);

struct peer *make_peer(void)
{
	struct peer *peer;

	fixture_name("elsewhere");
	peer = fixture_take(sizeof(*peer));
	peer->socket = 3;
	return peer;
}
