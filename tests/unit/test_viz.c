/* SPDX-License-Identifier: Apache-2.0
 * L0  test_viz.c - pictures: what they say, hostile names, and files that cannot be written.
 *
 * What a picture says is read from its SVG, where every line of a label is a <text> element. */
#include "test.h"

#include <errno.h>
#include <signal.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/picture.h"
#include "core/text.h"
#include "viz.h"

#define MIB (1024 * 1024ull)

static char folder[64];

static const char *in_folder(const char *name)
{
	static char path[128];

	if (!*folder) {
		strcpy(folder, "/tmp/test_viz.XXXXXX");
		if (!mkdtemp(folder))
			abort();
	}
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

__attribute__((destructor)) static void clean(void)
{
	static const char *const names[] = { "p.png", "p.svg", "p.dot", "old.png" };

	for (size_t i = 0; *folder && i < sizeof(names) / sizeof(names[0]); i++)
		unlink(in_folder(names[i]));
	if (*folder && rmdir(folder) < 0)
		fprintf(stderr, "%s is not empty: a temporary file was left behind\n", folder);
}

static char *read_whole(const char *path, size_t *ret_length)
{
	FILE *file = fopen(path, "rb");
	char *data = calloc(1, 8 * MIB);
	size_t length;

	if (!file || !data) {
		free(data);
		return NULL;
	}
	length = fread(data, 1, 8 * MIB - 1, file);
	fclose(file);
	if (ret_length)
		*ret_length = length;
	return data;
}

/* The motivating case: g_cache -> table -> [*] entries -> bodies. */
static struct picture *cache_picture(void)
{
	struct picture *picture = picture_new("30 new blocks of 1 MiB are held by g_cache");

	if (!picture)
		abort();
	picture->subtitle = strdup("http_cache (pid 4711)");
	picture_add_node(picture, &(struct picture_node){ .type = (char *)"global in http_cache",
		.name = (char *)"g_cache", .role = PICTURE_ROOT });
	picture_add_node(picture, &(struct picture_node){ .type = (char *)"struct table", .count = 1,
		.bytes = 65536, .retained_bytes = 42 * MIB, .role = PICTURE_ACCUMULATES });
	picture_add_node(picture, &(struct picture_node){ .type = (char *)"struct entry", .count = 40,
		.bytes = 40 * 96, .new_count = 30, .new_bytes = 30 * 96 });
	picture_add_node(picture, &(struct picture_node){ .type = (char *)"char[1048576]", .count = 40,
		.bytes = 40 * MIB, .new_count = 30, .new_bytes = 30 * MIB, .role = PICTURE_GREW,
		.detail = (char *)"allocated by handle_put http_cache.c:201" });
	(void)!picture_add_edge(picture, &(struct picture_edge){ 0, 1, NULL, 1, 42 * MIB, false });
	(void)!picture_add_edge(picture,
		&(struct picture_edge){ 1, 2, (char *)"buckets[*]", 40, 41 * MIB, false });
	(void)!picture_add_edge(picture,
		&(struct picture_edge){ 2, 3, (char *)"body", 40, 40 * MIB, true });
	picture_leave_out(picture, "12 blocks below %s are not shown.", "1 KiB");
	return picture;
}

/* Render and read back; NULL after a failure that was reported. */
static char *rendered(const struct picture *picture, enum viz_format format, size_t *ret_length)
{
	static const char *const names[] = { "p.png", "p.svg", "p.dot" };
	const char *path = in_folder(names[format]);
	char *error = NULL;
	int r = viz_render(picture, format, path, &error);

	if (EXPECT_INT_EQ(r, 0))
		fprintf(stderr, "  %s\n", error);
	free(error);
	return r ? NULL : read_whole(path, ret_length);
}

TEST(png_has_the_magic_and_a_readable_size)
{
	struct picture *picture = cache_picture();
	size_t length = 0;
	char *data = rendered(picture, VIZ_PNG, &length);
	const unsigned char *header = (const unsigned char *)data;

	ASSERT_NOT_NULL(data);
	EXPECT(length > 1000 && !memcmp(data, "\x89PNG\r\n\x1a\n", 8));
	uint32_t width = (uint32_t)(header[18] << 8 | header[19]);
	uint32_t height = (uint32_t)(header[22] << 8 | header[23]);

	EXPECT(width > 300 && width < 1200);
	EXPECT(height > 300 && height < 1600);
	free(data);
	picture_free(picture);
}

TEST(svg_says_names_types_counts_sizes_and_what_is_new)
{
	static const char *const said[] = {
		"30 new blocks of 1 MiB are held by g_cache", "http_cache (pid 4711)", ">g_cache<",
		">struct table<", "holds 42 MiB", "40 \xc3\x97 1 MiB = 40 MiB", "+30 new, 30 MiB",
		"buckets[*] \xc3\x97 40", "allocated by handle_put http_cache.c:201",
		"12 blocks below 1 KiB are not shown.",
	};
	struct picture *picture = cache_picture();
	char *svg = rendered(picture, VIZ_SVG, NULL);

	ASSERT_NOT_NULL(svg);
	for (char *at = svg; (at = strstr(at, "&#160;")); at++)
		memcpy(at, "      ", 6);
	for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++)
		if (!strstr(svg, said[i]))
			TEST_FAIL_("the picture does not say \"%s\"", said[i]);
	EXPECT(strstr(svg, "stroke-dasharray") != NULL);	/* the conservative edge */
	free(svg);
	picture_free(picture);
}

