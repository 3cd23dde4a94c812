/* Machines under the real QEMU and TCG. Guests without Linux are a few bytes of 16-bit code in the shape of a kernel
 * image, so that these cases take no boot. The case with Linux needs PV_TEST_KERNEL or a readable /boot/vmlinuz-*. */
#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "machine_fixture.h"

#define QEMU "qemu-system-x86_64"

/* ---- tiny guests ---- */

/* Writes the text after the code, which ends with NUL, to COM1 and goes on at `rest`. */
#define PRINT(rest_len)                                                                                                \
	0xe8, 0x00, 0x00,                /*       call   next */                                                       \
	    0x5e,                        /* next: pop    si */                                                         \
	    0x83, 0xc6, 16 + (rest_len), /*  add    si, text - next */                                                 \
	    0xba, 0xf8, 0x03,            /*       mov    dx, 0x3f8 */                                                  \
	    0x2e, 0xac,                  /* more: lodsb  cs:[si] */                                                    \
	    0x84, 0xc0,                  /*       test   al, al */                                                     \
	    0x74, 0x03,                  /*       jz     rest */                                                       \
	    0xee,                        /*       out    dx, al */                                                     \
	    0xeb, 0xf7                   /*       jmp    more */

#define HANG 0xfa, 0xf4, 0xeb, 0xfd /* cli; again: hlt; jmp again */

static const uint8_t hang[] = { HANG };
static const uint8_t say_and_hang[] = { PRINT(4), HANG };
static const uint8_t reset[] = { 0xb0, 0xfe, 0xe6, 0x64, HANG }; /* pulse the reset line by port 0x64 */
static const uint8_t power_off[] = { 0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef, HANG }; /* PM1a_CNT: SLP_EN, S5 */

/* A bzImage whose real-mode part is `code` and, behind it, `text`. */
static const char *tiny_kernel(struct fixture *f, const uint8_t *code, size_t len, const char *text)
{
	static uint8_t image[8192];

	memset(image, 0, sizeof image);
	image[0x1f1] = 4; /* setup_sects: 512-byte sectors behind the first */
	image[0x1fe] = 0x55;
	image[0x1ff] = 0xaa;
	image[0x200] = 0xeb; /* jmp 0x26c, over the header */
	image[0x201] = 0x6a;
	memcpy(image + 0x202, "HdrS\x0c\x02", 6);
	image[0x211] = 0x01;                          /* LOADED_HIGH */
	memcpy(image + 0x214, "\x00\x00\x10\x00", 4); /* code32_start */
	memcpy(image + 0x22c, "\xff\xff\xff\x37", 4); /* initrd_addr_max */
	memcpy(image + 0x238, "\xff\x07\x00\x00", 4); /* cmdline_size */
	memcpy(image + 0x26c, code, len);
	memcpy(image + 0x26c + len, text, strlen(text) + 1);
	return fixture_file(f, "kernel", image, sizeof image);
}

static struct fixture *setup_tiny(void **state, const uint8_t *code, size_t len, const char *text)
{
	struct fixture *f = *state;

	f->config.qemu = QEMU;
	f->config.kernel = tiny_kernel(f, code, len, text);
	return f;
}

#define TINY(code, text) setup_tiny(state, code, sizeof(code), text)

/* ---- cases ---- */

static void test_start__qemu_missing(void **state)
{
	struct fixture *f = TINY(hang, "");

	f->config.qemu = "qemu-system-of-no-such-name";
	assert_int_equal(fixture_start(f, ""), PV_ERR_NOENT);
	assert_non_null(strstr(f->msg.text, "qemu-system-of-no-such-name"));
	assert_non_null(strstr(f->msg.text, "package"));
}

static void test_start__garbage_kernel(void **state)
{
	struct fixture *f = *state;

	f->config.qemu = QEMU;
	assert_int_equal(fixture_start(f, "console=ttyS0"), PV_OK);
	assert_true(fixture_run(f, "failed", 10000));
	print_message("%s\n", f->msg.text);
	assert_int_equal(f->err, PV_ERR_LOST);
	assert_non_null(strstr(f->msg.text, "ended at its start: it exited with status 1; its last words: "));
	assert_false(f->kvm_failure);
}

static void test_start__unknown_machine_type(void **state)
{
	struct fixture *f = TINY(hang, "");

	f->config.machine = "no-such-board";
	assert_int_equal(fixture_start(f, ""), PV_OK);
	assert_true(fixture_run(f, "failed", 10000));
	assert_non_null(strstr(f->msg.text, "unsupported machine type"));
}

static void test_deadline__with_the_consoles_tail(void **state)
{
	struct fixture *f = TINY(say_and_hang, "first\r\nhere I \033[1mhang\033[0m\n");

	f->config.boot_deadline_ms = 3000;
	assert_int_equal(fixture_start(f, ""), PV_OK);
	assert_true(fixture_run(f, "failed", 6000));
	assert_int_equal(f->err, PV_ERR_TIMEOUT);
	assert_non_null(strstr(f->msg.text, "within the boot deadline of 3 s"));
	assert_non_null(strstr(f->msg.text, "\nfirst\nhere I hang"));
}

