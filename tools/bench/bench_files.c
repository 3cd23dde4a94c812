/* What a test file costs the runner: N files with one empty test each, run with a journal on the disk of /var/tmp. The floor is what Lua
 * itself takes for them: a state, its libraries, the file compiled and executed.
 *
 *   bench_files BINDIR [ROUNDS [FILES]]
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <lauxlib.h>
#include <lualib.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "proto/mem.h"

#define ROUNDS_MAX 99

extern char **environ;

static const char *top;

static void die(const char *what)
{
	fprintf(stderr, "bench_files: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void write_text(const char *path, const char *text)
{
	FILE *file = fopen(path, "we");

	if (file == NULL || fputs(text, file) < 0 || fclose(file) != 0)
		die(path);
}

static char *path_of(int i)
{
	return pv_xasprintf("%s/tests/f%04d.test.lua", top, i);
}

static void prepare(int n)
{
	char *dir = pv_xasprintf("%s/tests", top), *toml = pv_xasprintf("%s/provium.toml", top);

	if (mkdir(dir, 0700) != 0)
		die(dir);
	write_text(toml, "[profiles.default]\nkernel = \"k\"\ninitrd = \"i\"\ncmdline = \"quiet\"\n");
	for (int i = 0; i < n; i++) {
		char *path = path_of(i);

		write_text(path, "test(\"empty\", function() end)\n");
		free(path);
	}
	free(dir);
	free(toml);
}

static int nothing(lua_State *L)
{
	(void)L;
	return 0;
}

static double bare_lua(int n)
{
	double start = now_ms();

	for (int i = 0; i < n; i++) {
		char *path = path_of(i);
		lua_State *L = luaL_newstate();

		if (L == NULL)
			die("luaL_newstate");
		luaL_openlibs(L);
		lua_register(L, "test", nothing);
		if (luaL_dofile(L, path))
			die(path);
		lua_close(L);
		free(path);
	}
	return (now_ms() - start) / n;
}

static double provium_run(const char *bindir, int round, const char *durability, int n)
{
	char *program = pv_xasprintf("%s/provium", bindir), *config = pv_xasprintf("%s/provium.toml", top);
	char *journal = pv_xasprintf("--journal=%s/run-%s-%d", top, durability, round);
	char *tests = pv_xasprintf("%s/tests", top), *how = pv_xasprintf("--durability=%s", durability);
	char *const argv[] = { program,
		               (char *)(uintptr_t) "run",
		               (char *)(uintptr_t) "--quiet",
		               (char *)(uintptr_t) "--no-preflight",
		               (char *)(uintptr_t) "--jobs=1",
		               (char *)(uintptr_t) "--psi-threshold=0",
		               (char *)(uintptr_t) "--config",
		               config,
		               journal,
		               how,
		               tests,
		               NULL };
	posix_spawn_file_actions_t actions;
	double start;
	pid_t pid;
	int status;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	start = now_ms();
	if (posix_spawn(&pid, program, &actions, NULL, argv, environ) != 0 || waitpid(pid, &status, 0) != pid ||
	    status != 0)
		die("provium run");
	posix_spawn_file_actions_destroy(&actions);
	free(program);
	free(config);
	free(journal);
	free(tests);
	free(how);
	return (now_ms() - start) / n;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values, size_t n)
{
	qsort(values, n, sizeof(*values), compare);
	return values[n / 2];
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

int main(int argc, char **argv)
{
	static char top_template[] = "/var/tmp/provium-bench.XXXXXX";
	static const char *const durabilities[] = { "batch", "sync", "none" };
	double lua[ROUNDS_MAX], run[3][ROUNDS_MAX], bare;
	int rounds = argc > 2 ? atoi(argv[2]) : 5, n = argc > 3 ? atoi(argv[3]) : 1000;

	if (argc < 2 || rounds < 1 || rounds > ROUNDS_MAX || n < 1) {
		fprintf(stderr, "usage: bench_files BINDIR [ROUNDS [FILES]]\n");
		return 2;
	}
	top = mkdtemp(top_template);
	if (top == NULL)
		die("mkdtemp");
	setenv("XDG_CACHE_HOME", top, 1);
	prepare(n);
	for (int i = 0; i < rounds; i++) {
		lua[i] = bare_lua(n);
		for (size_t d = 0; d < 3; d++)
			run[d][i] = provium_run(argv[1], i, durabilities[d], n);
	}
	bare = median(lua, (size_t)rounds);
	printf("%-34s %13s %13s %6s  (medians of %d rounds of %d files)\n", "figure", "provium", "bare Lua", "ratio",
	       rounds, n);
	for (size_t d = 0; d < 3; d++) {
		char *name = pv_xasprintf("empty test files, ms a file (%s)", durabilities[d]);
		double value = median(run[d], (size_t)rounds);

		printf("%-34s %10.3f ms %10.3f ms %6.1f\n", name, value, bare, value / bare);
		free(name);
	}
	nftw(top, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	return 0;
}