TEST(legend_lists_the_roles_that_are_drawn_and_no_others)
{
	struct picture *picture = cache_picture();
	char *svg = rendered(picture, VIZ_SVG, NULL);

	ASSERT_NOT_NULL(svg);
	EXPECT(strstr(svg, "root: a variable") != NULL);
	EXPECT(strstr(svg, "accumulation point") != NULL);
	EXPECT(strstr(svg, ">what grew") != NULL);
	EXPECT(strstr(svg, "unreachable:") == NULL);
	EXPECT(strstr(svg, "more, not drawn") == NULL);
	free(svg);

	picture->nodes[2].role = PICTURE_UNREACHABLE;
	picture->nodes[1].role = PICTURE_CUT;
	svg = rendered(picture, VIZ_SVG, NULL);
	ASSERT_NOT_NULL(svg);
	EXPECT(strstr(svg, "unreachable:") != NULL);
	EXPECT(strstr(svg, "more, not drawn") != NULL);
	EXPECT(strstr(svg, "accumulation point") == NULL);
	free(svg);
	picture_free(picture);
}

TEST(a_picture_of_one_snapshot_does_not_speak_of_growth)
{
	struct picture *picture = cache_picture();
	char *svg;

	for (size_t i = 0; i < picture->node_count; i++)
		picture->nodes[i].new_count = picture->nodes[i].new_bytes = 0;
	svg = rendered(picture, VIZ_SVG, NULL);
	ASSERT_NOT_NULL(svg);
	EXPECT(strstr(svg, "what grew") == NULL);
	EXPECT(strstr(svg, ">what was asked for") != NULL);
	free(svg);
	picture_free(picture);
}

TEST(roles_differ_in_fill_and_in_shape_or_border)
{
	char *look[PICTURE_CUT + 1], *shape[PICTURE_CUT + 1];

	for (int role = 0; role <= PICTURE_CUT; role++) {
		struct picture *picture = picture_new("one node");
		char *dot, *start;

		picture_add_node(picture, &(struct picture_node){ .type = (char *)"x",
			.role = (enum picture_role)role });
		dot = rendered(picture, VIZ_DOT, NULL);
		ASSERT_NOT_NULL(dot);
		start = strstr(dot, "fillcolor=");
		look[role] = start ? strndup(start, strcspn(start, ",")) : strdup("?");
		start = strstr(dot, "peripheries=");
		char *style = strstr(start ? start : dot, "shape=");

		shape[role] = start && style ? text_format("%.*s %.*s", 14, start, 40, style) : strdup("?");
		free(dot);
		picture_free(picture);
	}
	for (int a = 0; a <= PICTURE_CUT; a++)
		for (int b = 0; b < a; b++) {
			if (!strcmp(look[a], look[b]))
				TEST_FAIL_("roles %d and %d have the same fill %s", a, b, look[a]);
			if (!strcmp(shape[a], shape[b]))
				TEST_FAIL_("roles %d and %d have the same shape %s", a, b, shape[a]);
		}
	for (int a = 0; a <= PICTURE_CUT; a++) {
		free(look[a]);
		free(shape[a]);
	}
}