static void test_panic__of_a_tiny_guest(void **state)
{
	struct fixture *f = TINY(say_and_hang, "hello\n[    0.100000] Kernel panic - not syncing: no reason at all\r\n"
	                                       "[    0.100001] Call Trace:\n");
	double start = fixture_now_s();

	assert_int_equal(fixture_start(f, ""), PV_OK);
	assert_true(fixture_run(f, "failed", 10000));
	assert_int_equal(f->err, PV_ERR_GUEST);
	assert_non_null(strstr(f->msg.text, "panicked: Kernel panic - not syncing: no reason at all\nhello\n"));
	/* The lines after it are waited for, but not for long. */
	assert_non_null(strstr(f->msg.text, "Call Trace:"));
	assert_true(fixture_now_s() - start < 5);
}

static void test_reset__again_and_again(void **state)
{
	struct fixture *f = TINY(reset, "");

	assert_int_equal(fixture_start(f, ""), PV_OK);
	assert_true(fixture_run(f, "failed", 15000));
	assert_int_equal(f->err, PV_ERR_GUEST);
	assert_non_null(strstr(f->msg.text, "reset itself 10 times"));
	assert_string_equal(f->trace, "failed");
}

static void test_end__guest_powers_off(void **state)
{
	struct fixture *f = TINY(power_off, "");

	assert_int_equal(fixture_start(f, ""), PV_OK);
	assert_true(fixture_run(f, "off", 10000));
	assert_string_equal(f->trace, "off");
}

static void test_end__killed_from_outside(void **state)
{
	struct fixture *f = TINY(hang, "");

	assert_int_equal(fixture_start(f, ""), PV_OK);
	pv_machine_pause(f->machine, fixture_op, f); /* so that QEMU is known to run */
	assert_true(fixture_run(f, "op", 10000));
	kill(pv_machine_pid(f->machine), SIGTERM);
	assert_true(fixture_run(f, "op failed", 5000));
	assert_int_equal(f->err, PV_ERR_LOST);
	assert_non_null(strstr(f->msg.text, "cause host-signal"));
}

static void test_pause__and_resume(void **state)
{
	struct fixture *f = TINY(hang, "");

	assert_int_equal(fixture_start(f, ""), PV_OK);
	pv_machine_pause(f->machine, fixture_op, f);
	pv_machine_resume(f->machine, fixture_op, f);
	pv_machine_pause(f->machine, fixture_op, f);
	assert_true(fixture_run(f, "op op op", 10000));
	assert_int_equal(f->op_err, PV_OK);
	pv_machine_reset(f->machine, 1000, fixture_op, f);
	assert_true(fixture_run(f, "op op op op", 2000));
	assert_int_equal(f->op_err, PV_ERR_STATE);
	assert_int_equal(f->failures, 0);
}

/* QEMU 7.2 keeps a console without reader from stalling the guest; a late reader of the socket gets what comes then. */
static void test_console__socket_can_be_connected(void **state)
{
	struct fixture *f = TINY(hang, "");
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(fixture_start(f, ""), PV_OK);
	pv_machine_pause(f->machine, fixture_op, f);
	assert_true(fixture_run(f, "op", 10000));
	snprintf(addr.sun_path, sizeof addr.sun_path, "%s/console.sock", f->dir);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof addr), 0);
	close(fd);
}

/* ---- Linux ---- */

static char *linux_kernel(void)
{
	const char *named = getenv("PV_TEST_KERNEL");
	struct dirent *entry;
	char path[300];
	DIR *dir;

	if (named)
		return strdup(named);
	dir = opendir("/boot");
	while (dir && (entry = readdir(dir)) != NULL) {
		snprintf(path, sizeof path, "/boot/%s", entry->d_name);
		if (strncmp(entry->d_name, "vmlinuz-", 8) == 0 && access(path, R_OK) == 0) {
			closedir(dir);
			return strdup(path);
		}
	}
	if (dir)
		closedir(dir);
	return NULL;
}

/* An initrd without a program to run: the kernel panics. With panic=-1 it resets at once, and the panic decides. */
static void test_panic__of_linux(void **state)
{
	static const char trailer[512] = "070701000000000000000000000000000000000000000100000000"
	                                 "00000000000000000000000000000000000000000000000b00000000"
	                                 "TRAILER!!!";
	struct fixture *f = *state;
	char *kernel = linux_kernel();
	double start = fixture_now_s();

	if (!kernel) {
		print_message("skipped: no kernel, set PV_TEST_KERNEL\n");
		skip();
	}
	f->config.qemu = QEMU;
	f->config.kernel = kernel;
	f->config.initrd = fixture_file(f, "initrd", trailer, sizeof trailer);
	f->config.memory_bytes = 256u << 20;
	f->config.boot_deadline_ms = 60000;
	assert_int_equal(fixture_start(f, "console=ttyS0 quiet panic=-1"), PV_OK);
	assert_true(fixture_run(f, "failed", 70000));
	free(kernel);
	print_message("panic seen after %.2f s\n%.300s\n", fixture_now_s() - start, f->msg.text);
	assert_int_equal(f->err, PV_ERR_GUEST);
	assert_non_null(strstr(f->msg.text, "panicked: Kernel panic - not syncing: "));
	assert_non_null(strstr(f->msg.text, "Call Trace:"));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_start__qemu_missing),
		CASE(test_start__garbage_kernel),
		CASE(test_start__unknown_machine_type),
		CASE(test_deadline__with_the_consoles_tail),
		CASE(test_panic__of_a_tiny_guest),
		CASE(test_reset__again_and_again),
		CASE(test_end__guest_powers_off),
		CASE(test_end__killed_from_outside),
		CASE(test_pause__and_resume),
		CASE(test_console__socket_can_be_connected),
		CASE(test_panic__of_linux),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
