/* Files that are followed by the real agent, which is a process of this host. */
#include "guest_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void make_path(struct fixture *f, char path[96])
{
	snprintf(path, 96, "%s/a", f->dir);
}

static void append(const char *path, const void *data, size_t len)
{
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), len);
	close(fd);
}

static void append_text(const char *path, const char *string)
{
	append(path, string, strlen(string));
}

static uint64_t open_tail(struct fixture *f, const char *path, enum pv_tail_from from, uint64_t offset)
{
	uint64_t id = pv_agent_reserve_id(f->agent);

	guest_wait(f, pv_guest_tail(f->agent, id, text(path), from, offset, guest_on_end, f));
	assert_string_equal(f->text, "");
	assert_int_equal(f->err, PV_OK);
	return id;
}

static void read_at(struct fixture *f, uint64_t id, uint64_t offset, uint32_t max)
{
	guest_wait(f, pv_guest_read(f->agent, id, 0, offset, max, guest_on_end, f));
}

#define assert_read(f, bytes)                                                                                          \
	do {                                                                                                           \
		assert_string_equal((f)->text, "");                                                                    \
		assert_int_equal((f)->err, PV_OK);                                                                     \
		assert_false((f)->result.eof);                                                                         \
		assert_string_equal(pv_buf_str(&(f)->out), bytes);                                                     \
	} while (0)

static void test_tail__where_it_starts(void **state)
{
	static const struct {
		enum pv_tail_from from;
		uint64_t offset;
		const char *expected;
	} cases[] = {
		{ PV_TAIL_FROM_BEGINNING, 0, "0123456789" },
		{ PV_TAIL_AT_OFFSET, 4, "456789" },
		{ PV_TAIL_BEFORE_END, 3, "789" },
		{ PV_TAIL_BEFORE_END, 99, "0123456789" },
		{ PV_TAIL_FROM_END, 0, NULL },
		{ PV_TAIL_AT_OFFSET, 10, NULL },
	};
	struct fixture *f = *state;
	char path[96];
	uint64_t ids[6];

	make_path(f, path);
	append_text(path, "0123456789");
	for (int i = 0; i < 6; i++)
		ids[i] = open_tail(f, path, cases[i].from, cases[i].offset);
	append_text(path, "new");
	for (int i = 0; i < 6; i++) {
		uint64_t offset = 0;

		if (cases[i].expected != NULL) {
			read_at(f, ids[i], 0, 100);
			assert_read(f, cases[i].expected);
			offset = strlen(cases[i].expected);
		}
		read_at(f, ids[i], offset, 100);
		assert_read(f, "new");
	}
}

static void test_tail__errors(void **state)
{
	struct fixture *f = *state;

	guest_wait(f, pv_guest_tail(f->agent, pv_agent_reserve_id(f->agent), text("/no/file"), PV_TAIL_FROM_END, 0,
	                            guest_on_end, f));
	assert_string_equal(f->text, "/no/file: No such file or directory (ENOENT)");
	guest_wait(f, pv_guest_tail(f->agent, pv_agent_reserve_id(f->agent), text("/usr"), PV_TAIL_FROM_END, 0,
	                            guest_on_end, f));
	assert_int_equal(f->sys_errno, EISDIR);
	guest_wait(f, pv_guest_tail(f->agent, pv_agent_reserve_id(f->agent), text("/dev/zero"), PV_TAIL_FROM_END, 0,
	                            guest_on_end, f));
	assert_int_equal(f->sys_errno, EINVAL);
	read_at(f, 4711, 0, 10);
	assert_int_equal(f->sys_errno, ESRCH);
}

/* A read waits for the write and gives it alone; what has been given is given again until more is asked for. */
static void test_tail__chunk_per_write(void **state)
{
	struct fixture *f = *state;
	struct guest_wait chunk = { .fixture = f };
	char path[96];
	uint64_t id;

	make_path(f, path);
	append_text(path, "before");
	id = open_tail(f, path, PV_TAIL_FROM_END, 0);
	pv_guest_read(f->agent, id, 0, 0, 100, guest_on_wait, &chunk);
	guest_idle(f, 30);
	assert_false(chunk.ended);
	append_text(path, "one");
	guest_wait_for(&chunk);
	assert_string_equal(pv_buf_str(&chunk.out), "one");
	/* Seen one by one, although nobody reads. */
	append_text(path, "two");
	guest_idle(f, 50);
	append_text(path, "three");
	guest_idle(f, 50);
	read_at(f, id, 0, 100);
	assert_read(f, "one");
	read_at(f, id, 3, 2);
	assert_read(f, "tw");
	guest_hello_again(f);
	read_at(f, id, 3, 100);
	assert_read(f, "two");
	read_at(f, id, 5, 100);
	assert_read(f, "o");
	read_at(f, id, 6, 100);
	assert_read(f, "three");
	read_at(f, id, 3, 100);
	assert_int_equal(f->sys_errno, EINVAL);
	read_at(f, id, 99, 100);
	assert_int_equal(f->sys_errno, EINVAL);
	read_at(f, id, 6, 100);
	assert_read(f, "three");
	guest_wait_free(&chunk);
}

