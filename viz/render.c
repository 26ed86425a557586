/* SPDX-License-Identifier: Apache-2.0
 * L2  render.c - graph -> file. The only file that knows gvc.
 *
 *   picture --dot_build--> graph --gvLayout, gvRenderData--> bytes --write, fsync, rename--> path
 *
 * (1) Graphviz renders into memory, never into a file: its own writer ends the process when the disk
 *     is full, and it would leave half a picture under the real name.
 * (2) The file appears under its name only when it is whole; on any failure what was there stays.
 * (3) Graphviz's complaints go into our sentence, not to stderr.
 * (4) The dot text is the graph as built, without a layout: it is for other programs. */
#include "viz.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <graphviz/gvc.h>

#include "core/temporary.h"
#include "core/text.h"
#include "dot.h"

static const struct { const char *graphviz, *name, *package; } formats[] = {
	[VIZ_PNG] = { "png", "PNG", "libgvc6 with its cairo plugin" },
	[VIZ_SVG] = { "svg", "SVG", "libgvc6" },
	[VIZ_DOT] = { "dot", "dot", "libcgraph6" },
};

#ifdef __SANITIZE_ADDRESS__
/* Graphviz, pango and fontconfig free little before the process ends; their leaks hide no others. */
const char *__lsan_default_suppressions(void);

const char *__lsan_default_suppressions(void)
{
	return "leak:libgvc\nleak:libcgraph\nleak:libgvplugin\nleak:libfontconfig\nleak:libpango\n"
	       "leak:libcairo\nleak:libglib-2\nleak:libgobject\n";
}
#endif

/* The first thing that Graphviz complained about; one thread at a time, as viz.h says. */
static char complaint[256];

static int note_complaint(char *message)
{
	size_t length = strlen(complaint);

	if (length + 1 < sizeof(complaint))
		snprintf(complaint + length, sizeof(complaint) - length, "%s", message);
	return 0;
}

/* "; Graphviz said: ..." on one line, or nothing. */
static char *complaint_text(void)
{
	struct text text = { 0 };

	complaint[strcspn(complaint, "\n")] = 0;
	if (*complaint) {
		text_append(&text, "; Graphviz said: ");
		text_append_escaped(&text, complaint);
	}
	return text_take(&text);
}

static void explain(char **ret_error, char *sentence)
{
	if (ret_error)
		*ret_error = sentence;
	else
		free(sentence);
}

/* Render to memory. ret_data is the caller's, to be freed with free(). */
static int render_dot(Agraph_t *graph, char **ret_data, size_t *ret_length)
{
	char *data = NULL;
	size_t length = 0;
	FILE *memory = open_memstream(&data, &length);
	int r;

	if (!memory)
		return -ENOMEM;
	r = agwrite(graph, memory);
	if (fclose(memory) || r) {
		free(data);
		return -ENOMEM;
	}
	*ret_data = data;
	*ret_length = length;
	return 0;
}

static int render_image(Agraph_t *graph, const char *format, char **ret_data, size_t *ret_length)
{
	static GVC_t *gvc;
	char *data = NULL;
	unsigned int length = 0;
	int r = -EIO;

	/* One context for the whole process: the text layout of Graphviz 2.43 keeps a pointer to a
	 * font of the last context and reads it after gvFreeContext(). */
	if (!gvc)
		gvc = gvContext();
	if (!gvc)
		return -ENOMEM;
	if (gvLayout(gvc, graph, "dot") == 0) {
		if (gvRenderData(gvc, graph, format, &data, &length) == 0 && data && length) {
			*ret_data = malloc((size_t)length + 1);
			r = *ret_data ? 0 : -ENOMEM;
			if (*ret_data) {
				memcpy(*ret_data, data, length);
				(*ret_data)[length] = 0;
			}
			*ret_length = length;
		}
		if (data)
			gvFreeRenderData(data);
		gvFreeLayout(gvc, graph);
	}
	return r;
}

static int write_all(int fd, const char *data, size_t length)
{
	while (length) {
		ssize_t n = write(fd, data, length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -ENOSPC;
		data += n;
		length -= (size_t)n;
	}
	return 0;
}

static int write_file(const char *path, const char *data, size_t length)
{
	struct temporary_file file;
	int r = temporary_open(path, &file), finished;

	if (r < 0)
		return r;
	r = write_all(file.fd, data, length);
	finished = temporary_finish(&file, r == 0);
	return r < 0 ? r : finished;
}

int viz_render_data(const struct picture *picture, enum viz_format format, char **ret_data, size_t *ret_length,
		    char **ret_error)
{
	Agraph_t *graph = NULL;
	char *said = NULL;
	agerrlevel_t level;
	agusererrf before;
	int r;

	if ((size_t)format >= sizeof(formats) / sizeof(formats[0])) {
		explain(ret_error, text_format("no such picture format: %d", (int)format));
		return -EINVAL;
	}
	*complaint = 0;
	level = agseterr(AGERR);
	before = agseterrf(note_complaint);

	r = dot_build(picture, &graph);
	if (r < 0) {
		explain(ret_error, text_format("cannot build the picture: %s", strerror(-r)));
		goto done;
	}
	if (format == VIZ_DOT)
		r = render_dot(graph, ret_data, ret_length);
	else
		r = render_image(graph, formats[format].graphviz, ret_data, ret_length);
	if (r < 0) {
		said = complaint_text();
		explain(ret_error, text_format("Graphviz could not draw the %s picture%s (it needs %s)",
					       formats[format].name, said ? said : "",
					       formats[format].package));
	}
done:
	agseterrf(before);
	agseterr(level);
	if (graph)
		agclose(graph);
	free(said);
	return r;
}

int viz_render(const struct picture *picture, enum viz_format format, const char *path,
	       char **ret_error)
{
	char *data = NULL;
	size_t length = 0;
	int r = viz_render_data(picture, format, &data, &length, ret_error);

	if (r < 0)
		return r;
	r = write_file(path, data, length);
	if (r < 0)
		explain(ret_error, text_format("cannot write the picture %s: %s", path, strerror(-r)));
	free(data);
	return r;
}
