/* SPDX-License-Identifier: Apache-2.0
 * L2  cmd_run.c - leakdiff run -- CMD: start CMD under the library, become it. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cmd.h"
#include "core/text.h"

#define JEMALLOC_NAME "libjemalloc.so.2"
#define LIBRARY_NAME "libleakdiff.so"

static const char *folder, *mode, *budget, *every, *at_rss;
static struct cmd_list wrappers;
static bool at_exit, off;
static struct sigaction inherited_sigpipe, inherited_sigxfsz;

/* main() ignores these signals for our own sake; CMD gets what we were given. */
__attribute__((constructor)) static void remember_signals(void)
{
	sigaction(SIGPIPE, NULL, &inherited_sigpipe);
	sigaction(SIGXFSZ, NULL, &inherited_sigxfsz);
}

/* Folder of this program, without a slash at the end; NULL when memory is short. */
static char *own_folder(void)
{
	char path[PATH_MAX], *slash;
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

	if (n <= 0)
		return strdup(".");
	path[n] = 0;
	slash = strrchr(path, '/');
	if (slash)
		*slash = 0;
	return strdup(path);
}

/* The library beside the program, as built and as installed. Owned by the caller, NULL = not found. */
static char *find_library(void)
{
	static const char *const places[] = {
		"../lib/" LIBRARY_NAME, "../lib/x86_64-linux-gnu/" LIBRARY_NAME, "../lib64/" LIBRARY_NAME, LIBRARY_NAME,
	};
	const char *chosen = getenv("LEAKDIFF_LIB");
	char *here;

	if (chosen)
		return realpath(chosen, NULL);
	here = own_folder();
	for (size_t i = 0; here && i < sizeof(places) / sizeof(places[0]); i++) {
		char *path = text_format("%s/%s", here, places[i]);
		char *real = path ? realpath(path, NULL) : NULL;

		free(path);
		if (real) {
			free(here);
			return real;
		}
	}
	free(here);
	return NULL;
}

static int set(const char *name, const char *value)
{
	return setenv(name, value, 1) < 0
		       ? cmd_trouble("%s cannot be set: %s", name, strerror(errno))
		       : 0;
}

static int set_preload(void)
{
	char *library = find_library(), *all;
	const char *old = getenv("LD_PRELOAD");
	int r;

	if (!library)
		return cmd_trouble("%s was not found beside this program; say where it is with "
				   "LEAKDIFF_LIB=PATH",
				   LIBRARY_NAME);
	if (strpbrk(library, " :")) {
		r = cmd_trouble("%s: the dynamic linker takes no path with a blank or a colon in "
				"LD_PRELOAD",
				library);
		free(library);
		return r;
	}
	all = old && *old ? text_format("%s:%s", library, old) : strdup(library);
	r = all ? set("LD_PRELOAD", all) : cmd_trouble("not enough memory");
	free(all);
	free(library);
	return r;
}

/* Where the dynamic linker would find jemalloc; NULL = nowhere that we know of. */
static const char *find_jemalloc(void)
{
	static const char *const folders[] = { "/usr/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu", "/usr/local/lib",
					       "/usr/lib64", "/usr/lib" };
	static char path[64];

	for (size_t i = 0; i < sizeof(folders) / sizeof(*folders); i++) {
		snprintf(path, sizeof(path), "%s/" JEMALLOC_NAME, folders[i]);
		if (access(path, R_OK) == 0)
			return path;
	}
	return NULL;
}

static bool is_preloaded(const char *name)
{
	const char *list = getenv("LD_PRELOAD");

	return list && strstr(list, name);
}

/* Mode sample: jemalloc's profiler must be there and on from the first instruction. A program that brings its
 * own jemalloc keeps it, since a library is loaded once; what MALLOC_CONF says already stays and wins. */