static void test_tail__shrunk_file(void **state)
{
	struct fixture *f = *state;
	char path[96];
	uint64_t id;

	make_path(f, path);
	append_text(path, "0123456789");
	id = open_tail(f, path, PV_TAIL_FROM_BEGINNING, 0);
	read_at(f, id, 0, 100);
	assert_read(f, "0123456789");
	assert_int_equal(truncate(path, 0), 0);
	append_text(path, "anew");
	read_at(f, id, 10, 100);
	assert_read(f, "anew");
	append_text(path, "+");
	read_at(f, id, 14, 100);
	assert_read(f, "+");
}

/* An offset behind the end is waited for; the file has not shrunk. */
static void test_tail__starts_behind_the_end(void **state)
{
	struct fixture *f = *state;
	char path[96];
	uint64_t id;

	make_path(f, path);
	append_text(path, "01");
	id = open_tail(f, path, PV_TAIL_AT_OFFSET, 4);
	append_text(path, "2");
	guest_idle(f, 30);
	append_text(path, "3456");
	read_at(f, id, 0, 100);
	assert_read(f, "456");
}

/* More than the agent reads ahead; nothing is lost or given twice, whatever the pieces are. */
static void test_tail__many_writes(void **state)
{
	struct fixture *f = *state;
	const size_t size = 3u << 20;
	uint8_t *data = guest_pattern(size);
	struct guest_wait chunk = { .fixture = f };
	struct pv_buf got = { 0 };
	size_t written = 0;
	char path[96];
	uint64_t id;

	make_path(f, path);
	append_text(path, "");
	id = open_tail(f, path, PV_TAIL_FROM_BEGINNING, 0);
	while (got.len < size) {
		for (int i = 0; i < 40 && written < size; i++) {
			size_t len = 1 + (written * 7919) % 9000;

			len = len < size - written ? len : size - written;
			append(path, data + written, len);
			written += len;
		}
		pv_guest_read(f->agent, id, 0, got.len, 20000, guest_on_wait, &chunk);
		guest_wait_for(&chunk);
		assert_int_equal(chunk.err, PV_OK);
		pv_buf_add(&got, chunk.out.data, chunk.out.len);
	}
	assert_int_equal(got.len, size);
	assert_memory_equal(got.data, data, size);
	pv_buf_free(&got);
	guest_wait_free(&chunk);
	free(data);
}

/* Files of /proc announce nothing: a process of ours shows a name that changes. */
static void test_tail__proc(void **state)
{
	struct fixture *f = *state;
	char path[64];
	uint64_t id;

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)getpid());
	append(path, "a", 1);
	id = open_tail(f, path, PV_TAIL_FROM_BEGINNING, 0);
	read_at(f, id, 0, 100);
	assert_read(f, "a\n");
	append(path, "longer", 6);
	read_at(f, id, 2, 100);
	assert_read(f, "nger\n");
}

/* Two tails of one file share what the kernel announces; the end of one leaves the other. */
static void test_release__tail(void **state)
{
	struct fixture *f = *state;
	struct guest_wait waiting = { .fixture = f };
	char path[96];
	uint64_t one, two;

	make_path(f, path);
	append_text(path, "");
	one = open_tail(f, path, PV_TAIL_FROM_END, 0);
	two = open_tail(f, path, PV_TAIL_FROM_END, 0);
	pv_guest_read(f->agent, one, 0, 0, 100, guest_on_wait, &waiting);
	guest_wait(f, pv_guest_release(f->agent, one, guest_on_end, f));
	assert_int_equal(f->err, PV_OK);
	guest_wait_for(&waiting);
	assert_int_equal(waiting.sys_errno, ESRCH);
	pv_guest_read(f->agent, two, 0, 0, 100, guest_on_wait, &waiting);
	guest_idle(f, 30);
	append_text(path, "x");
	guest_wait_for(&waiting);
	assert_int_equal(waiting.err, PV_OK);
	read_at(f, one, 0, 100);
	assert_int_equal(f->sys_errno, ESRCH);
	guest_wait_free(&waiting);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, guest_setup, guest_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_tail__where_it_starts),
		CASE(test_tail__errors),
		CASE(test_tail__chunk_per_write),
		CASE(test_tail__shrunk_file),
		CASE(test_tail__starts_behind_the_end),
		CASE(test_tail__many_writes),
		CASE(test_tail__proc),
		CASE(test_release__tail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
