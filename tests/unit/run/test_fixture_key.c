/* What changes the key of a fixture and what does not, one by one, for both ways to tell inputs apart. */
#include <fcntl.h>
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

#include "engine/run/dirs.h"
#include "engine/run/fixture_key.h"
#include "proto/mem.h"

enum { USED, OTHER, N_PROFILES, N_ROOM };

/* A project: two roots, a directory of data, images. */
struct world {
	char *dir;
	const char *roots[2];
	struct pv_profile profiles[N_ROOM];
	size_t n_profiles;
	const char *accel;
	char *agent;
};

static char *now_at; /* the directory of the world, for the rows below */
static const char *qemu_version = "7.2.19", *other_version = "7.2.19";
static bool kvm;

static char *at(const char *name)
{
	return pv_xasprintf("%s/%s", now_at, name);
}

static void write_text(const char *name, const char *text)
{
	char *path = at(name);
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	assert_int_equal(fputs(text, file) < 0, 0);
	assert_int_equal(fclose(file), 0);
	free(path);
}

static void set_mtime(const char *name, time_t s, long ns)
{
	struct timespec times[2] = { { s, ns }, { s, ns } };
	char *path = at(name);

	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
	free(path);
}

static void make_dir(const char *name)
{
	char *path = at(name);

	assert_int_equal(mkdir(path, 0700), 0);
	free(path);
}

static enum pv_err tell_version(const char *qemu, char out[32], struct pv_errmsg *msg)
{
	(void)msg;
	snprintf(out, 32, "%s", strcmp(qemu, "qemu") == 0 ? qemu_version : other_version);
	return PV_OK;
}

static bool tell_kvm(struct pv_errmsg *why)
{
	(void)why;
	return kvm;
}

static const char top[] = "local h = require 'lib.one'\n"
                          "local opt = pcall(require, 'lib.optional')\n"
                          "local base = provium:vm_fixture('sub/base')\n"
                          "local vm = provium:vm('a', 'used'):boot()\n"
                          "vm:push_file('../data/pushed', '/x')\n"
                          "vm:push_file('../data/apart', '/y', {auto_dep = false})\n"
                          "provium:depends_on_file('../data/dep')\n"
                          "provium:depends_on_file('../data/missing')\n"
                          "return vm:snapshot()\n";

static void write_sources(void)
{
	write_text("one/top.fixture.lua", top);
	write_text("one/unrelated.fixture.lua", "return provium:vm('a', 'other'):boot():snapshot()");
	write_text("one/sub/base.fixture.lua", "provium:depends_on_file('../../data/deep')\nrequire 'lib.base'\n");
	write_text("one/lib/one.lua", "return require('lib.two')");
	write_text("one/lib/two.lua", "provium:depends_on_file('../../data/by_helper')\nrequire('lib.one')\n");
	write_text("one/lib/base.lua", "return 1");
	write_text("one/lib/unused.lua", "return 1");
	write_text("two/far.lua", "return 1");
}

static void write_data(void)
{
	static const char *const names[] = { "data/pushed",    "data/apart",   "data/dep",    "data/deep",
		                             "data/by_helper", "data/noise",   "agent",       "kernel",
		                             "initrd",         "other_kernel", "other_initrd" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		write_text(names[i], names[i]);
		set_mtime(names[i], 1000000000, 5);
	}
}

static struct pv_profile profile(const char *name, const char *prefix, const char *qemu)
{
	return (struct pv_profile){
		.name = pv_xstrdup(name),
		.kernel = pv_xasprintf("%s/%skernel", now_at, prefix),
		.initrd = pv_xasprintf("%s/%sinitrd", now_at, prefix),
		.cmdline = pv_xstrdup("quiet"),
		.inject_agent = true,
		.memory_bytes = 1 << 28,
		.cpus = 1,
		.machine = pv_xstrdup("pc"),
		.accel = pv_xstrdup("auto"),
		.qemu = pv_xstrdup(qemu),
		.net = true,
	};
}

static void make_world(struct world *world)
{
	static const char *const dirs[] = { "one", "one/sub", "one/lib", "two", "data" };
	char *dir = pv_xasprintf("%s/provium-key-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");

	assert_non_null(mkdtemp(dir));
	*world = (struct world){ .dir = dir, .n_profiles = N_PROFILES };
	now_at = dir;
	qemu_version = other_version = "7.2.19";
	kvm = false;
	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
		make_dir(dirs[i]);
	write_sources();
	write_data();
	world->roots[0] = at("one");
	world->roots[1] = at("two");
	world->agent = at("agent");
	world->profiles[USED] = profile("used", "", "qemu");
	world->profiles[OTHER] = profile("other", "other_", "other-qemu");
}

