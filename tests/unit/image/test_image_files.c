#include "image_fixture.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "vmctl/image_internal.h"

static void test_with_files__behind_the_initrd(void **state)
{
	const char *initrd = fixture_put_text(*state, "initrd", "12345");
	const char *out = fixture_path(*state, "out");
	const struct pv_image_file files[] = {
		{ "/etc/conf.d/a", 0644, "first", 5 },
		{ "//etc/./b", 0755, NULL, 0 },
		{ "/etc/conf.d/a", 0600, "again", 5 },
	};
	struct fixture_entry entries[8];
	struct pv_buf image = { 0 };
	struct pv_errmsg msg;
	struct stat st;
	size_t n, end;

	assert_ok(pv_image_with_files(initrd, files, 3, out, &msg), &msg);
	fixture_read(out, &image);
	assert_memory_equal(image.data, "12345\0\0\0", 8);
	n = fixture_unpack(&image, 8, entries, 8, &end);
	assert_int_equal(n, 5);
	/* the kernel takes the last of a name */
	assert_memory_equal(fixture_find(entries, n, "etc/conf.d/a")->data, "again", 5);
	assert_int_equal(fixture_find(entries, n, "etc/conf.d/a")->mode, S_IFREG | 0600);
	assert_int_equal(fixture_find(entries, n, "etc/b")->mode, S_IFREG | 0755);
	assert_int_equal(stat(out, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	pv_buf_free(&image);
}

static void test_with_files__none_gives_the_initrd_and_an_empty_archive(void **state)
{
	const char *initrd = fixture_put_text(*state, "initrd", "1234");
	const char *out = fixture_put_text(*state, "out", "an older and much longer content of that file");
	struct fixture_entry entries[1];
	struct pv_buf image = { 0 };
	struct pv_errmsg msg;
	size_t end;

	assert_ok(pv_image_with_files(initrd, NULL, 0, out, &msg), &msg);
	fixture_read(out, &image);
	assert_int_equal(image.len, 4 + 512);
	assert_int_equal(fixture_unpack(&image, 4, entries, 1, &end), 0);
	pv_buf_free(&image);
}

static void test_with_files__bad_paths_are_refused(void **state)
{
	static const char *const paths[] = { "relative", "", "/", "/etc/", "/a/../b", "/..", "/a/.", "/." };
	const char *initrd = fixture_put_text(*state, "initrd", "1234");
	const char *out = fixture_path(*state, "out");

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		struct pv_image_file file = { paths[i], 0644, "x", 1 };
		struct pv_errmsg msg = { 0 };

		if (pv_image_with_files(initrd, &file, 1, out, &msg) != PV_ERR_INVAL)
			fail_msg("accepted \"%s\"", paths[i]);
		assert_non_null(strstr(msg.text, paths[i]));
		assert_false(fixture_exists(out));
	}
}

static void test_with_files__missing_initrd_leaves_nothing(void **state)
{
	const char *out = fixture_path(*state, "out");
	struct pv_errmsg msg;

	assert_int_equal(pv_image_with_files(fixture_path(*state, "none"), NULL, 0, out, &msg), PV_ERR_NOENT);
	assert_non_null(strstr(msg.text, "/none"));
	assert_false(fixture_exists(out));
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_with_files__behind_the_initrd),
		CASE(test_with_files__none_gives_the_initrd_and_an_empty_archive),
		CASE(test_with_files__bad_paths_are_refused),
		CASE(test_with_files__missing_initrd_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
