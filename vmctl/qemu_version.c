/* Which QEMU a binary is. Asking takes the start of a process, so the answer is remembered. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proto/mem.h"
#include "vmctl/process.h"
#include "vmctl/qemu_args.h"

#define VERSION_TIMEOUT_MS 10000
#define VERSION_OUTPUT_MAX 4096
#define KNOWN_MAX          8 /* binaries of one run */

struct known {
	struct stat file;
	char version[32];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct known known[KNOWN_MAX];
static unsigned next_known;

/* The file that execvp(3) would take. False if there is none. */
static bool find_binary(const char *qemu, struct stat *out)
{
	const char *dir = strchr(qemu, '/') ? NULL : getenv("PATH"), *end;
	bool found = false;

	if (!dir)
		return strchr(qemu, '/') && stat(qemu, out) == 0;
	for (; dir && !found; dir = *end ? end + 1 : NULL) {
		char *path;

		end = strchrnul(dir, ':');
		path = pv_xasprintf("%.*s/%s", (int)(end - dir), end > dir ? dir : ".", qemu);
		found = access(path, X_OK) == 0 && stat(path, out) == 0 && S_ISREG(out->st_mode);
		free(path);
	}
	return found;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
	       a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static bool recall(const struct stat *file, char out[32])
{
	bool found = false;

	pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < KNOWN_MAX && !found; i++) {
		found = known[i].version[0] != '\0' && same_file(&known[i].file, file);
		if (found)
			memcpy(out, known[i].version, sizeof known[i].version);
	}
	pthread_mutex_unlock(&lock);
	return found;
}

static void remember(const struct stat *file, const char version[32])
{
	struct known *slot;

	pthread_mutex_lock(&lock);
	slot = &known[next_known++ % KNOWN_MAX];
	slot->file = *file;
	memcpy(slot->version, version, sizeof slot->version);
	pthread_mutex_unlock(&lock);
}

static enum pv_err ask(const char *qemu, char out[32], struct pv_errmsg *msg)
{
	const char *const argv[] = { qemu, "--version", NULL };
	struct pv_buf text = { 0 };
	unsigned major, minor, micro;
	enum pv_err err;
	int status;

	err = pv_process_output(argv, VERSION_TIMEOUT_MS, VERSION_OUTPUT_MAX, &text, &status, msg);
	if (err == PV_ERR_NOENT)
		pv_err_set(msg, err,
		           "QEMU binary %s is not there or not executable: install the package "
		           "qemu-system-x86 or name another binary",
		           qemu);
	else if (err)
		pv_err_wrap(msg, err, "cannot ask %s for its version", qemu);
	else if (status != 0 ||
	         sscanf(pv_buf_str(&text), "QEMU emulator version %9u.%9u.%9u", &major, &minor, &micro) != 3)
		err = pv_err_set(msg, PV_ERR_FOREIGN, "%s is no QEMU system emulator: %s --version does not say so",
		                 qemu, qemu);
	else {
		snprintf(out, 32, "%u.%u.%u", major, minor, micro);
		if (major < 7 || (major == 7 && minor < 2))
			err = pv_err_set(msg, PV_ERR_VERSION,
			                 "%s is QEMU %s, and 7.2 or newer is needed: install the package "
			                 "qemu-system-x86 of Debian 12 or newer, or name another binary",
			                 qemu, out);
	}
	pv_buf_free(&text);
	return err;
}

enum pv_err pv_qemu_version(const char *qemu, char out[32], struct pv_errmsg *msg)
{
	struct stat file;
	bool there = find_binary(qemu, &file);
	enum pv_err err;

	if (there && recall(&file, out))
		return PV_OK;
	err = ask(qemu, out, msg);
	if (!err && there)
		remember(&file, out);
	return err;
}