static int set_jemalloc(void)
{
	const char *library = find_jemalloc(), *preload = getenv("LD_PRELOAD"), *conf = getenv("MALLOC_CONF");
	char *all;
	int r = 0;

	if (library && !is_preloaded("jemalloc")) {
		all = text_format("%s:%s", preload ? preload : "", library);
		r = all ? set("LD_PRELOAD", all) : cmd_trouble("not enough memory");
		free(all);
	}
	if (r)
		return r;
	all = text_format("prof:true,prof_active:%s%s%s", off ? "false" : "true", conf && *conf ? "," : "",
			  conf ? conf : "");
	r = all ? set("MALLOC_CONF", all) : cmd_trouble("not enough memory");
	free(all);
	return r;
}

/* The service may change its directory: the folder must be absolute. */
static int set_folder(void)
{
	char *here, *path;
	int r;

	if (!folder)
		return 0;
	if (folder[0] == '/')
		return set("LEAKDIFF_DIR", folder);
	here = getcwd(NULL, 0);
	path = here ? text_format("%s/%s", here, folder) : NULL;
	r = path ? set("LEAKDIFF_DIR", path)
		 : cmd_trouble("the current folder cannot be named: %s", strerror(errno));
	free(path);
	free(here);
	return r;
}

static bool is_percentage(const char *text)
{
	size_t whole = strspn(text, "0123456789"), part = text[whole] == '.' ? 1 + strspn(text + whole + 1, "0123456789") : 0;
	double percent = strtod(text, NULL);

	return whole && !strcmp(text + whole + part, "%") && percent >= 0.0001 && percent <= 100;
}

static int check_settings(void)
{
	uint64_t number;
	char *end;

	if (mode && strcmp(mode, "full") && strcmp(mode, "lite") && strcmp(mode, "sample"))
		return cmd_usage(&cmd_run, "--mode takes full, lite or sample, not '%s'", mode);
	if (budget && !is_percentage(budget))
		return cmd_usage(&cmd_run, "--budget takes a percentage such as 1%% or 0.5%%, not '%s'", budget);
	if (budget && !mode)
		mode = "lite";
	if (every && (text_parse_duration(every, &number) < 0 || number == 0))
		return cmd_usage(&cmd_run, "--every takes a time such as 90s, 5m or 1h, not '%s'",
				 every);
	if (at_rss && text_parse_size(at_rss, &number) < 0) {
		unsigned long percent = strtoul(at_rss, &end, 10);

		if (end == at_rss || strcmp(end, "%") || percent < 1 || percent > 100)
			return cmd_usage(&cmd_run,
					 "--at-rss takes a size such as 2G or a percentage such as "
					 "80%%, not '%s'",
					 at_rss);
	}
	return 0;
}

static int set_wrappers(void)
{
	struct text all = { 0 };
	char *names;
	int r;

	for (size_t i = 0; i < wrappers.count; i++)
		text_printf(&all, "%s%s", i ? ";" : "", wrappers.items[i]);
	names = text_take(&all);
	r = names ? set("LEAKDIFF_WRAPPERS", names) : cmd_trouble("not enough memory");
	free(names);
	return r;
}

static int set_environment(void)
{
	int r = set_preload();

	if (!r)
		r = set_folder();
	if (!r && mode)
		r = set("LEAKDIFF_MODE", mode);
	if (!r && mode && !strcmp(mode, "sample"))
		r = set_jemalloc();
	if (!r && budget)
		r = set("LEAKDIFF_BUDGET", budget);
	if (!r && every)
		r = set("LEAKDIFF_EVERY", every);
	if (!r && at_rss)
		r = set("LEAKDIFF_AT_RSS", at_rss);
	if (!r && at_exit)
		r = set("LEAKDIFF_AT_EXIT", "1");
	if (!r && wrappers.count)
		r = set_wrappers();
	if (!r && off)
		r = set("LEAKDIFF_START", "off");
	return r;
}

