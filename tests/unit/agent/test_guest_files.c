/* Files read and written by the real agent, which is a process of this host. */
#include "guest_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void test_file__proc(void **state)
{
	struct fixture *f = *state;

	guest_wait(f, pv_guest_read_file(f->agent, text("/proc/version"), guest_on_end, f));
	assert_int_equal(f->err, PV_OK);
	assert_memory_equal(pv_buf_str(&f->out), "Linux version ", 14);
}

static void test_file__round_trip(void **state)
{
	static const size_t sizes[] = { 0, 1, 786431, 786432, 786433, 1572864, 5u << 20 };
	struct fixture *f = *state;
	uint8_t *data = guest_pattern(5u << 20);
	char path[96];
	struct stat st;

	snprintf(path, sizeof(path), "%s/a", f->dir);
	for (size_t i = sizeof(sizes) / sizeof(sizes[0]); i-- > 0;) {
		guest_wait(f, pv_guest_write_file(f->agent, 0, text(path), (struct pv_bytes){ data, sizes[i] }, 0666,
		                                  guest_on_end, f));
		assert_string_equal(f->text, "");
		assert_int_equal(f->err, PV_OK);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_size, sizes[i]);
		assert_int_equal(st.st_mode & 07777, 0666);
		guest_wait(f, pv_guest_read_file(f->agent, text(path), guest_on_end, f));
		assert_int_equal(f->err, PV_OK);
		assert_int_equal(f->out.len, sizes[i]);
		assert_true(sizes[i] == 0 || memcmp(f->out.data, data, sizes[i]) == 0);
	}
	free(data);
}

/* ETXTBSY, if the agent kept the file open for writing. */
static void test_file__written_program_runs(void **state)
{
	struct fixture *f = *state;
	char path[96];
	struct pv_buf program = { 0 };

	snprintf(path, sizeof(path), "%s/a", f->dir);
	guest_wait(f, pv_guest_read_file(f->agent, text("/bin/true"), guest_on_end, f));
	assert_int_equal(f->err, PV_OK);
	pv_buf_add(&program, f->out.data, f->out.len);
	guest_wait(f, pv_guest_write_file(f->agent, 0, text(path), (struct pv_bytes){ program.data, program.len }, 0755,
	                                  guest_on_end, f));
	assert_int_equal(f->err, PV_OK);
	guest_direct(f, path, (struct pv_guest_run){ 0 });
	assert_exited(f, 0);
	pv_buf_free(&program);
}

static void test_file__errors(void **state)
{
	struct fixture *f = *state;

	guest_wait(f, pv_guest_read_file(f->agent, text("/no/such/file"), guest_on_end, f));
	assert_int_equal(f->err, PV_ERR_GUEST);
	assert_int_equal(f->sys_errno, ENOENT);
	assert_string_equal(f->text, "/no/such/file: No such file or directory (ENOENT)");
	guest_wait(f, pv_guest_read_file(f->agent, text("/usr"), guest_on_end, f));
	assert_string_equal(f->text, "/usr: Is a directory (EISDIR)");
	guest_wait(f, pv_guest_write_file(f->agent, 0, text("/no/such/file"), text("x"), 0644, guest_on_end, f));
	assert_string_equal(f->text, "/no/such/file: No such file or directory (ENOENT)");
	guest_wait(f, pv_guest_read_file(f->agent, (struct pv_bytes){ "/etc\0x", 6 }, guest_on_end, f));
	assert_int_equal(f->sys_errno, EINVAL);
}

/* A FIFO without a peer must not stop the agent. */
static void test_file__fifo_does_not_block(void **state)
{
	struct fixture *f = *state;
	char path[96];

	snprintf(path, sizeof(path), "%s/a", f->dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	guest_wait(f, pv_guest_read_file(f->agent, text(path), guest_on_end, f));
	assert_int_equal(f->err, PV_OK);
	assert_int_equal(f->out.len, 0);
	guest_wait(f, pv_guest_write_file(f->agent, 0, text(path), text("x"), 0644, guest_on_end, f));
	assert_int_equal(f->sys_errno, ENXIO);
}

static void put(struct fixture *f, const char *path, const char *content, uint32_t perm)
{
	guest_wait(f, pv_guest_write_boot_file(f->agent, text(path), text(content), perm, guest_on_end, f));
}

static void expect_file(const char *path, const char *content, mode_t perm)
{
	struct stat st;
	char read_back[64] = "";
	FILE *file = fopen(path, "re");

	assert_non_null(file);
	assert_true(fread(read_back, 1, sizeof(read_back) - 1, file) == strlen(content));
	fclose(file);
	assert_string_equal(read_back, content);
	assert_int_equal(lstat(path, &st), 0);
	assert_true(S_ISREG(st.st_mode));
	assert_int_equal(st.st_mode & 07777, perm);
}

/* Files of the boot: as the kernel unpacks an initrd. */
static void test_file__of_the_boot(void **state)
{
	struct fixture *f = *state;
	char deep[96], dir[96], link[96];
	struct stat st;

	snprintf(dir, sizeof(dir), "%s/a", f->dir);
	snprintf(deep, sizeof(deep), "%s/a/b//c/file", f->dir);
	snprintf(link, sizeof(link), "%s/b", f->dir);
	put(f, deep, "one", 0600);
	assert_string_equal(f->text, "");
	expect_file(deep, "one", 0600);
	assert_int_equal(stat(dir, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	put(f, deep, "three", 04711); /* the mode of a file that is there changes, too */
	expect_file(deep, "three", 04711);
	/* A link is not followed but replaced; one on the way is followed. */
	assert_int_equal(symlink(deep, link), 0);
	put(f, link, "plain", 0644);
	expect_file(link, "plain", 0644);
	expect_file(deep, "three", 04711);
	assert_int_equal(unlink(link), 0);
	assert_int_equal(symlink("a/b", link), 0);
	snprintf(dir, sizeof(dir), "%s/b/d/e", f->dir);
	put(f, dir, "", 0644);
	expect_file(dir, "", 0644);
	put(f, deep, "", 0644);
	/* What cannot be is an error of the file. */
	snprintf(dir, sizeof(dir), "%s/a/b/c/file/below", f->dir);
	put(f, dir, "x", 0644);
	assert_int_equal(f->sys_errno, ENOTDIR);
	snprintf(dir, sizeof(dir), "%s/a", f->dir);
	put(f, dir, "x", 0644);
	assert_int_equal(f->sys_errno, ENOTEMPTY);
	guest_sh(f, "rm -r a b", (struct pv_guest_run){ .cwd = text(f->dir) });
	assert_exited(f, 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, guest_setup, guest_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_file__proc),   CASE(test_file__round_trip),          CASE(test_file__written_program_runs),
		CASE(test_file__errors), CASE(test_file__fifo_does_not_block), CASE(test_file__of_the_boot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
