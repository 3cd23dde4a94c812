/* The builder on parts made by hand: a kernel that is only a header, modules that are only .modinfo, a busybox that only lists. */
#include "image_fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "vmctl/guest_build_internal.h"

#define RELEASE "6.1.0-test-amd64"

static const char *put_kernel(const char *dir, const char *name)
{
	static const char version[] = RELEASE " (builder@host) #1 SMP";
	uint8_t image[0x400] = { 0 };

	memcpy(image + 0x202, "HdrS", 4);
	image[0x20f] = 0x01; /* text at 0x200 + 0x100 */
	memcpy(image + 0x300, version, sizeof(version));
	return fixture_put(dir, name, image, sizeof(image));
}

static struct pv_guest_build make_build(const char *dir)
{
	struct pv_guest_build build = { .busybox = FAKE_BUSYBOX };

	build.kernel = put_kernel(dir, "src/boot/vmlinuz-x");
	fixture_put_drivers(fixture_path(dir, "src/lib/modules/" RELEASE));
	fixture_put_module(dir, "src/lib/modules/" RELEASE "/kernel/fs/fat/fat.ko", "fat", "");
	fixture_put_module(dir, "src/lib/modules/" RELEASE "/kernel/fs/fat/vfat.ko", "vfat", "fat");
	fixture_put_text(dir, "src/lib/modules/" RELEASE "/modules.builtin", "kernel/fs/ext4/ext4.ko\n");
	build.out_dir = fixture_path(dir, "data/guest");
	return build;
}

static void collect(void *arg, const char *line)
{
	pv_buf_addf(arg, "%s\n", line);
}

static size_t count_entries(const char *dir)
{
	DIR *stream = opendir(dir);
	size_t n = 0;

	assert_non_null(stream);
	while (readdir(stream))
		n++;
	closedir(stream);
	return n - 2;
}

static void check_initrd(const char *path)
{
	static struct fixture_entry entries[256];
	const struct fixture_entry *entry;
	struct pv_buf initrd = { 0 };
	char *text;
	size_t n, end;

	fixture_read(path, &initrd);
	n = fixture_unpack(&initrd, 0, entries, 256, &end);
	assert_int_equal(fixture_find(entries, n, "init")->mode, S_IFREG | 0755);
	assert_int_equal(fixture_find(entries, n, "bin/busybox")->mode, S_IFREG | 0755);
	assert_int_equal(fixture_find(entries, n, "tmp/")->mode, S_IFDIR | 01777);
	entry = fixture_find(entries, n, "usr/bin/[");
	assert_int_equal(entry->mode, S_IFLNK | 0777);
	assert_memory_equal(entry->data, "/bin/busybox", 12);
	entry = fixture_find(entries, n, "lib/modules/" RELEASE "/modules.dep");
	text = pv_xasprintf("%.*s", (int)entry->len, (const char *)entry->data);
	/* dependencies of dependencies too, the one to be loaded first at the end */
	assert_non_null(strstr(text, "kernel/drivers/net/virtio_net.ko: kernel/drivers/net/net_failover.ko "
	                             "kernel/net/core/failover.ko kernel/drivers/virtio/virtio.ko "
	                             "kernel/drivers/virtio/virtio_ring.ko\n"));
	assert_non_null(strstr(text, "kernel/fs/fat/vfat.ko: kernel/fs/fat/fat.ko\n"));
	assert_non_null(strstr(text, "kernel/fs/fat/fat.ko:\n"));
	free(text);
	pv_buf_free(&initrd);
}

static void test_build__guest_and_its_info(void **state)
{
	struct pv_guest_build build = make_build(*state);
	struct pv_guest_info info;
	struct pv_buf lines = { 0 }, toml = { 0 };
	struct pv_errmsg msg;
	uint8_t sha256[32];

	assert_ok(pv_guest_build(&build, collect, &lines, &msg), &msg);
	assert_non_null(strstr(pv_buf_str(&lines), RELEASE));
	assert_ok(pv_guest_info(build.out_dir, &info, &msg), &msg);
	assert_string_equal(info.release, RELEASE);
	assert_true(fixture_exists(info.kernel));
	assert_string_equal(info.modules, fixture_path(build.out_dir, "modules"));
	assert_true(fixture_exists(fixture_path(info.modules, "kernel/fs/fat/vfat.ko")));
	assert_true(fixture_exists(fixture_path(info.modules, "modules.builtin")));
	assert_false(fixture_exists(fixture_path(info.modules, "kernel/fs/unrelated.ko")));
	assert_ok(pv_image_hash(build.kernel, sha256, &msg), &msg);
	assert_memory_equal(sha256, info.kernel_sha256, 32);
	check_initrd(info.initrd);
	pv_guest_info_toml(&info, &toml);
	assert_non_null(strstr(pv_buf_str(&toml), "[profiles.default]\nkernel = \"/"));
	/* nothing else stays beside it */
	assert_int_equal(count_entries(fixture_path(*state, "data")), 1);
	pv_buf_free(&toml);
	pv_buf_free(&lines);
	pv_guest_info_free(&info);
}