/* The file that execvp() will run; NULL = none. Owned by the caller. */
static char *find_command(const char *command)
{
	const char *path = getenv("PATH");

	if (strchr(command, '/'))
		return strdup(command);
	for (const char *at = path ? path : "/bin:/usr/bin"; *at;) {
		size_t length = strcspn(at, ":");
		char *file = text_format("%.*s/%s", (int)length, at, command);

		if (file && access(file, X_OK) == 0)
			return file;
		free(file);
		at += length + (at[length] == ':');
	}
	return NULL;
}

/* Why the library will not be loaded into this program, or NULL. */
static const char *obstacle(const char *command)
{
	char *file = find_command(command);
	int fd = file ? open(file, O_RDONLY | O_CLOEXEC) : -1;
	const char *why = NULL;
	struct stat st;
	Elf64_Ehdr head;
	Elf64_Phdr part;
	bool interpreter = false;

	if (fd < 0)
		goto done;
	if (fstat(fd, &st) == 0 && (((st.st_mode & S_ISUID) && st.st_uid != geteuid()) ||
				    ((st.st_mode & S_ISGID) && st.st_gid != getegid())))
		why = "changes its user when it starts";
	if (pread(fd, &head, sizeof(head), 0) != sizeof(head) ||
	    memcmp(head.e_ident, ELFMAG, SELFMAG))
		goto done;
	if (head.e_ident[EI_CLASS] != ELFCLASS64 || head.e_machine != EM_X86_64) {
		why = "is built for another kind of machine than the library";
		goto done;
	}
	for (unsigned i = 0; i < head.e_phnum && !interpreter; i++)
		interpreter = pread(fd, &part, sizeof(part),
				    (off_t)(head.e_phoff + i * sizeof(part))) == sizeof(part) &&
			      part.p_type == PT_INTERP;
	if (!interpreter)
		why = "is statically linked";
done:
	if (fd >= 0)
		close(fd);
	free(file);
	return why;
}

static int run(int argc, char **argv)
{
	const char *why;
	int r;

	if (argc < 1)
		return cmd_usage(&cmd_run, "give a command to run");
	r = check_settings();
	if (!r)
		r = set_environment();
	if (r)
		return r;
	why = obstacle(argv[0]);
	if (why)
		fprintf(stderr,
			"leakdiff: %s %s: the library cannot enter it, nothing is recorded\n",
			argv[0], why);
	sigaction(SIGPIPE, &inherited_sigpipe, NULL);
	sigaction(SIGXFSZ, &inherited_sigxfsz, NULL);
	execvp(argv[0], argv);
	return cmd_trouble("%s cannot be run: %s", argv[0], strerror(errno));
}

static const struct cmd_option options[] = {
	{ "output", 'o', CMD_STRING, "DIR", "folder for snapshots, socket and event rings",
	  &folder },
	{ "mode", 0, CMD_STRING, "MODE", "full (default), lite or sample", &mode },
	{ "budget", 0, CMD_STRING, "PERCENT", "processor time that recording may take; implies mode lite", &budget },
	{ "every", 0, CMD_STRING, "TIME", "take a snapshot in this interval", &every },
	{ "at-rss", 0, CMD_STRING, "SIZE",
	  "take a snapshot when resident memory reaches 2G, or 80% of the limit", &at_rss },
	{ "at-exit", 0, CMD_FLAG, NULL, "take a snapshot when the program ends", &at_exit },
	{ "wrapper", 0, CMD_LIST, "NAME", "a function that only hands on what it allocates: its callers are the sites", &wrappers },
	{ "off", 0, CMD_FLAG, NULL, "begin dormant, until leakdiff on PID", &off },
	{ .name = NULL },
};

const struct cmd cmd_run = {
	.name = "run",
	.synopsis = "run [-o DIR] [--mode full|lite|sample] [--budget 1%] [--every 60s] [--at-rss 80%|2G] "
		    "[--at-exit] [--wrapper NAME]... [--off] -- CMD ...",
	.summary = "start a program under the library",
	.detail = "The exit status and signals are those of CMD.",
	.options = options,
	.run = run,
	.stop_at_word = true,
};
