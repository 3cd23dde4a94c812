#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/mem.h"
#include "vmctl/qemu_args.h"

static const struct pv_qemu_fds fds = { .qmp = 3, .agent = 4, .console = 5, .keeper = 6, .memory = 7, .incoming = 8 };

static const struct pv_machine_config plain = {
	.name = "alpha",
	.dir = "/run/vm",
	.socket_dir = "/run/s",
	.qemu = "qemu-system-x86_64",
	.machine = "pc",
	.memory_bytes = 256u << 20,
	.cpus = 2,
	.kernel = "/boot/vmlinuz",
	.initrd = "/boot/initrd",
	.cmdline = "console=ttyS0 quiet, or not",
	.uuid = "5e7e3c05-4f8d-4b7a-9d0c-2f6f4a0c9b11",
};

/* Two arguments a line, as options and their values pair up. */
static char *joined(char **argv)
{
	struct pv_buf text = { 0 };

	for (char **arg = argv; *arg; arg++)
		pv_buf_addf(&text, "%s%s", arg == argv ? "" : (*arg)[0] == '-' ? "\n" : " ", *arg);
	pv_qemu_args_free(argv);
	return pv_buf_steal(&text);
}

/* A change of this text changes what a snapshot can be restored into. */
static void test_args__golden(void **state)
{
	char *text = joined(pv_qemu_args(&plain, &fds, "/run/vm/console.log"));

	(void)state;
	assert_string_equal(
	    text, "qemu-system-x86_64\n"
	          "-nodefaults\n"
	          "-no-user-config\n"
	          "-display none\n"
	          "-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny\n"
	          "-name guest=alpha,process=provium:alpha\n"
	          "-uuid 5e7e3c05-4f8d-4b7a-9d0c-2f6f4a0c9b11\n"
	          "-machine pc,accel=tcg,usb=off,dump-guest-core=off,suppress-vmdesc=on,vmport=off\n"
	          "-cpu max\n"
	          "-smp 2\n"
	          "-m size=268435456B\n"
	          "-chardev socket,id=qmp,fd=3,server=on,wait=off\n"
	          "-mon chardev=qmp,mode=control\n"
	          "-chardev socket,id=keeper,fd=6,server=on,wait=off\n"
	          "-mon chardev=keeper,mode=control\n"
	          "-chardev socket,id=console,fd=5,server=on,wait=off,logfile=/run/vm/console.log,logappend=on\n"
	          "-serial chardev:console\n"
	          "-device virtio-serial-pci,id=serial,max_ports=2,addr=0x3\n"
	          "-chardev socket,id=agent,fd=4,server=on,wait=off\n"
	          "-device virtserialport,bus=serial.0,nr=1,chardev=agent,name=org.provium.agent.0\n"
	          "-object rng-builtin,id=rng\n"
	          "-device virtio-rng-pci,rng=rng,addr=0x4\n"
	          "-kernel /boot/vmlinuz\n"
	          "-initrd /boot/initrd\n"
	          "-append console=ttyS0 quiet, or not");
	free(text);
}

static void test_args__variants(void **state)
{
	struct pv_machine_config config = plain;
	char *text;

	(void)state;
	config.kvm = true;
	config.machine = "microvm";
	config.has_rng_seed = true;
	config.rng_seed = UINT64_MAX;
	config.has_rtc = true;
	config.rtc_s = 1000000000;
	text = joined(pv_qemu_args(&config, &fds, "/run/vm/console.log"));
	assert_non_null(strstr(text, "\n-machine microvm,accel=kvm,usb=off,dump-guest-core=off,suppress-vmdesc=on\n"));
	assert_non_null(strstr(text, "\n-seed 18446744073709551615\n"));
	assert_non_null(strstr(text, "\n-rtc base=2001-09-09T01:46:40\n"));
	free(text);
	config.rtc_s = 4102444800; /* 2100: no battery clock counts so far */
	text = joined(pv_qemu_args(&config, &fds, "/run/vm/console.log"));
	assert_null(strstr(text, "-rtc"));
	free(text);
}

