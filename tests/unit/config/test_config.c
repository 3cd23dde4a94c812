#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/run/config_internal.h"
#include "proto/mem.h"
#include "vmctl/hostfile.h"

#define MINIMAL "[profiles.a]\nkernel = \"k\"\ninitrd = \"i\"\ncmdline = \"quiet\"\n"

/* ---- a home of our own for each test, which is also the current directory ---- */

static char home[64];
static const char *const variables[] = { "XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "PROVIUM_OVERLAY",
	                                 "PROVIUM_RERUN_STATE" };

static int setup(void **state)
{
	(void)state;
	strcpy(home, "/tmp/provium-config-XXXXXX");
	if (!mkdtemp(home) || chdir(home))
		return -1;
	for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++)
		unsetenv(variables[i]);
	return setenv("HOME", home, 1);
}

static int teardown(void **state)
{
	(void)state;
	return chdir("/") || pv_hostfile_remove_tree(home, NULL);
}

static void put(const char *path, const char *text)
{
	char *copy = pv_xstrdup(path);
	FILE *file;

	for (char *slash = strchr(copy, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(copy, 0777);
		*slash = '/';
	}
	free(copy);
	file = fopen(path, "we");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

/* "<home>/<name>" in a static ring. */
static const char *at_home(const char *name)
{
	static char ring[8][256];
	static size_t at;
	char *out = ring[at++ % 8];

	snprintf(out, sizeof(ring[0]), "%s/%s", home, name);
	return out;
}

static struct pv_config load(const char *path)
{
	struct pv_errmsg msg = { 0 };
	struct pv_config config;

	if (pv_config_load(path, true, &config, &msg))
		fail_msg("%s", msg.text);
	return config;
}

/* ---- values ---- */

static void test_load__defaults(void **state)
{
	struct pv_config config;
	const struct pv_profile *profile;

	(void)state;
	put("provium.toml", MINIMAL);
	config = load(NULL);
	assert_string_equal(config.path, at_home("provium.toml"));
	assert_int_equal(config.n_roots, 0);
	assert_string_equal(config.cache_dir, at_home(".cache/provium/fixtures"));
	assert_string_equal(config.run_dir, at_home(".local/state/provium/runs"));
	assert_int_equal(config.cache_max_bytes, (uint64_t)20 << 30);
	assert_false(config.cache_by_content);
	assert_int_equal(config.n_profiles, 1);
	profile = pv_config_profile(&config, "a");
	assert_string_equal(profile->kernel, at_home("k"));
	assert_string_equal(profile->initrd, at_home("i"));
	assert_string_equal(profile->cmdline, "quiet");
	assert_true(profile->inject_agent);
	assert_null(profile->modules);
	assert_int_equal(profile->memory_bytes, 256 << 20);
	assert_int_equal(profile->cpus, 1);
	assert_string_equal(profile->machine, "pc");
	assert_string_equal(profile->accel, "auto");
	assert_string_equal(profile->qemu, "qemu-system-x86_64");
	assert_true(profile->net);
	assert_null(pv_config_profile(&config, "b"));
	assert_non_null(strstr(config.agent, "/provium-agent"));
	pv_config_free(&config);
}

static void test_load__every_key(void **state)
{
	struct pv_config config;
	const struct pv_profile *profile;

	(void)state;
	put("sub/my.toml", "[provium]\nroots = [\"tests\", \"./more//\", \"/abs\"]\ncache_dir = \"cache\"\n"
	                   "cache_max_size = \"3M\"\ncache_identity = \"content\"\nrun_dir = \"/runs\"\nsigning_key = \"keys/run.pem\"\n"
	                   "[profiles.z]\nkernel = \"/k\"\ninitrd = \"i\"\ncmdline = \"c\"\nguest_os = \"linux\"\n"
	                   "inject_agent = false\nagent_overlay_path = \"o\"\nmodules = \"m\"\nmemory = 134217728\n"
	                   "cpus = 4\nmachine = \"q35\"\naccel = \"tcg\"\nqemu = \"bin/qemu\"\nnet = \"none\"\n"
	                   "[profiles.\"a b\"]\nkernel = \"k\"\ninitrd = \"i\"\ncmdline = \"c\"\nmemory = \"64M\"\n");
	config = load("sub/my.toml");
	assert_string_equal(config.path, at_home("sub/my.toml"));
	assert_int_equal(config.n_roots, 3);
	assert_string_equal(config.roots[0], at_home("sub/tests"));
	assert_string_equal(config.roots[1], at_home("sub/more"));
	assert_string_equal(config.roots[2], "/abs");
	assert_string_equal(config.cache_dir, at_home("sub/cache"));
	assert_int_equal(config.cache_max_bytes, 3 << 20);
	assert_true(config.cache_by_content);
	assert_string_equal(config.run_dir, "/runs");
	assert_string_equal(config.signing_key, at_home("sub/keys/run.pem"));
	assert_int_equal(config.n_profiles, 2);
	assert_string_equal(config.profiles[0].name, "a b");
	assert_int_equal(config.profiles[0].memory_bytes, 64 << 20);
	profile = &config.profiles[1];
	assert_string_equal(profile->name, "z");
	assert_string_equal(profile->kernel, "/k");
	assert_false(profile->inject_agent);
	assert_string_equal(profile->agent_overlay, at_home("sub/o"));
	assert_string_equal(profile->modules, at_home("sub/m"));
	assert_int_equal(profile->memory_bytes, 128 << 20);
	assert_int_equal(profile->cpus, 4);
	assert_string_equal(profile->machine, "q35");
	assert_string_equal(profile->accel, "tcg");
	assert_string_equal(profile->qemu, at_home("sub/bin/qemu"));
	assert_false(profile->net);
	pv_config_free(&config);
}

/* ---- errors: file and line first, and what is wrong ---- */

#define PROFILE(line) "[profiles.a]\nkernel = \"k\"\ninitrd = \"i\"\ncmdline = \"c\"\n" line "\n"

static const struct {
	const char *text;
	const char *words[3];
} broken[] = {
	{ "[provium]\nroot = []\n", { "provium.toml:2: unknown key \"root\" in [provium]", "\"roots\"?" } },
	{ "[provium]\nxyzzy = 1\n", { "provium.toml:2: ", "known are roots, cache_dir" } },
	{ PROFILE("kernal = \"x\""), { "provium.toml:5: unknown key \"kernal\" in [profiles.a]", "\"kernel\"?" } },
	{ "\n[profile.a]\n", { "provium.toml:2: unknown key \"profile\" at the top", "\"profiles\"?" } },
	{ "memory = 1\n", { "provium.toml:1: unknown key \"memory\" at the top" } },
	{ "provium = 3\n", { "provium.toml:1: provium must be a table [provium]" } },
	{ "profiles = 3\n", { "provium.toml:1: ", "[profiles.NAME]" } },
	{ "[profiles]\nkernel = \"x\"\n", { "provium.toml:2: profiles.kernel must be a table" } },
	{ "[profiles.\"\"]\n", { "provium.toml:1: a profile needs a name" } },
	{ "[provium]\nroots = \"x\"\n",
	  { "provium.toml:2: roots in [provium] must be an array of paths, not a string" } },
	{ "[provium]\nroots = [ \"x\", 3 ]\n",
	  { "provium.toml:2: roots in [provium] must be a string, not an integer" } },
	{ "[provium]\ncache_dir = \"\"\n", { "provium.toml:2: cache_dir in [provium] must not be blank" } },
	{ "[provium]\ncache_dir = 1979-05-27\n", { "cache_dir in [provium] must be a string, not a datetime" } },
	{ "[provium]\ncache_max_size = \"20X\"\n",
	  { "provium.toml:2: cache_max_size in [provium] is no size", "20X" } },
	{ "[provium]\ncache_max_size = -1\n", { "must not be negative" } },
	{ "[provium]\ncache_max_size = 1.5\n", { "must be a size", "not a float" } },
	{ "[provium]\ncache_identity = \"mtime\"\n", { "must be \"stat\" or \"content\", not \"mtime\"" } },
	{ "[profiles.a]\nkernel = \"k\"\ninitrd = \"i\"\n",
	  { "provium.toml:1: [profiles.a] lacks the key \"cmdline\"" } },
	{ "[profiles.a]\ninitrd = \"i\"\ncmdline = \"c\"\n", { "lacks the key \"kernel\"" } },
	{ "[profiles.a]\nkernel = \"k\"\ninitrd = \"i\"\ncmdline = \" \\t\"\n",
	  { "provium.toml:4: cmdline in [profiles.a] must not be blank" } },
	{ PROFILE("cmdline = \"d\""), { "provium.toml:5: " } }, /* twice */
	{ PROFILE("machine = \"a\\u0000b\""), { "machine in [profiles.a] has a NUL" } },
	{ PROFILE("guest_os = \"plan9\""), { "guest_os in [profiles.a] must be \"linux\", not \"plan9\"" } },
	{ PROFILE("accel = \"hvf\""), { "must be \"auto\" or \"kvm\" or \"tcg\", not \"hvf\"" } },
	{ PROFILE("accel = true"), { "must be a string, not a boolean" } },
	{ PROFILE("net = \"user\""), { "must be \"none\" or \"auto\", not \"user\"" } },
	{ PROFILE("inject_agent = \"yes\""), { "inject_agent in [profiles.a] must be true or false, not a string" } },
	{ PROFILE("memory = 512"), { "memory in [profiles.a] is only 512 B", "\"512M\"" } },
	{ PROFILE("memory = \"lots\""), { "memory in [profiles.a] is no size" } },
	{ PROFILE("cpus = 0"), { "cpus in [profiles.a] must be from 1 to 255, not 0" } },
	{ PROFILE("cpus = \"2\""), { "cpus in [profiles.a] must be an integer, not a string" } },
	{ "[provium\n", { "provium.toml:1: " } },
	{ "\n\nx = = 1\n", { "provium.toml:3: " } },
};

static void test_load__errors(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		struct pv_errmsg msg = { 0 };
		struct pv_config config;

		put("provium.toml", broken[i].text);
		if (pv_config_load(NULL, true, &config, &msg) != PV_ERR_INVAL)
			fail_msg("case %zu: not refused with PV_ERR_INVAL: %s", i, msg.text);
		for (size_t j = 0; j < 3 && broken[i].words[j]; j++)
			if (!strstr(msg.text, broken[i].words[j]))
				fail_msg("case %zu: \"%s\" lacks \"%s\"", i, msg.text, broken[i].words[j]);
	}
}

static void test_load__missing_explicit_file(void **state)
{
	struct pv_errmsg msg = { 0 };
	struct pv_config config;

	(void)state;
	assert_int_equal(pv_config_load("other.toml", false, &config, &msg), PV_ERR_NOENT);
	assert_non_null(strstr(msg.text, "other.toml"));
}

/* ---- the default guest ---- */

#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void test_guest__gives_the_profile_default(void **state)
{
	struct pv_config config;

	(void)state;
	put(".local/share/provium/guest/guest.json",
	    "{ \"format\": 1, \"release\": \"6.1\", \"modules\": true, "
	    "\"kernel_sha256\": \"" HASH "\", \"initrd_sha256\": \"" HASH "\" }");
	config = load(NULL);
	assert_null(config.path);
	assert_int_equal(config.n_profiles, 1);
	assert_string_equal(config.profiles[0].name, "default");
	assert_string_equal(config.profiles[0].kernel, at_home(".local/share/provium/guest/vmlinuz"));
	assert_string_equal(config.profiles[0].modules, at_home(".local/share/provium/guest/modules"));
	assert_non_null(strstr(config.profiles[0].cmdline, "console=ttyS0"));
	pv_config_free(&config);
	/* also for a file that has no profiles, and never for one that has */
	put("provium.toml", "[provium]\nroots = [\"t\"]\n");
	config = load(NULL);
	assert_int_equal(config.n_roots, 1);
	assert_string_equal(config.profiles[0].name, "default");
	pv_config_free(&config);
	put("provium.toml", MINIMAL);
	config = load(NULL);
	assert_null(pv_config_profile(&config, "default"));
	pv_config_free(&config);
}

static void test_guest__not_built(void **state)
{
	struct pv_errmsg msg = { 0 };
	struct pv_config config;

	(void)state;
	assert_int_equal(pv_config_load(NULL, true, &config, &msg), PV_ERR_NOENT);
	assert_non_null(strstr(msg.text, "provium guest build"));
	assert_non_null(strstr(msg.text, "provium init"));
	assert_int_equal(pv_config_load(NULL, false, &config, &msg), PV_OK);
	assert_string_equal(config.profiles[0].name, "default");
	assert_string_equal(config.profiles[0].kernel, "");
	pv_config_free(&config);
}

/* ---- places ---- */

static void check_xdg(enum pv_xdg base, const char *expected)
{
	struct pv_errmsg msg;
	char *path;

	assert_int_equal(pv_config_xdg(base, "x", &path, &msg), PV_OK);
	assert_string_equal(path, expected);
	free(path);
}

static void test_xdg__variables_and_home(void **state)
{
	struct pv_errmsg msg = { 0 };
	char *path;

	(void)state;
	check_xdg(PV_XDG_DATA, at_home(".local/share/provium/x"));
	setenv("XDG_DATA_HOME", "/data", 1);
	check_xdg(PV_XDG_DATA, "/data/provium/x");
	setenv("XDG_DATA_HOME", "relative", 1);
	check_xdg(PV_XDG_DATA, at_home(".local/share/provium/x"));
	setenv("XDG_DATA_HOME", "", 1);
	check_xdg(PV_XDG_DATA, at_home(".local/share/provium/x"));
	unsetenv("HOME");
	assert_int_equal(pv_config_xdg(PV_XDG_DATA, "x", &path, &msg), PV_ERR_NOENT);
	assert_non_null(strstr(msg.text, "XDG_DATA_HOME"));
}

static void check_rerun(const char *expected)
{
	char *path = pv_config_rerun_path();

	assert_string_equal(path, expected);
	free(path);
}

static void test_rerun__path(void **state)
{
	(void)state;
	check_rerun(at_home(".cache/provium/rerun.json"));
	setenv("PROVIUM_RERUN_STATE", "state.json", 1);
	check_rerun("state.json");
	unsetenv("PROVIUM_RERUN_STATE");
	unsetenv("HOME");
	check_rerun("/tmp/provium-rerun.json");
}

static void check_overlay(const char *bindir, const char *expected)
{
	char *path = pv_config_find_overlay(bindir);

	if (expected)
		assert_string_equal(path, expected);
	else
		assert_null(path);
	free(path);
}

static void test_overlay__order(void **state)
{
	const char *bindir = at_home("p/q/bin");
	struct pv_config config;

	(void)state;
	put("p/q/bin/provium", "");
	check_overlay(bindir, NULL);
	put("dist/agent-overlay.cpio.gz", "");
	check_overlay(bindir, at_home("dist/agent-overlay.cpio.gz"));
	put("p/dist/agent-overlay.cpio.gz", "");
	check_overlay(bindir, at_home("p/dist/agent-overlay.cpio.gz"));
	put("p/q/share/provium/agent-overlay.cpio.gz", "");
	check_overlay(bindir, at_home("p/q/bin/../share/provium/agent-overlay.cpio.gz"));
	setenv("PROVIUM_OVERLAY", "/not/there", 1);
	check_overlay(bindir, "/not/there");
	put("provium.toml", MINIMAL "[profiles.b]\nkernel = \"k\"\ninitrd = \"i\"\ncmdline = \"c\"\n"
	                            "agent_overlay_path = \"own\"\n");
	config = load(NULL);
	assert_string_equal(config.profiles[0].agent_overlay, "/not/there");
	assert_string_equal(config.profiles[1].agent_overlay, at_home("own"));
	pv_config_free(&config);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_load__defaults),
		CASE(test_load__every_key),
		CASE(test_load__errors),
		CASE(test_load__missing_explicit_file),
		CASE(test_guest__gives_the_profile_default),
		CASE(test_guest__not_built),
		CASE(test_xdg__variables_and_home),
		CASE(test_rerun__path),
		CASE(test_overlay__order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
