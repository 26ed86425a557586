/* SPDX-License-Identifier: Apache-2.0
 * test_config.c - settings: what is understood holds, what is not costs one line and nothing else.
 *
 * The settings are read once in a process, so every case reads them in a child of its own. */
#include "preload/config.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

static char said[4096];

/* Read the settings of `variables` ("NAME=value", ends with NULL) in a child, let it check them.
 * Returns whether the check held; what was said on standard error is in `said`. */
static bool read_in_child(char **variables, bool (*check)(const struct config *config))
{
	int fds[2], status = 0;
	ssize_t n, length = 0;
	pid_t child;

	if (pipe(fds) < 0)
		return false;
	child = fork();
	if (!child) {
		dup2(fds[1], STDERR_FILENO);
		close(fds[0]);
		close(fds[1]);
		clearenv();
		for (char **v = variables; *v; v++)
			putenv(*v);
		ld__config_read();
		_exit(check(ld__config()) ? 0 : 1);
	}
	close(fds[1]);
	while ((n = read(fds[0], said + length, sizeof(said) - 1 - (size_t)length)) > 0)
		length += n;
	said[length] = 0;
	close(fds[0]);
	waitpid(child, &status, 0);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

#define READ(check, ...) read_in_child((char *[]){ __VA_ARGS__, NULL }, check)

static bool is_default(const struct config *c)
{
	return c->mode == CONFIG_FULL && c->start_on && !c->every_ns && !c->at_rss_bytes &&
	       !c->at_rss_percent && !c->at_exit && c->depth == 64 && c->ring_events == 4096 &&
	       c->python == CONFIG_PYTHON_AUTO && !c->values && !c->signal && !c->log && !c->budget_ppm &&
	       !*c->wrappers;
}

TEST(empty_environment_gives_the_defaults_in_silence)
{
	EXPECT(READ(is_default, "PATH=/bin", "LEAKDIFF_DEPTH="));
	EXPECT_STR_EQ(said, "");
}

static bool all_set(const struct config *c)
{
	return c->mode == CONFIG_LITE && !c->start_on && c->every_ns == 90000000000ull &&
	       c->at_rss_bytes == 2ull << 30 && c->at_exit && c->depth == 128 &&
	       c->ring_events == 1024 && c->python == CONFIG_PYTHON_OBJECTS && c->values &&
	       c->signal == 12 && c->log == 1 && c->max_pause_ns == 50000000 && c->budget_ppm == 12500 &&
	       !strcmp(c->wrappers, "take;pool::get<int, 4>");
}

TEST(every_setting_is_understood)
{
	EXPECT(READ(all_set, "LEAKDIFF_MODE=lite", "LEAKDIFF_START=off", "LEAKDIFF_EVERY=90s",
		    "LEAKDIFF_AT_RSS=2G", "LEAKDIFF_AT_EXIT=1", "LEAKDIFF_DEPTH=128",
		    "LEAKDIFF_RING=1000", "LEAKDIFF_PYTHON=objects", "LEAKDIFF_VALUES=1",
		    "LEAKDIFF_SIGNAL=12", "LEAKDIFF_LOG=1", "LEAKDIFF_MAX_PAUSE=50ms",
		    "LEAKDIFF_BUDGET=1.25%", "LEAKDIFF_WRAPPERS=take;pool::get<int, 4>"));
	EXPECT_STR_EQ(said, "");
}

static bool percent(const struct config *c)
{
	return c->at_rss_percent == 80 && !c->at_rss_bytes && c->every_ns == 300000000000ull;
}

TEST(percentages_and_minutes_are_understood)
{
	EXPECT(READ(percent, "LEAKDIFF_AT_RSS=80%", "LEAKDIFF_EVERY=5m"));
	EXPECT_STR_EQ(said, "");
}

TEST(malformed_settings_name_themselves_and_leave_the_default)
{
	static char *bad[] = { "MODE=Full", "START=yes", "EVERY=soon", "EVERY=-5", "AT_RSS=101%",
			       "AT_RSS=2X", "AT_EXIT=2", "DEPTH=0", "DEPTH=129", "DEPTH=12x",
			       "RING=255", "RING=99999999999999999999", "PYTHON=maybe", "VALUES=on",
			       "SIGNAL=9", "SIGNAL=65", "LOG=7", "MAX_PAUSE=1 s",
			       "WRAPPERS=a\tb", "BUDGET=1", "BUDGET=0%", "BUDGET=0.00001%", "BUDGET=100.1%", "BUDGET=1.%%" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		char variable[64], name[32], expected[64];

		snprintf(variable, sizeof(variable), "LEAKDIFF_%s", bad[i]);
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(bad[i], "="), bad[i]);
		snprintf(expected, sizeof(expected), "libleakdiff: LEAKDIFF_%s takes ", name);
		EXPECT(READ(is_default, variable));
		EXPECT_CONTAINS(said, expected);
		EXPECT_CONTAINS(said, "; the default holds\n");
		EXPECT(strchr(said, '\n') == said + strlen(said) - 1);
	}
}

TEST(unknown_setting_is_said_to_be_ignored)
{
	EXPECT(READ(is_default, "LEAKDIFF_DETPH=5"));
	EXPECT_CONTAINS(said, "LEAKDIFF_DETPH is no setting");
}

static char folder[] = "/tmp/leakdiff-test-XXXXXX", variable[128], inner[96];

static bool folder_is_inner(const struct config *c)
{
	struct stat st;

	return !strcmp(c->folder, inner) && !stat(inner, &st) && (st.st_mode & 0777) == 0700;
}

static bool folder_is_other(const struct config *c)
{
	return strcmp(c->folder, inner) != 0;
}

TEST(folder_is_made_for_us_alone_and_never_taken_from_a_stranger)
{
	ASSERT_NOT_NULL(mkdtemp(folder));
	snprintf(inner, sizeof(inner), "%s/mine", folder);
	snprintf(variable, sizeof(variable), "LEAKDIFF_DIR=%s/", inner);
	EXPECT(READ(folder_is_inner, variable));
	EXPECT_STR_EQ(said, "");
	EXPECT_INT_EQ(rmdir(inner), 0);

	EXPECT_INT_EQ(symlink("/tmp", inner), 0);
	EXPECT(READ(folder_is_other, variable));
	EXPECT_CONTAINS(said, "it is a symbolic link");
	EXPECT_INT_EQ(unlink(inner), 0);

	EXPECT_INT_EQ(mkdir(inner, 0700), 0);
	EXPECT_INT_EQ(chmod(inner, 0777), 0);
	EXPECT(READ(folder_is_other, variable));
	EXPECT_CONTAINS(said, "others may write to it");
	EXPECT_INT_EQ(rmdir(inner), 0);

	if (getuid() == 0) {
		EXPECT_INT_EQ(mkdir(inner, 0700), 0);
		EXPECT_INT_EQ(chown(inner, 65534, 65534), 0);
		EXPECT(READ(folder_is_other, variable));
		EXPECT_CONTAINS(said, "owned by somebody else");
		EXPECT_INT_EQ(rmdir(inner), 0);
	}
	EXPECT_INT_EQ(rmdir(folder), 0);
}

TEST_MAIN()