/* Commas in paths and serial numbers are doubled; the address says where a snapshot finds the disk. */
static void test_args__disks(void **state)
{
	const struct pv_machine_disk disks[] = {
		{ .id = "disk8", .serial = "a,b", .path = "/run/vm/x,y.raw", .pci = 8 },
		{ .id = "disk9", .serial = "data", .path = "/z", .pci = 9 },
	};
	struct pv_machine_config config = plain;
	char *text;

	(void)state;
	config.disks = disks;
	config.n_disks = 2;
	text = joined(pv_qemu_args(&config, &fds, "/run/vm/console.log"));
	assert_non_null(strstr(text, "\n-blockdev driver=raw,node-name=disk8,discard=unmap,file.driver=file,"
	                             "file.discard=unmap,file.filename=/run/vm/x,,y.raw\n"
	                             "-device virtio-blk-pci,id=disk8,drive=disk8,serial=a,,b,addr=0x8\n"));
	assert_non_null(strstr(text, "drive=disk9,serial=data,addr=0x9\n"));
	free(text);
}

/* A machine that goes on from a snapshot: the devices are the same, at the same places; its memory is a private mapping. */
static void test_args__from_a_snapshot(void **state)
{
	struct pv_machine_config config = plain;
	char *text;

	(void)state;
	config.from = (struct pv_snapshot *)&config; /* what is in it does not matter */
	text = joined(pv_qemu_args(&config, &fds, "/run/vm/console.log"));
	assert_non_null(strstr(text, ",vmport=off,memory-backend=ram\n"));
	assert_non_null(strstr(text,
	                       "\n-device virtio-rng-pci,rng=rng,addr=0x4\n"
	                       "-object memory-backend-file,id=ram,size=268435456B,mem-path=/proc/self/fd/7,share=off\n"
	                       "-S\n"
	                       "-incoming fd:8\n"
	                       "-global migration.send-configuration=off\n"
	                       "-global migration.x-events=on\n"
	                       "-kernel /boot/vmlinuz\n"));
	free(text);
	text = joined(pv_qemu_args(&config, &fds, NULL));
	assert_non_null(strstr(text, "\n-chardev null,id=console\n-serial chardev:console\n"));
	free(text);
}

/* A name or a path cannot add options: where QEMU parses a list, commas are doubled. */
static void test_args__commas(void **state)
{
	struct pv_machine_config config = plain;
	char *text;

	(void)state;
	config.name = "a,process=evil";
	config.kernel = "/k,1";
	config.machine = "pc,accel=kvm";
	text = joined(pv_qemu_args(&config, &fds, "/run/x,logappend=off/console.log"));
	assert_non_null(strstr(text, "-name guest=a,,process=evil,process=provium:a,,process=evil\n"));
	assert_non_null(strstr(text, "logfile=/run/x,,logappend=off/console.log,logappend=on\n"));
	assert_non_null(strstr(text, "-machine pc,,accel=kvm,accel=tcg,"));
	assert_non_null(strstr(text, "-kernel /k,1\n"));
	free(text);
}

/* NICs stand at the numbers that they are given, on the bus of a machine that starts and of one that goes on; their paths add no options. */
static void test_args__nics(void **state)
{
	static const char lines[] =
	    "\n-netdev dgram,id=nic16-net,local.type=unix,local.path=/run/s/a,,b/nic16.qemu,"
	    "remote.type=unix,remote.path=/run/s/a,,b/nic16.net\n"
	    "-device virtio-net-pci,id=nic16,netdev=nic16-net,mac=52:54:00:01:02:03,addr=0x10,romfile=\n"
	    "-netdev dgram,id=nic8-net,local.type=unix,local.path=/run/s/8.qemu,"
	    "remote.type=unix,remote.path=/run/s/8.net\n"
	    "-device virtio-net-pci,id=nic8,netdev=nic8-net,mac=52:54:00:02:02:03,addr=0x8,romfile=\n";
	const struct pv_machine_nic nics[] = {
		{ "nic16", "52:54:00:01:02:03", 16, "/run/s/a,b/nic16.qemu", "/run/s/a,b/nic16.net", true },
		{ "nic8", "52:54:00:02:02:03", 8, "/run/s/8.qemu", "/run/s/8.net", true },
	};
	struct pv_machine_config config = plain;
	const char *at;
	char *text;

	(void)state;
	config.nics = nics;
	config.n_nics = 2;
	text = joined(pv_qemu_args(&config, &fds, NULL));
	at = strstr(text, lines);
	assert_non_null(at);
	assert_int_equal(strncmp(at + strlen(lines), "-kernel ", 8), 0);
	assert_null(strstr(at + 1, "\n-netdev dgram,id=nic16-net"));
	free(text);
	config.from = (struct pv_snapshot *)&config;
	text = joined(pv_qemu_args(&config, &fds, NULL));
	assert_non_null(strstr(text, lines));
	free(text);
	config.n_nics = 0;
	text = joined(pv_qemu_args(&config, &fds, NULL));
	assert_null(strstr(text, "virtio-net"));
	free(text);
}

