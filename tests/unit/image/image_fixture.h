/* Files for the tests of images: a temporary directory, kernel modules made by hand, and a reader of cpio archives. */
#ifndef PV_TESTS_IMAGE_FIXTURE_H
#define PV_TESTS_IMAGE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/err.h"
#include "proto/mem.h"

/* Setup and teardown of a test: *state is the path of a fresh directory, removed at the end. */
int fixture_setup(void **state);
int fixture_teardown(void **state);

/* "<dir>/<name>"; dies with the test. */
const char *fixture_path(const char *dir, const char *name);
/* Writes a file, directories on the way included. Returns its path, as fixture_path. */
const char *fixture_put(const char *dir, const char *name, const void *data, size_t len);
const char *fixture_put_text(const char *dir, const char *name, const char *text);
void fixture_read(const char *path, struct pv_buf *out);
/* Waits until the clock that stamps files has moved on from the last change of `path`, at most a second. */
void fixture_settle(const char *path);
bool fixture_exists(const char *path);

/* Bytes of a module (ELF, 64 bit) whose .modinfo has depends=, and alias= unless `alias` is NULL. */
void fixture_module(struct pv_buf *out, const char *name, const char *depends, const char *alias);
const char *fixture_put_module(const char *dir, const char *file, const char *name, const char *depends);
/* The drivers that the overlay wants, with the dependencies of Linux 6.1, in `dir`/kernel. */
void fixture_put_drivers(const char *dir);

struct fixture_entry {
	const char *name; /* in the archive's memory */
	uint32_t mode, major, minor;
	const uint8_t *data;
	size_t len;
};

/* The entries of an archive up to its trailer, from offset `at`; asserts that it is well formed. Returns their number and sets *end
 * to the offset behind the trailer. */
size_t fixture_unpack(const struct pv_buf *archive, size_t at, struct fixture_entry *entries, size_t max, size_t *end);
/* The last entry of that name, or NULL. */
const struct fixture_entry *fixture_find(const struct fixture_entry *entries, size_t n, const char *name);

#define assert_ok(call, msg)                                                                                           \
	do {                                                                                                           \
		if (call)                                                                                              \
			fail_msg("%s", (msg)->text);                                                                   \
	} while (0)

#endif