static void free_profile(struct pv_profile *one)
{
	free(one->name);
	free(one->kernel);
	free(one->initrd);
	free(one->cmdline);
	free(one->agent_overlay);
	free(one->modules);
	free(one->machine);
	free(one->accel);
	free(one->qemu);
}

static void free_world(struct world *world)
{
	for (size_t i = 0; i < world->n_profiles; i++)
		free_profile(&world->profiles[i]);
	free((char *)world->roots[0]);
	free((char *)world->roots[1]);
	free(world->agent);
	pv_dirs_remove(world->dir);
	free(world->dir);
}

static struct pv_fixture_keys *keys_of(const struct world *world, bool by_content)
{
	struct pv_fixture_world config = {
		.roots = world->roots,
		.n_roots = 2,
		.profiles = world->profiles,
		.n_profiles = world->n_profiles,
		.accel = world->accel,
		.agent = world->agent,
		.by_content = by_content,
		.qemu_version = tell_version,
		.kvm_works = tell_kvm,
	};

	return pv_fixture_keys_create(&config);
}

static void key_of(const struct world *world, bool by_content, char key[65])
{
	struct pv_fixture_keys *keys = keys_of(world, by_content);
	struct pv_fixture_inputs inputs;
	struct pv_fixture_place place;
	struct pv_errmsg msg = { .text = "" };

	if (pv_fixture_key(keys, "top", &inputs, &place, &msg))
		fail_msg("%s", msg.text);
	pv_fixture_inputs_key(&inputs, NULL, key);
	pv_fixture_inputs_free(&inputs);
	free(place.path);
	pv_fixture_keys_destroy(keys);
}

/* ---- what is changed ---- */

struct change {
	const char *name;
	void (*make)(struct world *world);
	const char *file, *text; /* without `make`: the file gets that text, under its old time if it has one */
	bool stat, content;      /* does the key change? */
};

static void set(char **field, const char *value)
{
	free(*field);
	*field = pv_xstrdup(value);
}

static void touch_pushed(struct world *world)
{
	(void)world;
	set_mtime("data/pushed", 1000000001, 5);
}
static void touch_dep_by_1_ns(struct world *world)
{
	(void)world;
	set_mtime("data/dep", 1000000000, 6);
}
static void touch_apart(struct world *world)
{
	(void)world;
	set_mtime("data/apart", 1000000001, 5);
}
static void touch_sources(struct world *world)
{
	(void)world;
	set_mtime("one/top.fixture.lua", 1, 1);
	set_mtime("one/lib/one.lua", 1, 1);
	set_mtime("one/sub/base.fixture.lua", 1, 1);
}
static void touch_images(struct world *world)
{
	(void)world;
	set_mtime("kernel", 1, 1);
	set_mtime("initrd", 1, 1);
	set_mtime("agent", 1, 1);
}
static void remove_dep(struct world *world)
{
	char *path = at("data/dep");

	(void)world;
	assert_int_equal(unlink(path), 0);
	free(path);
}
static void move_kernel(struct world *world)
{
	char *from = at("kernel"), *to = at("kernel-moved");

	assert_int_equal(rename(from, to), 0);
	set(&world->profiles[USED].kernel, to);
	free(from);
	free(to);
}
static void swap_roots(struct world *world)
{
	const char *first = world->roots[0];

	world->roots[0] = world->roots[1];
	world->roots[1] = first;
}
/* Which of two helpers is meant depends on the order; that one of them appears behind the other changes nothing. */
static void shadow_behind(struct world *world)
{
	(void)world;
	make_dir("two/lib");
	write_text("two/lib/one.lua", "return 'another'");
}
static void shadow_before(struct world *world)
{
	shadow_behind(world);
	swap_roots(world);
}
static void second_fixture_behind(struct world *world)
{
	(void)world;
	make_dir("two/sub");
	write_text("two/sub/base.fixture.lua", "return 2");
	write_text("two/top.fixture.lua", "return 2");
}
static void init_behind(struct world *world)
{
	(void)world;
	make_dir("one/lib/one");
	write_text("one/lib/one/init.lua", "return 2");
}
static void cmdline(struct world *world)
{
	set(&world->profiles[USED].cmdline, "quiet x");
}
static void memory(struct world *world)
{
	world->profiles[USED].memory_bytes++;
}
static void cpus(struct world *world)
{
	world->profiles[USED].cpus++;
}
static void machine(struct world *world)
{
	set(&world->profiles[USED].machine, "q35");
}
static void other_cmdline(struct world *world)
{
	set(&world->profiles[OTHER].cmdline, "quiet x");
}
static void other_memory(struct world *world)
{
	world->profiles[OTHER].memory_bytes++;
}
static void other_cpus(struct world *world)
{
	world->profiles[OTHER].cpus++;
}
static void other_machine(struct world *world)
{
	set(&world->profiles[OTHER].machine, "q35");
}
static void other_accel(struct world *world)
{
	set(&world->profiles[OTHER].accel, "kvm");
}
static void version(struct world *world)
{
	(void)world;
	qemu_version = "8.0.0";
}
static void version_of_other(struct world *world)
{
	(void)world;
	other_version = "8.0.0";
}
static void qemu_moved(struct world *world)
{
	set(&world->profiles[OTHER].qemu, "qemu");
}
static void kvm_works(struct world *world)
{
	(void)world;
	kvm = true;
}
static void accel_flag(struct world *world)
{
	world->accel = "kvm";
}
static void accel_said(struct world *world)
{
	world->accel = "tcg";
}
static void accel_of_profile(struct world *world)
{
	set(&world->profiles[USED].accel, "kvm");
}
static void overlay(struct world *world)
{
	world->profiles[USED].agent_overlay = at("data/noise");
}
static void other_overlay(struct world *world)
{
	world->profiles[OTHER].agent_overlay = at("data/noise");
}
static void own_agent(struct world *world)
{
	world->profiles[USED].inject_agent = false;
}
static void modules_and_net(struct world *world)
{
	world->profiles[USED].modules = at("data");
	world->profiles[USED].net = false;
}
static void one_more_profile(struct world *world)
{
	world->profiles[world->n_profiles++] = profile("third", "other_", "qemu");
}

