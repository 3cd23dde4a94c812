#include "image_fixture.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmctl/cpio.h"
#include "vmctl/guest_build_internal.h"

/* One file by hand: the format is read by kernels, so its bytes are the contract. */
static void test_archive__golden_bytes(void **state)
{
	static const char golden[] =
	    "0707010000000100"
	    "0081A4"
	    "000000000000000000000001000000000000000300000000000000000000000000000000000000020000000"
	    "0"
	    "a\0"
	    "xyz\0"
	    "07070100000002"
	    "00000000"
	    "000000000000000000000001000000000000000000000000000000000000000000000000000000"
	    "0B00000000"
	    "TRAILER!!!\0\0\0";
	struct pv_cpio cpio = { 0 };

	(void)state;
	pv_cpio_add_file(&cpio, "a", 0644, "xyz", 3);
	pv_cpio_finish(&cpio);
	assert_int_equal(cpio.bytes.len, 512);
	assert_memory_equal(cpio.bytes.data, golden, sizeof(golden));
	for (size_t i = sizeof(golden); i < cpio.bytes.len; i++)
		assert_int_equal(cpio.bytes.data[i], 0);
	pv_cpio_free(&cpio);
}

static void test_archive__kinds_of_entries(void **state)
{
	struct fixture_entry entries[16];
	struct pv_cpio cpio = { 0 };
	size_t n, end;

	(void)state;
	pv_cpio_add_dir(&cpio, "tmp", 01777);
	pv_cpio_add_symlink(&cpio, "bin/sh", "/bin/busybox");
	pv_cpio_add_node(&cpio, "dev/console", S_IFCHR | 0600, 5, 1);
	pv_cpio_add_file(&cpio, "bin/empty", 04755, NULL, 0);
	pv_cpio_finish(&cpio);
	n = fixture_unpack(&cpio.bytes, 0, entries, 16, &end);
	assert_int_equal(n, 6);
	assert_string_equal(entries[0].name, "tmp/");
	assert_int_equal(entries[0].mode, S_IFDIR | 01777);
	assert_string_equal(entries[1].name, "bin/");
	assert_int_equal(entries[1].mode, S_IFDIR | 0755);
	assert_string_equal(entries[2].name, "bin/sh");
	assert_int_equal(entries[2].mode, S_IFLNK | 0777);
	assert_int_equal(entries[2].len, 12);
	assert_memory_equal(entries[2].data, "/bin/busybox", 12);
	assert_string_equal(entries[4].name, "dev/console");
	assert_int_equal(entries[4].mode, S_IFCHR | 0600);
	assert_int_equal(entries[4].major, 5);
	assert_int_equal(entries[4].minor, 1);
	assert_int_equal(entries[5].mode, S_IFREG | 04755);
	assert_int_equal(entries[5].len, 0);
	pv_cpio_free(&cpio);
}

/* The kernel sets the mode of a directory that is there already, so a file in /tmp must not close /tmp to users. */
static void test_parents__once_and_with_their_usual_mode(void **state)
{
	struct fixture_entry entries[16];
	struct pv_cpio cpio = { 0 };
	size_t n, end;

	(void)state;
	pv_cpio_add_file(&cpio, "tmp/a/b", 0644, "1", 1);
	pv_cpio_add_file(&cpio, "tmp/a/c", 0644, "2", 1);
	pv_cpio_add_file(&cpio, "root/x", 0600, "3", 1);
	pv_cpio_add_file(&cpio, "tm/x", 0600, "4", 1);
	pv_cpio_finish(&cpio);
	n = fixture_unpack(&cpio.bytes, 0, entries, 16, &end);
	assert_int_equal(n, 8);
	assert_int_equal(fixture_find(entries, n, "tmp/")->mode, S_IFDIR | 01777);
	assert_int_equal(fixture_find(entries, n, "tmp/a/")->mode, S_IFDIR | 0755);
	assert_int_equal(fixture_find(entries, n, "root/")->mode, S_IFDIR | 0700);
	assert_int_equal(fixture_find(entries, n, "tm/")->mode, S_IFDIR | 0755);
	pv_cpio_free(&cpio);
}

static void test_archive__same_calls_same_bytes(void **state)
{
	struct pv_cpio a = { 0 }, b = { 0 };

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct pv_cpio *cpio = i ? &b : &a;

		pv_cpio_add_file(cpio, "etc/hosts", 0644, "127.0.0.1 localhost\n", 20);
		pv_cpio_add_symlink(cpio, "var/run", "../run");
		pv_cpio_finish(cpio);
	}
	assert_int_equal(a.bytes.len, b.bytes.len);
	assert_memory_equal(a.bytes.data, b.bytes.data, a.bytes.len);
	pv_cpio_free(&a);
	pv_cpio_free(&b);
}

static void test_host_file__content_and_failure(void **state)
{
	const char *source = fixture_put_text(*state, "source", "content of a host file");
	struct fixture_entry entries[4];
	struct pv_cpio cpio = { 0 };
	struct pv_errmsg msg = { 0 };
	size_t n, end, before;

	assert_ok(pv_cpio_add_host_file(&cpio, "etc/x", 0640, source, &msg), &msg);
	before = cpio.bytes.len;
	assert_int_equal(pv_cpio_add_host_file(&cpio, "usr/y", 0640, fixture_path(*state, "none"), &msg), PV_ERR_NOENT);
	assert_non_null(strstr(msg.text, "/none"));
	assert_int_equal(pv_cpio_add_host_file(&cpio, "usr/y", 0640, *state, &msg), PV_ERR_INVAL);
	assert_int_equal(cpio.bytes.len, before);
	pv_cpio_finish(&cpio);
	n = fixture_unpack(&cpio.bytes, 0, entries, 4, &end);
	assert_int_equal(n, 2);
	assert_int_equal(entries[1].mode, S_IFREG | 0640);
	assert_int_equal(entries[1].len, 22);
	assert_memory_equal(entries[1].data, "content of a host file", 22);
	pv_cpio_free(&cpio);
}

static void test_archive__readable_by_cpio(void **state)
{
	struct pv_cpio cpio = { 0 };
	struct pv_buf out = { 0 };
	struct pv_errmsg msg;
	const char *archive;
	enum pv_err err;

	pv_cpio_add_file(&cpio, "etc/odd name", 0644, "12345", 5);
	pv_cpio_add_symlink(&cpio, "bin/sh", "busybox");
	pv_cpio_finish(&cpio);
	archive = fixture_put(*state, "a.cpio", cpio.bytes.data, cpio.bytes.len);
	err = pv_guest_program((const char *const[]){ "cpio", "-t", "--quiet", "-F", archive, NULL }, NULL, 20000, &out,
	                       &msg);
	pv_cpio_free(&cpio);
	if (err == PV_ERR_NOENT)
		skip(); /* no cpio on this host */
	assert_ok(err, &msg);
	assert_string_equal(pv_buf_str(&out), "etc/\netc/odd name\nbin/\nbin/sh\n");
	pv_buf_free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_archive__golden_bytes),
		cmocka_unit_test(test_archive__kinds_of_entries),
		cmocka_unit_test(test_parents__once_and_with_their_usual_mode),
		cmocka_unit_test(test_archive__same_calls_same_bytes),
		cmocka_unit_test_setup_teardown(test_host_file__content_and_failure, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(test_archive__readable_by_cpio, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
