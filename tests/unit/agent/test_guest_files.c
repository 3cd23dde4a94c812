/* Files read and written by the real agent, which is a process of this host. */
#include "guest_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

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

#define CASE(name) cmocka_unit_test_setup_teardown(name, guest_setup, guest_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_file__proc),   CASE(test_file__round_trip),          CASE(test_file__written_program_runs),
		CASE(test_file__errors), CASE(test_file__fifo_does_not_block),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
