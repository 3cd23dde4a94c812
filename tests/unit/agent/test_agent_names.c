/* The names of a lab in a guest's /etc/hosts, and its /etc/resolv.conf. The files are those of a mount namespace of our own, where that can be had. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "network.h"
#include "proto/mem.h"

#define LOCALHOST "127.0.0.1\tlocalhost\n::1\tlocalhost\n"
#define BEGIN     "# names of the lab, kept by provium\n"
#define END       "# end of the names of the lab\n"
#define OURS      BEGIN "10.1.2.3\ta.lan\n10.1.2.4\tb\n" END

struct names {
	Pva__Network network;
	Pva__HostName name[4], *list[4];
	uint8_t address[4][4];
};

static struct names *names_of(size_t n, const char *const *texts)
{
	static struct names names;

	memset(&names, 0, sizeof names);
	pva__network__init(&names.network);
	for (size_t i = 0; i < n; i++) {
		memcpy(names.address[i], (const uint8_t[]){ 10, 1, 2, (uint8_t)(3 + i) }, 4);
		pva__host_name__init(&names.name[i]);
		names.name[i].has_address = 1;
		names.name[i].address = (ProtobufCBinaryData){ 4, names.address[i] };
		names.name[i].name = (char *)texts[i];
		names.list[i] = &names.name[i];
	}
	names.network.names = names.list;
	names.network.n_names = n;
	return &names;
}

static struct names *two(void)
{
	return names_of(2, (const char *const[]){ "a.lan", "b" });
}

static struct names *none(void)
{
	return names_of(0, NULL);
}

static void check_hosts(const char *before, const struct names *names, const char *want)
{
	struct pv_buf after = { 0 };

	pv_network_hosts(before, &names->network, &after);
	assert_string_equal(pv_buf_str(&after), want);
	pv_buf_free(&after);
}

/* ---- the text ---- */

static void test_hosts__where_there_was_nothing(void **state)
{
	(void)state;
	check_hosts("", two(), LOCALHOST OURS);
	check_hosts("", none(), LOCALHOST);
}

static void test_hosts__what_others_wrote_stays(void **state)
{
	(void)state;
	check_hosts("1.2.3.4 x\n", two(), "1.2.3.4 x\n" OURS);
	check_hosts("1.2.3.4 x", two(), "1.2.3.4 x\n" OURS); /* no end of line */
	check_hosts("# about\n\n1.2.3.4 x # names\n", two(), "# about\n\n1.2.3.4 x # names\n" OURS);
	check_hosts("a\n" BEGIN "10.9.9.9\told\n" END "b\n", two(), "a\nb\n" OURS);
	check_hosts("a\n" OURS "b", none(), "a\nb\n");
	check_hosts(OURS, none(), "");
}

/* Once more is the same: no line is added, none is lost. */
static void test_hosts__again(void **state)
{
	(void)state;
	check_hosts(LOCALHOST OURS, two(), LOCALHOST OURS);
	check_hosts("a\n" OURS OURS, two(), "a\n" OURS);               /* an image made of a guest of ours */
	check_hosts("a\n" BEGIN "10.9.9.9\told\n", two(), "a\n" OURS); /* the end is missing */
	check_hosts("a\n" END "b\n", two(), "a\n" END "b\n" OURS);     /* the beginning is: then it is not ours */
}

/* What would be another line, or none, is left out. */
static void test_hosts__names_that_are_none(void **state)
{
	struct names *names = names_of(4, (const char *const[]){ "a\n6.6.6.6 evil", "b c", "d#e", "good" });

	(void)state;
	check_hosts("", names, LOCALHOST BEGIN "10.1.2.6\tgood\n" END);
	names->name[0].name = NULL;
	names->name[3].address.len = 3;
	check_hosts("", names, LOCALHOST BEGIN END);
}

/* ---- the files ---- */

/* An /etc of our own. */
static int enter(void **state)
{
	(void)state;
	if (unshare(CLONE_NEWNS) != 0) {
		print_message("skipped: no mount namespace (%s): not root?\n", strerror(errno));
		return 0;
	}
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 || mount("t", "/etc", "tmpfs", 0, NULL) != 0)
		return -1;
	return 0;
}

static bool is_ours(void)
{
	return access("/etc/passwd", F_OK) != 0;
}

static void put(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
	assert_int_equal(fclose(file), 0);
}

static void check_file(const char *path, const char *want)
{
	char text[1024];
	FILE *file = fopen(path, "r");
	size_t n;

	assert_non_null(file);
	n = fread(text, 1, sizeof text - 1, file);
	text[n] = '\0';
	fclose(file);
	assert_string_equal(text, want);
}