/* ---- version ---- */

static enum pv_err ask(const char *says, char version[32], struct pv_errmsg *msg)
{
	char path[] = "/tmp/pv-test-qemu-XXXXXX";
	int fd = mkstemp(path);
	FILE *file = fdopen(fd, "w");
	enum pv_err err;

	fprintf(file, "#!/bin/sh\n%s\n", says);
	fchmod(fd, 0700);
	fclose(file);
	err = pv_qemu_version(path, version, msg);
	unlink(path);
	return err;
}

static void test_version__of_programs(void **state)
{
	struct pv_errmsg *msg = PV_NEW(struct pv_errmsg);
	char version[32];

	(void)state;
	assert_int_equal(ask("echo 'QEMU emulator version 7.2.19 (Debian 1:7.2+dfsg-7)'; echo Copyright", version, msg),
	                 PV_OK);
	assert_string_equal(version, "7.2.19");
	assert_int_equal(ask("echo 'QEMU emulator version 10.0.0'", version, msg), PV_OK);
	assert_string_equal(version, "10.0.0");
	assert_int_equal(ask("echo 'QEMU emulator version 7.1.0'", version, msg), PV_ERR_VERSION);
	assert_non_null(strstr(msg->text, "7.1.0"));
	assert_non_null(strstr(msg->text, "7.2"));
	assert_int_equal(ask("echo 'QEMU emulator version 5.2.0'", version, msg), PV_ERR_VERSION);
	assert_int_equal(ask("echo 'bash 5.2'", version, msg), PV_ERR_FOREIGN);
	assert_int_equal(ask("exit 1", version, msg), PV_ERR_FOREIGN);
	assert_int_equal(ask("exec cat /dev/zero", version, msg), PV_ERR_PROTOCOL);
	assert_int_equal(pv_qemu_version("/nonexistent/qemu", version, msg), PV_ERR_NOENT);
	assert_non_null(strstr(msg->text, "install the package"));
	free(msg);
}

static void write_program(const char *path, const char *says)
{
	FILE *file = fopen(path, "w");

	fprintf(file, "#!/bin/sh\n%s\n", says);
	fchmod(fileno(file), 0700);
	fclose(file);
}

/* The second answer costs no process; another file under the name is asked anew. By path and by PATH. */
static void test_version__is_remembered(void **state)
{
	char dir[] = "/tmp/pv-test-qemu-XXXXXX", path[64], calls[64], script[160], version[32], *before;
	struct pv_errmsg *msg = PV_NEW(struct pv_errmsg);
	struct stat st;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/qemu-of-a-test", dir);
	snprintf(calls, sizeof calls, "%s/calls", dir);
	snprintf(script, sizeof script, "echo x >>%s; echo 'QEMU emulator version 8.1.2'", calls);
	write_program(path, script);
	assert_int_equal(pv_qemu_version(path, version, msg), PV_OK);
	memset(version, 0, sizeof version);
	assert_int_equal(pv_qemu_version(path, version, msg), PV_OK);
	assert_string_equal(version, "8.1.2");
	before = strdup(getenv("PATH"));
	assert_int_equal(setenv("PATH", dir, 1), 0);
	assert_int_equal(pv_qemu_version("qemu-of-a-test", version, msg), PV_OK);
	setenv("PATH", before, 1);
	free(before);
	assert_int_equal(stat(calls, &st), 0);
	assert_int_equal(st.st_size, 2);
	unlink(path);
	write_program(path, "echo 'QEMU emulator version 9.0.0'");
	assert_int_equal(pv_qemu_version(path, version, msg), PV_OK);
	assert_string_equal(version, "9.0.0");
	unlink(path);
	assert_int_equal(pv_qemu_version(path, version, msg), PV_ERR_NOENT);
	unlink(calls);
	rmdir(dir);
	free(msg);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_args__golden),         cmocka_unit_test(test_args__variants),
		cmocka_unit_test(test_args__disks),          cmocka_unit_test(test_args__from_a_snapshot),
		cmocka_unit_test(test_args__commas),         cmocka_unit_test(test_args__nics),
		cmocka_unit_test(test_version__of_programs), cmocka_unit_test(test_version__is_remembered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