static void test_build__replaces_only_when_complete(void **state)
{
	struct pv_guest_build build = make_build(*state);
	struct pv_guest_info info;
	struct pv_errmsg msg;

	assert_ok(pv_guest_build(&build, NULL, NULL, &msg), &msg);
	fixture_put_text(build.out_dir, "mark", "of the first");
	build.modules = fixture_path(*state, "none");
	assert_int_equal(pv_guest_build(&build, NULL, NULL, &msg), PV_ERR_NOENT);
	assert_true(fixture_exists(fixture_path(build.out_dir, "mark")));
	assert_ok(pv_guest_info(build.out_dir, &info, &msg), &msg);
	pv_guest_info_free(&info);
	build.modules = NULL;
	assert_ok(pv_guest_build(&build, NULL, NULL, &msg), &msg);
	assert_false(fixture_exists(fixture_path(build.out_dir, "mark")));
	assert_int_equal(count_entries(fixture_path(*state, "data")), 1);
}

static void test_build__same_parts_same_initrd(void **state)
{
	struct pv_guest_build build = make_build(*state);
	struct pv_guest_info a, b;
	struct pv_errmsg msg;

	assert_ok(pv_guest_build(&build, NULL, NULL, &msg), &msg);
	assert_ok(pv_guest_info(build.out_dir, &a, &msg), &msg);
	build.out_dir = fixture_path(*state, "other");
	assert_ok(pv_guest_build(&build, NULL, NULL, &msg), &msg);
	assert_ok(pv_guest_info(build.out_dir, &b, &msg), &msg);
	assert_memory_equal(a.initrd_sha256, b.initrd_sha256, 32);
	pv_guest_info_free(&a);
	pv_guest_info_free(&b);
}

static void test_build__parts_that_do_not_serve(void **state)
{
	struct pv_guest_build build = make_build(*state);
	struct pv_errmsg msg;

	build.busybox = "/proc/self/exe"; /* linked dynamically */
	assert_int_equal(pv_guest_build(&build, NULL, NULL, &msg), PV_ERR_INVAL);
	assert_non_null(strstr(msg.text, "dynamically"));
	build.busybox = fixture_put_text(*state, "script", "#!/bin/sh\n");
	assert_int_equal(pv_guest_build(&build, NULL, NULL, &msg), PV_ERR_INVAL);
	build.busybox = FAKE_BUSYBOX;
	build.kernel = fixture_put_text(*state, "kernel", "no kernel");
	assert_int_equal(pv_guest_build(&build, NULL, NULL, &msg), PV_ERR_INVAL);
	assert_non_null(strstr(msg.text, "bzImage"));
	build.kernel = fixture_path(*state, "none");
	assert_int_equal(pv_guest_build(&build, NULL, NULL, &msg), PV_ERR_NOENT);
	assert_false(fixture_exists(build.out_dir));
}

static void test_info__absent_damaged_and_foreign(void **state)
{
	struct pv_guest_info info;
	struct pv_errmsg msg;

	assert_int_equal(pv_guest_info(fixture_path(*state, "none"), &info, &msg), PV_ERR_NOENT);
	assert_non_null(strstr(msg.text, "provium guest build"));
	assert_int_equal(pv_guest_info(*state, &info, &msg), PV_ERR_NOENT);
	fixture_put_text(*state, "guest.json", "{ \"format\": 1, \"release\": ");
	assert_int_equal(pv_guest_info(*state, &info, &msg), PV_ERR_CORRUPT);
	fixture_put_text(*state, "guest.json", "{ \"format\": 1, \"release\": 5 }");
	assert_int_equal(pv_guest_info(*state, &info, &msg), PV_ERR_CORRUPT);
	fixture_put_text(*state, "guest.json", "{ \"format\": 2 }");
	assert_int_equal(pv_guest_info(*state, &info, &msg), PV_ERR_VERSION);
}

static void test_info__toml_quotes_paths(void **state)
{
	struct pv_guest_info info = { .kernel = (char[]){ "/a \"b\"\\c\n" }, .initrd = (char[]){ "/i" } };
	struct pv_buf toml = { 0 };

	(void)state;
	pv_guest_info_toml(&info, &toml);
	assert_non_null(strstr(pv_buf_str(&toml), "kernel = \"/a \\\"b\\\"\\\\c\\u000A\"\n"));
	assert_null(strstr(pv_buf_str(&toml), "modules"));
	pv_buf_free(&toml);
}

static void test_program__output_status_and_bound(void **state)
{
	struct pv_buf out = { 0 };
	struct pv_errmsg msg;

	assert_ok(pv_guest_program((const char *const[]){ "pwd", NULL }, *state, 20000, &out, &msg), &msg);
	assert_memory_equal(out.data, *state, strlen(*state));
	assert_int_equal(pv_guest_program((const char *const[]){ "ls", "/none/at/all", NULL }, NULL, 20000, &out, &msg),
	                 PV_ERR_IO);
	assert_non_null(strstr(msg.text, "No such file"));
	assert_int_equal(pv_guest_program((const char *const[]){ "sleep", "100", NULL }, NULL, 50, &out, &msg),
	                 PV_ERR_TIMEOUT);
	assert_int_equal(pv_guest_program((const char *const[]){ "provium-no-such", NULL }, NULL, 50, &out, &msg),
	                 PV_ERR_NOENT);
	pv_buf_free(&out);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_build__guest_and_its_info),        CASE(test_build__replaces_only_when_complete),
		CASE(test_build__same_parts_same_initrd),    CASE(test_build__parts_that_do_not_serve),
		CASE(test_info__absent_damaged_and_foreign), CASE(test_info__toml_quotes_paths),
		CASE(test_program__output_status_and_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