static const struct change changes[] = {
	{ "nothing", .stat = false, .content = false },
	/* sources */
	{ "builder", NULL, "one/top.fixture.lua", NULL, true, true },
	{ "helper", NULL, "one/lib/one.lua", "return require('lib.two') -- more", true, true },
	{ "helper of a helper", NULL, "one/lib/two.lua", "-- it asks for nothing", true, true },
	{ "helper that was not there", NULL, "one/lib/optional.lua", "return 1", true, true },
	{ "nested fixture", NULL, "one/sub/base.fixture.lua", "return 1", true, true },
	{ "helper of a nested one", NULL, "one/lib/base.lua", "return 2", true, true },
	{ "other fixture", NULL, "one/unrelated.fixture.lua", "-- x", false, false },
	{ "other helper", NULL, "one/lib/unused.lua", "-- x", false, false },
	{ "new files", NULL, "one/lib/more.lua", "-- x", false, false },
	{ "times of sources", touch_sources, .stat = false, .content = false },
	{ "order of roots", swap_roots, .stat = false, .content = false },
	{ "helper behind another", shadow_behind, .stat = false, .content = false },
	{ "helper before another", shadow_before, .stat = true, .content = true },
	{ "fixture behind another", second_fixture_behind, .stat = false, .content = false },
	{ "init.lua behind", init_behind, .stat = false, .content = false },
	/* host files */
	{ "pushed file", NULL, "data/pushed", "DATA/PUSHED", true, true },
	{ "its time", touch_pushed, .stat = true, .content = false },
	{ "file depended on", NULL, "data/dep", "DATA/DEP", true, true },
	{ "its time by 1 ns", touch_dep_by_1_ns, .stat = true, .content = false },
	{ "it is gone", remove_dep, .stat = true, .content = true },
	{ "a missing one appears", NULL, "data/missing", "", true, true },
	{ "file of a helper", NULL, "data/by_helper", "DATA/BY_HELPER", true, true },
	{ "file of a nested one", NULL, "data/deep", "DATA/DEEP", true, true },
	{ "auto_dep = false", NULL, "data/apart", "DATA/APART", false, false },
	{ "its time", touch_apart, .stat = false, .content = false },
	{ "other file", NULL, "data/noise", "DATA/NOISE", false, false },
	/* images */
	{ "kernel", NULL, "kernel", "KERNEL", true, true },
	{ "initrd", NULL, "initrd", "INITRD", true, true },
	{ "kernel not used", NULL, "other_kernel", "OTHER_KERNEL", true, false },
	{ "initrd not used", NULL, "other_initrd", "OTHER_INITRD", true, false },
	{ "times of images", touch_images, .stat = false, .content = false },
	{ "place of the kernel", move_kernel, .stat = false, .content = false },
	{ "one more profile", one_more_profile, .stat = true, .content = false },
	/* profiles */
	{ "cmdline", cmdline, .stat = true, .content = true },
	{ "memory", memory, .stat = true, .content = true },
	{ "cpus", cpus, .stat = true, .content = true },
	{ "machine", machine, .stat = true, .content = true },
	{ "cmdline not used", other_cmdline, .stat = false, .content = false },
	{ "memory not used", other_memory, .stat = false, .content = false },
	{ "cpus not used", other_cpus, .stat = false, .content = false },
	{ "machine not used", other_machine, .stat = false, .content = false },
	{ "modules and net", modules_and_net, .stat = false, .content = false },
	/* versions */
	{ "agent", NULL, "agent", "AGENT", true, true },
	{ "overlay", overlay, .stat = true, .content = true },
	{ "the image's own agent", own_agent, .stat = true, .content = true },
	{ "overlay not used", other_overlay, .stat = false, .content = false },
	{ "QEMU's version", version, .stat = true, .content = true },
	{ "version of a QEMU not used", version_of_other, .stat = false, .content = false },
	{ "path of a QEMU not used", qemu_moved, .stat = false, .content = false },
	{ "KVM works", kvm_works, .stat = true, .content = true },
	{ "--accel kvm", accel_flag, .stat = true, .content = true },
	{ "--accel tcg, as auto was", accel_said, .stat = false, .content = false },
	{ "accel of the profile", accel_of_profile, .stat = true, .content = true },
	{ "accel not used", other_accel, .stat = false, .content = false },
};