/* A picture whose every string is `name`. */
static struct picture *named_picture(const char *name)
{
	struct picture *picture = picture_new(name);

	if (!picture)
		abort();
	picture->subtitle = strdup(name);
	for (int i = 0; i < 2; i++)
		picture_add_node(picture, &(struct picture_node){ .type = (char *)name,
			.name = (char *)name, .detail = (char *)name, .count = 2, .bytes = 64,
			.role = i ? PICTURE_GREW : PICTURE_ROOT });
	(void)!picture_add_edge(picture, &(struct picture_edge){ 0, 1, (char *)name, 2, 64, false });
	picture_leave_out(picture, "%s", name);
	return picture;
}

TEST(hostile_names_appear_as_they_are_and_never_as_markup)
{
	/* what memory holds, and how an SVG viewer must be told to show it */
	static const struct { const char *name, *shown; } cases[] = {
		{ "<b>bold</b>", "&lt;b&gt;bold&lt;/b&gt;" },
		{ "]]></TABLE><x>", "]]&gt;&lt;/TABLE&gt;&lt;x&gt;" },
		{ "a \"quoted\" name", "a &quot;quoted&quot; name" },
		{ "T&& x & y", "T&amp;&amp; x &amp; y" },
		{ "\\N \\G \\T \\\\", "\\N \\G \\T \\\\" },
		{ "line\nbreak\ttab", "line\\x0abreak\\x09tab" },
		{ "red \x1b[31m", "red \\x1b[31m" },
		{ "invalid \xff\xc0\x80", "invalid \\xff\\xc0\\x80" },
		{ "caf\xc3\xa9 \xe6\x97\xa5", "caf\xc3\xa9 \xe6\x97\xa5" },
		{ "&lt;", "&amp;\xe2\x81\xa0lt;" },
		{ "&#60;script&#62;", "&amp;\xe2\x81\xa0#60;script&amp;\xe2\x81\xa0#62;" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct picture *picture = named_picture(cases[i].name);
		char *svg = rendered(picture, VIZ_SVG, NULL), *bare;
		size_t count = 0;

		ASSERT_NOT_NULL(svg);
		/* title, subtitle, two nodes (type = name: one line) with detail, edge, left out */
		bare = text_format(">%s<", cases[i].shown);
		for (char *at = svg; (at = strstr(at, "&#160;")); )
			memmove(at, at + 6, strlen(at + 6) + 1);
		for (const char *at = svg; (at = strstr(at, bare)); at++)
			count++;
		if (count < 7)
			TEST_FAIL_("\"%s\" is shown %zu times as \"%s\"", cases[i].name, count, bare);
		free(bare);
		free(svg);
		picture_free(picture);
	}
}

TEST(dot_text_contains_the_escaped_name)
{
	struct picture *picture = named_picture("f<\"x\">\n\\l");
	char *dot = rendered(picture, VIZ_DOT, NULL);

	ASSERT_NOT_NULL(dot);
	EXPECT_CONTAINS(dot, "<B>f&lt;&quot;x&quot;&gt;\\\\x0a\\\\l</B>");
	EXPECT_CONTAINS(dot, "tooltip=\"f<\\\"x\\\">\\\\x0a\\\\l");
	free(dot);
	picture_free(picture);
}

TEST(every_byte_and_a_name_of_10_kb_render_in_every_format)
{
	char *name = malloc(10001);

	for (int i = 0; i < 10000; i++)
		name[i] = (char)(i % 255 + 1);
	name[10000] = '\0';
	struct picture *picture = named_picture(name);

	for (int format = VIZ_PNG; format <= VIZ_DOT; format++) {
		size_t length = 0;
		char *data = rendered(picture, (enum viz_format)format, &length);

		ASSERT_NOT_NULL(data);
		EXPECT(length > 500);
		if (format == VIZ_PNG)		/* a long name does not make a large picture */
			EXPECT((unsigned char)data[18] << 8 < 2000 && (unsigned char)data[22] << 8 < 2000);
		free(data);
	}
	free(name);
	picture_free(picture);
}

TEST(long_names_lose_their_middle_in_the_node_and_nothing_in_the_tooltip)
{
	char name[301];
	struct picture *picture;
	char *svg;

	memset(name, 'm', 300);
	memcpy(name, "begin", 5);
	memcpy(name + 296, "end.", 4);
	name[300] = '\0';
	picture = named_picture(name);
	svg = rendered(picture, VIZ_SVG, NULL);
	ASSERT_NOT_NULL(svg);
	EXPECT_CONTAINS(svg, "\xe2\x80\xa6");
	const char *tip = strstr(svg, "xlink:title=\"beginmmm");

	ASSERT_NOT_NULL(tip);
	tip = strstr(svg, "<g id=\"node1\"");
	ASSERT_NOT_NULL(tip);
	EXPECT(strstr(tip, name) != NULL);
	free(svg);
	picture_free(picture);
}

TEST(a_picture_too_large_to_read_is_cut_and_says_so)
{
	struct picture *picture = picture_new("wide");
	char *svg;
	size_t nodes = 0;

	picture_add_node(picture, &(struct picture_node){ .type = (char *)"list", .name = (char *)"g",
		.role = PICTURE_ROOT });
	for (uint32_t i = 1; i <= 1000; i++) {
		picture_add_node(picture, &(struct picture_node){ .type = (char *)"leaf", .count = 1 });
		(void)!picture_add_edge(picture, &(struct picture_edge){ .from = 0, .to = i });
	}
	svg = rendered(picture, VIZ_SVG, NULL);
	ASSERT_NOT_NULL(svg);
	for (const char *at = svg; (at = strstr(at, "class=\"node\"")); at++)
		nodes++;
	EXPECT(nodes > 5 && nodes < 100);
	char *sentence = text_format("%zu more nodes and %zu more references", 1001 - nodes, 1001 - nodes);

	EXPECT_CONTAINS(svg, sentence);
	free(sentence);
	free(svg);
	picture_free(picture);
}

TEST(a_chain_of_64_nodes_is_drawn_whole)
{
	struct picture *picture = picture_new("chain");
	char *svg;

	for (uint32_t i = 0; i < 64; i++) {
		picture_add_node(picture, &(struct picture_node){ .type = (char *)"node", .count = 1,
			.role = i == 0 ? PICTURE_ROOT : i == 63 ? PICTURE_GREW : PICTURE_PLAIN });
		if (i)
			(void)!picture_add_edge(picture, &(struct picture_edge){ .from = i - 1, .to = i });
	}
	svg = rendered(picture, VIZ_SVG, NULL);
	ASSERT_NOT_NULL(svg);
	EXPECT(strstr(svg, "id=\"node64\"") != NULL);
	EXPECT(strstr(svg, "Not shown") == NULL);
	free(svg);
	picture_free(picture);
}

TEST(an_empty_picture_and_a_cycle_render)
{
	struct picture *picture = picture_new("nothing grew");
	char *svg;

	free(rendered(picture, VIZ_PNG, NULL));
	(void)!picture_leave_out(picture, "not one suspect");
	svg = rendered(picture, VIZ_SVG, NULL);
	ASSERT_NOT_NULL(svg);
	EXPECT_CONTAINS(svg, "nothing grew");
	EXPECT_CONTAINS(svg, "not one suspect");
	EXPECT(!strstr(svg, "Not shown"));
	free(svg);
	for (uint32_t i = 0; i < 3; i++)
		picture_add_node(picture, &(struct picture_node){ .role = PICTURE_UNREACHABLE });
	for (uint32_t i = 0; i < 3; i++)
		(void)!picture_add_edge(picture, &(struct picture_edge){ .from = i, .to = (i + 1) % 3 });
	(void)!picture_add_edge(picture, &(struct picture_edge){ .from = 1, .to = 1 });
	free(rendered(picture, VIZ_PNG, NULL));
	picture_free(picture);
}

TEST(an_edge_to_a_node_that_is_not_there_is_refused)
{
	struct picture *picture = cache_picture();
	char *error = NULL;

	picture->edges[0].to = 99;
	EXPECT_INT_EQ(viz_render(picture, VIZ_DOT, in_folder("p.dot"), &error), -EINVAL);
	EXPECT_CONTAINS(error, "cannot build the picture");
	free(error);
	picture_free(picture);
}

TEST(a_missing_folder_is_named_in_the_sentence)
{
	struct picture *picture = cache_picture();
	char *error = NULL;

	EXPECT_INT_EQ(viz_render(picture, VIZ_DOT, "/nonexistent/leak.dot", &error), -ENOENT);
	EXPECT_STR_EQ(error, "cannot write the picture /nonexistent/leak.dot: No such file or directory");
	free(error);
	picture_free(picture);
}

TEST(a_folder_that_refuses_files_keeps_the_old_picture)
{
	struct picture *picture = cache_picture();
	char *error = NULL, *old;

	/* The folder of processes refuses new files even to root. */
	EXPECT(viz_render(picture, VIZ_DOT, "/proc/leak.dot", &error) < 0);
	EXPECT_CONTAINS(error, "cannot write the picture /proc/leak.dot: ");
	free(error);
	error = NULL;

	if (geteuid() != 0) {
		FILE *file = fopen(in_folder("old.png"), "w");

		ASSERT_NOT_NULL(file);
		fputs("old", file);
		fclose(file);
		chmod(folder, 0500);
		EXPECT_INT_EQ(viz_render(picture, VIZ_PNG, in_folder("old.png"), &error), -EACCES);
		EXPECT_CONTAINS(error, "Permission denied");
		chmod(folder, 0700);
		old = read_whole(in_folder("old.png"), NULL);
		EXPECT_STR_EQ(old, "old");
		free(old);
		free(error);
	}
	picture_free(picture);
}

TEST(a_full_disk_keeps_the_old_picture_and_leaves_no_temporary_file)
{
	struct picture *picture = cache_picture();
	struct rlimit before, small;
	char *error = NULL, *old;
	FILE *file;

	EXPECT_INT_EQ(viz_render(picture, VIZ_PNG, "/dev/full", &error), -ENOSPC);
	EXPECT_STR_EQ(error, "cannot write the picture /dev/full: No space left on device");
	free(error);
	error = NULL;

	/* A limit on the size of files ends a write in the middle, as a disk does that fills up. */
	file = fopen(in_folder("old.png"), "w");
	ASSERT_NOT_NULL(file);
	fputs("old", file);
	fclose(file);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &before);
	small = before;
	small.rlim_cur = 100;
	setrlimit(RLIMIT_FSIZE, &small);
	EXPECT_INT_EQ(viz_render(picture, VIZ_PNG, in_folder("old.png"), &error), -EFBIG);
	setrlimit(RLIMIT_FSIZE, &before);
	EXPECT_CONTAINS(error, "File too large");
	free(error);
	old = read_whole(in_folder("old.png"), NULL);
	EXPECT_STR_EQ(old, "old");
	free(old);
	picture_free(picture);
	/* clean() finds the folder empty afterwards, or says so */
}

TEST_MAIN()
