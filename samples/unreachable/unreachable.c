/* SPDX-License-Identifier: Apache-2.0
 * unreachable.c - a server that loses requests: nothing points to them any more.
 *
 *   GET path      parses, answers, frees
 *   BAD path      parses, refuses, and returns without freeing: the request and its path are lost
 *   TREE          builds a parent and a child that point to each other, and drops both
 *
 * The request is lost directly; its path is lost with it (indirectly: the request still points to
 * it). Of a lost cycle no member is direct, each is held by the other.
 *
 * DRIVE before    5 BAD /early/{n}
 * DRIVE between  20 BAD /index/{n}
 * DRIVE between  10 TREE
 * DRIVE between  20 GET /index/{n}
 * DRIVE during   GET /index
 * EXPECT grow site=parse_request size=528 count=+20 bytes=+10560
 * EXPECT suspect verdict=unreachable kind=none site=parse_request count>=19
 * EXPECT suspect verdict=unreachable kind=none site=tree_new count>=18
 * EXPECT leaks site=parse_request size=528 count>=24 direct
 * EXPECT leaks site=tree_new count>=18
 * EXPECT exit 1 */
#include <stdlib.h>

#include "../line_server.h"

struct request {
	char *path;
	unsigned verb;
	unsigned char headers[512];
};

struct tree {
	struct tree *parent, *child;
	char name[112];
};

static struct request *parse_request(const char *path)
{
	struct request *request = calloc(1, sizeof(*request));

	if (!request)
		return NULL;
	request->path = strdup(path);
	if (!request->path) {
		free(request);
		return NULL;
	}
	return request;
}

static void request_free(struct request *request)
{
	free(request->path);
	free(request);
}

static struct tree *tree_new(struct tree *parent, const char *name)
{
	struct tree *tree = calloc(1, sizeof(*tree));

	if (!tree)
		return NULL;
	snprintf(tree->name, sizeof(tree->name), "%s", name);
	tree->parent = parent;
	if (parent)
		parent->child = tree;
	return tree;
}

/* Its own stack frame: what it leaves in it is written over by the next request. */
__attribute__((noinline)) static int serve(const char *path, int is_bad)
{
	struct request *request = parse_request(path);
	size_t length;

	if (!request)
		return -ENOMEM;
	length = strlen(request->path);
	if (is_bad)
		return -EINVAL;		/* the way out that forgets */
	request_free(request);
	return (int)length;
}

__attribute__((noinline)) static int plant(void)
{
	struct tree *root = tree_new(NULL, "root");

	return root && tree_new(root, "leaf") ? 0 : -ENOMEM;
}

static void handle(char *request, char *reply, size_t size)
{
	if (!strncmp(request, "GET ", 4) || !strncmp(request, "BAD ", 4)) {
		int length = serve(request + 4, *request == 'B');

		snprintf(reply, size, length < 0 ? "OK refused" : "OK %d", length);
	} else if (!strcmp(request, "TREE")) {
		snprintf(reply, size, plant() == 0 ? "OK" : "ERROR no memory");
	} else {
		snprintf(reply, size, "ERROR what?");
	}
}

int main(void)
{
	return line_server_open() || line_server_run(handle);
}