/* Under the time that it had, so that the content alone tells. */
static void change_file(const struct change *change)
{
	char *path = at(change->file);
	struct stat before;
	bool was_there = stat(path, &before) == 0;

	if (change->text) {
		write_text(change->file, change->text);
	} else {
		char *longer = pv_xasprintf("%s-- and a comment", top);
		write_text(change->file, longer);
		free(longer);
	}
	if (was_there)
		set_mtime(change->file, before.st_mtim.tv_sec, before.st_mtim.tv_nsec);
	free(path);
}

static void test_key__each_input_and_nothing_else(void **state)
{
	size_t wrong = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		const struct change *change = &changes[i];
		char before[2][65], after[2][65];
		struct world world;

		make_world(&world);
		key_of(&world, false, before[0]);
		key_of(&world, true, before[1]);
		if (change->make)
			change->make(&world);
		else if (change->file)
			change_file(change);
		key_of(&world, false, after[0]);
		key_of(&world, true, after[1]);
		free_world(&world);
		for (int mode = 0; mode < 2; mode++) {
			bool changed = strcmp(before[mode], after[mode]) != 0;

			if (changed != (mode == 0 ? change->stat : change->content)) {
				print_message("%s (%s): the key %s\n", change->name, mode ? "content" : "stat",
				              changed ? "changes" : "stays");
				wrong++;
			}
		}
		assert_string_not_equal(before[0], before[1]);
	}
	assert_int_equal(wrong, 0);
}

/* Two checkouts: by content they share, by stat they do not, as paths count. */
static void test_key__of_another_checkout(void **state)
{
	char here[2][65], there[2][65];
	struct world one, two;

	(void)state;
	make_world(&one);
	key_of(&one, false, here[0]);
	key_of(&one, true, here[1]);
	make_world(&two);
	key_of(&two, false, there[0]);
	key_of(&two, true, there[1]);
	assert_string_not_equal(here[0], there[0]);
	assert_string_equal(here[1], there[1]);
	free_world(&two);
	now_at = one.dir;
	free_world(&one);
}

/* A fixture without host files is the same wherever it lies. */
static void test_key__without_paths_is_shared(void **state)
{
	char here[65], there[65];
	struct world one, two;

	(void)state;
	make_world(&one);
	write_text("one/top.fixture.lua", "return 1");
	key_of(&one, false, here);
	make_world(&two);
	write_text("one/top.fixture.lua", "return 1");
	key_of(&two, false, there);
	assert_string_equal(here, there);
	free_world(&two);
	now_at = one.dir;
	free_world(&one);
}

