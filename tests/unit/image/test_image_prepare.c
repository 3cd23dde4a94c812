#include "image_fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmctl/image_internal.h"

struct prepared {
	char *path;
	uint8_t sha256[32];
};

/* A spec over files in `dir`: initrd, agent, modules/. */
static struct pv_image_spec make_spec(const char *dir)
{
	struct pv_image_spec spec = { .inject_agent = true };

	spec.initrd = fixture_put_text(dir, "initrd", "0707 initrd, 17 B"); /* not a multiple of 4 */
	spec.agent = fixture_put_text(dir, "agent", "the agent");
	fixture_put_drivers(fixture_path(dir, "modules"));
	spec.modules = fixture_path(dir, "modules");
	spec.cache_dir = fixture_path(dir, "cache/below");
	return spec;
}

static struct prepared prepare(const struct pv_image_spec *spec)
{
	struct prepared out = { 0 };
	struct pv_errmsg msg;

	assert_ok(pv_image_prepare(spec, &out.path, out.sha256, &msg), &msg);
	return out;
}

/* The inputs' identities are settled, so that a result is remembered. */
static void settle(const char *dir)
{
	static const char *const names[] = { "initrd", "agent", "modules/kernel/fs/unrelated.ko", "modules" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		fixture_settle(fixture_path(dir, names[i]));
}

static size_t count_files(const char *dir, const char *needle)
{
	DIR *stream = opendir(dir);
	struct dirent *entry;
	size_t n = 0;

	assert_non_null(stream);
	while ((entry = readdir(stream)))
		n += strstr(entry->d_name, needle) != NULL;
	closedir(stream);
	return n;
}

static void test_prepare__content_in_order(void **state)
{
	struct pv_image_spec spec = make_spec(*state);
	struct prepared got = prepare(&spec);
	struct fixture_entry entries[64];
	struct pv_buf merged = { 0 };
	const struct fixture_entry *entry;
	uint8_t sha256[32];
	char hex[65];
	size_t n, end;

	fixture_read(got.path, &merged);
	assert_memory_equal(merged.data, "0707 initrd, 17 B\0\0\0", 20);
	n = fixture_unpack(&merged, 20, entries, 64, &end);
	entry = fixture_find(entries, n, "sbin/provium-agent");
	assert_int_equal(entry->mode, S_IFREG | 0755);
	assert_memory_equal(entry->data, "the agent", 9);
	assert_int_equal(fixture_find(entries, n, "dev/console")->mode, S_IFCHR | 0600);
	entry = fixture_find(entries, n, "lib/provium/modules.list");
	assert_non_null(entry);
	assert_int_equal(strncmp((const char *)entry->data,
	                         "/lib/provium/modules/virtio_ring.ko\n"
	                         "/lib/provium/modules/virtio_pci_modern_dev.ko\n",
	                         82),
	                 0);
	assert_non_null(fixture_find(entries, n, "lib/provium/modules/virtio_rng.ko"));
	assert_null(fixture_find(entries, n, "lib/provium/modules/unrelated.ko"));
	/* the name is the content's hash, the hash given back that of the initrd alone */
	assert_int_equal(pv_image_hash(got.path, sha256, NULL), PV_OK);
	pv_sha256_hex(sha256, hex);
	assert_non_null(strstr(got.path, hex));
	assert_non_null(strstr(got.path, "/cache/below/agent-overlay-cache/"));
	assert_int_equal(pv_image_hash(spec.initrd, sha256, NULL), PV_OK);
	assert_memory_equal(sha256, got.sha256, 32);
	pv_buf_free(&merged);
	free(got.path);
}

/* The second call finds the result by the identities of the inputs: it reads and writes nothing. */
static void test_prepare__twice_reads_and_writes_nothing(void **state)
{
	struct pv_image_spec spec = make_spec(*state);
	struct prepared first, second;
	struct stat before, after;
	uint64_t hashed;

	settle(*state);
	first = prepare(&spec);
	assert_int_equal(stat(first.path, &before), 0);
	hashed = pv_image_bytes_hashed();
	second = prepare(&spec);
	assert_int_equal(pv_image_bytes_hashed(), hashed);
	assert_string_equal(first.path, second.path);
	assert_memory_equal(first.sha256, second.sha256, 32);
	assert_int_equal(stat(second.path, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	assert_int_equal(count_files(fixture_path(spec.cache_dir, "agent-overlay-cache"), ".cpio"), 1);
	assert_int_equal(count_files(fixture_path(spec.cache_dir, "agent-overlay-cache"), "tmp"), 0);
	free(first.path);
	free(second.path);
}

static void test_prepare__changed_input_gives_new_path(void **state)
{
	static const char *const inputs[] = { "initrd", "agent", "modules/kernel/drivers/block/virtio_blk.ko" };
	struct pv_image_spec spec = make_spec(*state);
	struct prepared last;

	settle(*state);
	last = prepare(&spec);
	for (size_t i = 0; i < 3; i++) {
		struct prepared got;

		if (i < 2)
			fixture_put_text(*state, inputs[i], "something else");
		else
			fixture_put_module(*state, inputs[i], "virtio_blk", "virtio");
		got = prepare(&spec);
		assert_string_not_equal(got.path, last.path);
		assert_int_equal(memcmp(got.sha256, last.sha256, 32) != 0, i == 0);
		free(last.path);
		last = got;
	}
	free(last.path);
}

static void test_prepare__lost_and_cut_results_are_made_again(void **state)
{
	struct pv_image_spec spec = make_spec(*state);
	struct prepared first, second, third;
	struct pv_buf merged = { 0 }, again = { 0 };

	settle(*state);
	first = prepare(&spec);
	fixture_read(first.path, &merged);
	assert_int_equal(unlink(first.path), 0);
	second = prepare(&spec);
	assert_string_equal(first.path, second.path);
	assert_int_equal(truncate(second.path, 100), 0);
	third = prepare(&spec);
	fixture_read(third.path, &again);
	assert_int_equal(again.len, merged.len);
	assert_memory_equal(again.data, merged.data, merged.len);
	pv_buf_free(&merged);
	pv_buf_free(&again);
	free(first.path);
	free(second.path);
	free(third.path);
}

/* A ready overlay brings the agent; it stands between initrd and drivers. */
static void test_prepare__ready_overlay(void **state)
{
	struct pv_image_spec spec = make_spec(*state);
	struct fixture_entry entries[64];
	struct pv_buf merged = { 0 };
	struct prepared got;
	size_t n, end;

	spec.overlay = fixture_put_text(*state, "overlay.cpio.gz", "overlay"); /* 7 bytes and 1 of padding */
	spec.agent = NULL;
	spec.modules = NULL;
	got = prepare(&spec);
	fixture_read(got.path, &merged);
	assert_memory_equal(merged.data + 20, "overlay\0", 8);
	n = fixture_unpack(&merged, 28, entries, 64, &end);
	assert_null(fixture_find(entries, n, "sbin/provium-agent"));
	assert_null(fixture_find(entries, n, "lib/provium/modules.list"));
	assert_non_null(fixture_find(entries, n, "dev/console"));
	pv_buf_free(&merged);
	free(got.path);
}

static void test_prepare__without_agent_is_the_initrd_itself(void **state)
{
	struct pv_image_spec spec = make_spec(*state);
	struct prepared got;
	uint8_t sha256[32];

	spec.inject_agent = false;
	got = prepare(&spec);
	assert_string_equal(got.path, spec.initrd);
	assert_int_equal(pv_image_hash(spec.initrd, sha256, NULL), PV_OK);
	assert_memory_equal(got.sha256, sha256, 32);
	assert_false(fixture_exists(spec.cache_dir));
	free(got.path);
}

static void test_prepare__errors_name_the_file(void **state)
{
	static const char *const names[] = { "initrd", "agent", "modules" };

	for (size_t i = 0; i < 3; i++) {
		struct pv_image_spec spec = make_spec(*state);
		const char *missing = fixture_path(*state, "missing");
		struct pv_errmsg msg = { 0 };
		uint8_t sha256[32];
		char *path;

		if (i == 0)
			spec.initrd = missing;
		else if (i == 1)
			spec.agent = missing;
		else
			spec.modules = missing;
		assert_int_equal(pv_image_prepare(&spec, &path, sha256, &msg), PV_ERR_NOENT);
		if (!strstr(msg.text, missing))
			fail_msg("%s: %s", names[i], msg.text);
		assert_int_equal(count_files(fixture_path(spec.cache_dir, "agent-overlay-cache"), "tmp"), 0);
	}
}

static void test_hash__known_and_remembered(void **state)
{
	static const uint8_t abc[32] = { 0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40,
		                         0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17,
		                         0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad };
	const char *path = fixture_put_text(*state, "abc", "abc");
	uint64_t hashed = pv_image_bytes_hashed();
	struct pv_errmsg msg;
	uint8_t sha256[32];

	fixture_settle(path);
	for (int i = 0; i < 3; i++) {
		assert_ok(pv_image_hash(path, sha256, &msg), &msg);
		assert_memory_equal(sha256, abc, 32);
	}
	assert_int_equal(pv_image_bytes_hashed() - hashed, 3);
	fixture_put_text(*state, "abc", "abd");
	assert_ok(pv_image_hash(path, sha256, &msg), &msg);
	assert_memory_not_equal(sha256, abc, 32);
	assert_int_equal(pv_image_hash(fixture_path(*state, "none"), sha256, &msg), PV_ERR_NOENT);
	assert_int_equal(pv_image_hash(*state, sha256, &msg), PV_ERR_INVAL);
}

/* A file changed in the present tick of the clock may change again without a new time (before Linux 6.13), so nothing is remembered of
 * it. */
static void test_settled__only_before_the_tick(void **state)
{
	const struct pv_hostfile_id id = { .ctime_ns = 1000 };

	(void)state;
	assert_false(pv_hostfile_settled(&id, 999));
	assert_false(pv_hostfile_settled(&id, 1000));
	assert_true(pv_hostfile_settled(&id, 1001));
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_prepare__content_in_order),
		CASE(test_prepare__twice_reads_and_writes_nothing),
		CASE(test_prepare__changed_input_gives_new_path),
		CASE(test_prepare__lost_and_cut_results_are_made_again),
		CASE(test_prepare__ready_overlay),
		CASE(test_prepare__without_agent_is_the_initrd_itself),
		CASE(test_prepare__errors_name_the_file),
		CASE(test_hash__known_and_remembered),
		CASE(test_settled__only_before_the_tick),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
