/* SPDX-License-Identifier: Apache-2.0
 * listener_list.c - views that subscribe to an event bus and are closed without unsubscribing.
 *
 *   OPEN name     opens a view, which listens to the bus
 *   CLOSE         closes the newest view
 *   PUBLISH n     tells every listener
 *
 * A view counts its references. Its window gives its own back when it is closed, the listener on the
 * bus never does: the list grows by one with every view, and each element keeps a whole view alive.
 *
 *   g_bus -> first -> next -> next -> ...      each listener -> view
 *
 * DRIVE before   20 OPEN view-{n}; CLOSE
 * DRIVE between  50 OPEN view-{n}; CLOSE
 * DRIVE during   PUBLISH 1
 * EXPECT grow size=4096 count=+50 bytes=+204800 row=1
 * EXPECT grow site=bus_subscribe size=24 count=+50
 * EXPECT suspect verdict=growing kind=global holder=g_bus site=view_open count=50 bytes=204800
 * EXPECT chain g_bus -> struct listener -> struct view
 * EXPECT leaks none
 * EXPECT exit 1 */
#include <stdlib.h>

#include "../line_server.h"

struct listener {
	struct listener *next;
	void (*tell)(void *context, int event);
	void *context;
};

struct bus {
	struct listener *first;
	unsigned published;
};

struct view {
	unsigned references;
	unsigned events_seen;
	char name[56];
	unsigned char pixels[4032];
};

static struct bus g_bus;
static struct view *g_windows[16];	/* open ones, newest last */
static size_t g_window_count;

static struct listener *bus_subscribe(struct bus *bus, void (*tell)(void *, int), void *context)
{
	struct listener *listener = malloc(sizeof(*listener));

	if (!listener)
		return NULL;
	listener->tell = tell;
	listener->context = context;
	listener->next = bus->first;
	bus->first = listener;
	return listener;
}

static void bus_unsubscribe(struct bus *bus, struct listener *listener)
{
	struct listener **at = &bus->first;

	while (*at != listener)
		at = &(*at)->next;
	*at = listener->next;
	free(listener);
}

static void bus_publish(struct bus *bus, int event)
{
	bus->published++;
	for (struct listener *listener = bus->first; listener; listener = listener->next)
		listener->tell(listener->context, event);
}

static void view_drop(struct view *view)
{
	if (--view->references == 0)
		free(view);
}

static void view_on_event(void *context, int event)
{
	struct view *view = context;

	view->events_seen++;
	view->pixels[(unsigned)event % sizeof(view->pixels)]++;
}

static struct view *view_open(const char *name)
{
	struct view *view = calloc(1, sizeof(*view));

	if (!view)
		return NULL;
	snprintf(view->name, sizeof(view->name), "%s", name);
	view->references = 1;
	if (!bus_subscribe(&g_bus, view_on_event, view)) {
		free(view);
		return NULL;
	}
	view->references++;		/* the listener's, which nobody gives back */
	return view;
}

static void handle(char *request, char *reply, size_t size)
{
	if (!strncmp(request, "OPEN ", 5) && g_window_count < 16) {
		struct view *view = view_open(request + 5);

		if (view)
			g_windows[g_window_count++] = view;
		else
			snprintf(reply, size, "ERROR no memory");
	} else if (!strcmp(request, "CLOSE") && g_window_count) {
		view_drop(g_windows[--g_window_count]);
		g_windows[g_window_count] = NULL;
	} else if (!strncmp(request, "PUBLISH ", 8)) {
		bus_publish(&g_bus, atoi(request + 8));
	} else {
		snprintf(reply, size, "ERROR what?");
	}
}

int main(void)
{
	if (line_server_open() || line_server_run(handle))
		return 1;
	while (g_window_count)
		view_drop(g_windows[--g_window_count]);
	while (g_bus.first) {
		struct view *view = g_bus.first->context;

		bus_unsubscribe(&g_bus, g_bus.first);
		view_drop(view);
	}
	return 0;
}