/* Versions are remembered by binary. */
static void test_key__two_versions_of_qemu(void **state)
{
	struct world world;
	char before[65], after[65];

	(void)state;
	make_world(&world);
	write_text("one/top.fixture.lua", "provium:vm('a', 'used') provium:vm('b', 'other')");
	key_of(&world, false, before);
	other_version = "8.0.0";
	key_of(&world, false, after);
	assert_string_not_equal(before, after);
	free_world(&world);
}

static void assert_error(const struct world *world, const char *name, enum pv_err wanted, const char *text)
{
	struct pv_fixture_keys *keys = keys_of(world, false);
	struct pv_fixture_inputs inputs;
	struct pv_fixture_place place;
	struct pv_errmsg msg = { .text = "" };

	assert_int_equal(pv_fixture_key(keys, name, &inputs, &place, &msg), wanted);
	if (!strstr(msg.text, text))
		fail_msg("\"%s\" lacks \"%s\"", msg.text, text);
	pv_fixture_keys_destroy(keys);
}

static void test_name__unknown_and_wrong_ones(void **state)
{
	struct world world;

	(void)state;
	make_world(&world);
	char *tried =
	    pv_xasprintf("fixture `nope` not found in any test root (tried: %s, %s)", world.roots[0], world.roots[1]);
	assert_error(&world, "nope", PV_ERR_NOENT, tried);
	free(tried);
	assert_error(&world, "", PV_ERR_INVAL, "must not be empty");
	assert_error(&world, "../top", PV_ERR_INVAL, "path below a test root");
	assert_error(&world, "sub/../top", PV_ERR_INVAL, "path below a test root");
	assert_error(&world, "/top", PV_ERR_INVAL, "path below a test root");
	assert_error(&world, "top.fixture.lua", PV_ERR_INVAL, "without .fixture.lua: `top`");
	make_dir("one/dir.fixture.lua");
	assert_error(&world, "dir", PV_ERR_NOENT, "not found in any test root");
	free_world(&world);
}

static void test_cycle__is_told_with_its_chain(void **state)
{
	struct world world;

	(void)state;
	make_world(&world);
	write_text("one/a.fixture.lua", "provium:vm_fixture('b')");
	write_text("one/b.fixture.lua", "require 'lib.c'");
	write_text("one/lib/c.lua", "provium.lab_fixture(provium, 'sub/c')");
	write_text("one/sub/c.fixture.lua", "provium:vm_fixture('b')");
	write_text("one/self.fixture.lua", "provium:vm_fixture('self')");
	assert_error(&world, "a", PV_ERR_STATE, "need each other: b -> sub/c -> b");
	assert_error(&world, "sub/c", PV_ERR_STATE, "need each other: sub/c -> b -> sub/c");
	assert_error(&world, "self", PV_ERR_STATE, "need each other: self -> self");
	free_world(&world);
}

/* Each level stands twice on the one below: counted once, or this test never ends. */
static void test_nested__diamonds_are_walked_once(void **state)
{
	struct world world;
	char key[65];

	(void)state;
	make_world(&world);
	for (int level = 0; level < 60; level++) {
		char *name = pv_xasprintf("one/level%d.fixture.lua", level);
		char *text = pv_xasprintf("provium:vm_fixture('level%d') require 'lib.h%d'", level + 1, level);
		char *helper = pv_xasprintf("one/lib/h%d.lua", level);
		char *helper_text =
		    pv_xasprintf("provium:vm_fixture('level%d') provium:vm_fixture('level%d')", level + 1, level + 2);

		write_text(name, text);
		write_text(helper, helper_text);
		free(name);
		free(text);
		free(helper);
		free(helper_text);
	}
	write_text("one/top.fixture.lua", "provium:vm_fixture('level0') provium:vm_fixture('level1')");
	alarm(60);
	key_of(&world, false, key);
	alarm(0);
	free_world(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_key__each_input_and_nothing_else),
		cmocka_unit_test(test_key__of_another_checkout),
		cmocka_unit_test(test_key__without_paths_is_shared),
		cmocka_unit_test(test_key__two_versions_of_qemu),
		cmocka_unit_test(test_name__unknown_and_wrong_ones),
		cmocka_unit_test(test_cycle__is_told_with_its_chain),
		cmocka_unit_test(test_nested__diamonds_are_walked_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