#define NEEDS_OWN_ETC()                                                                                                \
	do {                                                                                                           \
		if (!is_ours())                                                                                        \
			skip();                                                                                        \
	} while (0)

static void test_write__hosts(void **state)
{
	struct stat before, after;

	(void)state;
	NEEDS_OWN_ETC();
	assert_int_equal(pv_network_write_names(&two()->network), 0);
	check_file("/etc/hosts", LOCALHOST OURS);
	assert_int_equal(stat("/etc/hosts", &before), 0);
	assert_int_equal(before.st_mode & 0777, 0644);
	/* The same again does not touch it. */
	assert_int_equal(pv_network_write_names(&two()->network), 0);
	assert_int_equal(stat("/etc/hosts", &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	assert_int_equal(pv_network_write_names(&none()->network), 0);
	check_file("/etc/hosts", LOCALHOST);
	assert_int_equal(access("/etc/hosts.provium", F_OK), -1);
}

/* A container's image has /etc/hosts as a mount point: no rename there. */
static void test_write__hosts_that_are_a_mount_point(void **state)
{
	(void)state;
	NEEDS_OWN_ETC();
	put("/etc/real", "1.2.3.4 x, a line that is longer than what comes afterwards\n" OURS OURS);
	put("/etc/hosts", "");
	assert_int_equal(mount("/etc/real", "/etc/hosts", NULL, MS_BIND, NULL), 0);
	assert_int_equal(pv_network_write_names(&none()->network), 0);
	check_file("/etc/real", "1.2.3.4 x, a line that is longer than what comes afterwards\n");
	assert_int_equal(access("/etc/hosts.provium", F_OK), -1);
	assert_int_equal(umount("/etc/hosts"), 0);
	unlink("/etc/hosts");
}

/* Nothing of a file is lost: if not all of it can be read, or none can be written, it is as it was. */
static void test_write__hosts_that_cannot_be_written(void **state)
{
	struct stat before, after;

	(void)state;
	NEEDS_OWN_ETC();
	put("/etc/hosts", "1.2.3.4 x\n");
	assert_int_equal(truncate("/etc/hosts", 2 << 20), 0);
	assert_int_equal(stat("/etc/hosts", &before), 0);
	assert_int_equal(pv_network_write_names(&two()->network), EFBIG);
	assert_int_equal(stat("/etc/hosts", &after), 0);
	assert_int_equal(after.st_size, before.st_size);
	put("/etc/hosts", "1.2.3.4 x\n");
	assert_int_equal(mount(NULL, "/etc", NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
	assert_int_equal(pv_network_write_names(&two()->network), EROFS);
	assert_int_equal(mount(NULL, "/etc", NULL, MS_REMOUNT, NULL), 0);
	check_file("/etc/hosts", "1.2.3.4 x\n");
	unlink("/etc/hosts");
}

static void test_write__resolver(void **state)
{
	static uint8_t server[4] = { 10, 1, 0, 2 };
	struct names *names = none();

	(void)state;
	NEEDS_OWN_ETC();
	/* One that is not ours stays where there is no uplink. */
	put("/etc/resolv.conf", "nameserver 9.9.9.9\n");
	assert_int_equal(pv_network_write_resolver(&names->network), 0);
	check_file("/etc/resolv.conf", "nameserver 9.9.9.9\n");
	names->network.has_nameserver = 1;
	names->network.nameserver = (ProtobufCBinaryData){ 4, server };
	assert_int_equal(pv_network_write_resolver(&names->network), 0);
	check_file("/etc/resolv.conf", "# kept by provium\nnameserver 10.1.0.2\n");
	/* Ours goes with the uplink. */
	assert_int_equal(pv_network_write_resolver(&none()->network), 0);
	assert_int_equal(access("/etc/resolv.conf", F_OK), -1);
	assert_int_equal(pv_network_write_resolver(&none()->network), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hosts__where_there_was_nothing),
		cmocka_unit_test(test_hosts__what_others_wrote_stays),
		cmocka_unit_test(test_hosts__again),
		cmocka_unit_test(test_hosts__names_that_are_none),
		cmocka_unit_test(test_write__hosts),
		cmocka_unit_test(test_write__hosts_that_are_a_mount_point),
		cmocka_unit_test(test_write__hosts_that_cannot_be_written),
		cmocka_unit_test(test_write__resolver),
	};

	return cmocka_run_group_tests(tests, enter, NULL);
}
