#include "machine_fixture.h"

#include <dirent.h>
#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/mem.h"

static void note(struct fixture *f, const char *word)
{
	size_t used = strlen(f->trace);

	snprintf(f->trace + used, sizeof f->trace - used, "%s%s", used ? " " : "", word);
	event_base_loopbreak(f->base);
	if (f->destroy_in_callback && f->machine) {
		pv_machine_destroy(f->machine);
		f->machine = NULL;
	}
}

static void on_ready(void *arg, const Pva__HelloReply *hello, bool again)
{
	struct fixture *f = arg;

	f->readies++;
	f->agains += again;
	snprintf(f->boot_id, sizeof f->boot_id, "%s", hello->boot_id ? hello->boot_id : "");
	note(f, hello->held ? "held" : "ready");
}

static void on_reset(void *arg)
{
	struct fixture *f = arg;

	f->resets++;
	note(f, "reset");
}

static void on_powered_off(void *arg)
{
	struct fixture *f = arg;

	f->offs++;
	note(f, "off");
}

static void on_failed(void *arg, enum pv_err err, const struct pv_errmsg *msg, bool kvm_failure)
{
	struct fixture *f = arg;

	f->failures++;
	f->err = err;
	f->msg = *msg;
	f->kvm_failure = kvm_failure;
	note(f, "failed");
}

static const struct pv_machine_handler handler = { on_ready, on_reset, on_powered_off, on_failed };

void fixture_op(void *arg, enum pv_err err, const struct pv_errmsg *msg)
{
	struct fixture *f = arg;

	f->ops++;
	f->op_err = err;
	snprintf(f->op_text, sizeof f->op_text, "%.255s", msg ? msg->text : "");
	note(f, "op");
}

double fixture_now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

const char *fixture_file(struct fixture *f, const char *name, const void *data, size_t len)
{
	static char paths[8][128];
	static unsigned last;
	char *path = paths[last++ % 8];
	FILE *file;

	snprintf(path, sizeof paths[0], "%s/%s", f->dir, name);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(data, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
	return path;
}

int fixture_setup(void **state)
{
	struct fixture *f = PV_NEW(struct fixture);

	f->base = event_base_new();
	snprintf(f->dir, sizeof f->dir, "/tmp/pv-test-machine-XXXXXX");
	if (!f->base || !mkdtemp(f->dir))
		return -1;
	f->config = (struct pv_machine_config){
		.name = "box",
		.dir = f->dir,
		.socket_dir = f->dir,
		.qemu = FAKE_QEMU,
		.machine = "pc",
		.memory_bytes = 64u << 20,
		.cpus = 1,
		.uuid = "5e7e3c05-4f8d-4b7a-9d0c-2f6f4a0c9b11",
		.boot_deadline_ms = 20000,
	};
	f->config.kernel = fixture_file(f, "kernel", "x", 1);
	f->config.initrd = fixture_file(f, "initrd", "x", 1);
	*state = f;
	return 0;
}

static bool has_socket(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *entry;
	bool found = false;

	while (d && (entry = readdir(d)) != NULL)
		found = found || strstr(entry->d_name, ".sock");
	if (d)
		closedir(d);
	return found;
}

int fixture_teardown(void **state)
{
	struct fixture *f = *state;
	static const char *const names[] = { "kernel", "initrd", "console.log", "qemu.log" };
	char path[128];
	int left = 0;

	pv_machine_destroy(f->machine);
	if (has_socket(f->dir)) {
		print_error("sockets are left in %s\n", f->dir);
		left = -1;
	}
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		snprintf(path, sizeof path, "%s/%s", f->dir, names[i]);
		unlink(path);
	}
	if (rmdir(f->dir) < 0) {
		print_error("files are left in %s\n", f->dir);
		left = -1;
	}
	event_base_free(f->base);
	free(f);
	return left;
}

enum pv_err fixture_start(struct fixture *f, const char *cmdline)
{
	Pva__Hello hello = PVA__HELLO__INIT;

	hello.hostname = (char *)"box";
	f->config.cmdline = cmdline;
	return pv_machine_start(f->base, &f->config, &hello, &handler, f, &f->machine, &f->msg);
}

bool fixture_run(struct fixture *f, const char *words, unsigned ms)
{
	double end = fixture_now_s() + ms / 1000.0;

	while (!strstr(f->trace, words)) {
		double left = end - fixture_now_s();
		struct timeval tv = { (time_t)left, (suseconds_t)((left - (double)(time_t)left) * 1e6) };

		if (left <= 0)
			return false;
		event_base_loopexit(f->base, &tv);
		event_base_dispatch(f->base);
	}
	return true;
}

static void on_sign_answered(void *arg, enum pv_err err, const struct pv_errmsg *msg)
{
	(void)arg;
	(void)err;
	(void)msg;
}

void fixture_sign(struct fixture *f)
{
	assert_true(fixture_run(f, "ready", 8000));
	if (f->machine)
		pv_machine_resume(f->machine, on_sign_answered, NULL);
}
