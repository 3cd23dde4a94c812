/* What a boot template is good for: which boots it serves, and which of them share one. */
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/lab/driver_qemu_template.h"
#include "proto/mem.h"
#include "vmctl/image.h"

/* Through the agent's port files come slower than in an initrd. */
#define FILES_MAX (16u << 20)

/* ---- which boots ---- */

static bool is_below(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	return strncmp(path, dir, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

/* Files that the kernel or the agent would have used before the hold point, or that a file system is mounted over by then; and paths that
 * are refused. */
static bool comes_late(const char *path)
{
	static const char *const early[] = { "/proc",
		                             "/sys",
		                             "/dev",
		                             "/lib/provium",
		                             "/lib/modules",
		                             "/lib/firmware",
		                             "/usr/lib/provium",
		                             "/usr/lib/modules",
		                             "/usr/lib/firmware",
		                             "/sbin/provium-agent",
		                             "/usr/sbin/provium-agent" };

	if (path[0] != '/' || strstr(path, "..") != NULL || strstr(path, "//") != NULL || strstr(path, "/./") != NULL)
		return true;
	for (size_t i = 0; i < sizeof(early) / sizeof(early[0]); i++) {
		if (is_below(path, early[i]))
			return true;
	}
	return false;
}

bool qemu_template_serves(const Pv__VmSpec *spec)
{
	size_t bytes = 0;

	/* The stream of virtio-rng begins with QEMU, and a cold guest has read of it before its init: a guest that goes on in a new QEMU would see
	 * it begin later. */
	if (!spec->template_ || spec->has_rng_seed)
		return false;
	/* Disks are to be there when the image's init begins, and a guest finds what is plugged in only after a while. */
	if (spec->n_disks > 0)
		return false;
	for (size_t i = 0; i < spec->n_files; i++) {
		const Pv__BootFile *file = spec->files[i];

		if (comes_late(file->path))
			return false;
		if (file->content != NULL && file->content->kind_case == PV__PAYLOAD__KIND_DATA)
			bytes += file->content->data.len;
	}
	return bytes <= FILES_MAX;
}

/* ---- the key ---- */

static void add(struct pv_buf *text, const char *name, const char *value)
{
	/* Lengths keep two lists of values from being the same text. */
	pv_buf_addf(text, "%s %zu:%s\n", name, strlen(value), value);
}

static void add_file(struct pv_buf *text, const char *name, const uint8_t sha256[32])
{
	pv_buf_addf(text, "%s ", name);
	for (int i = 0; i < 32; i++)
		pv_buf_addf(text, "%02x", sha256[i]);
	pv_buf_addf(text, "\n");
}

/* The binary stands for its version and what it was built with: asking it would take as long as a restore. */
static enum pv_err add_qemu(struct pv_buf *text, const char *qemu, struct pv_errmsg *msg)
{
	const char *dirs = getenv("PATH");
	struct stat st;
	char *path = NULL;

	if (strchr(qemu, '/') != NULL)
		path = pv_xstrdup(qemu);
	for (const char *dir = dirs; path == NULL && dir != NULL && *dir != '\0';) {
		size_t len = strcspn(dir, ":");

		path = pv_xasprintf("%.*s/%s", (int)len, dir, qemu);
		if (access(path, X_OK) != 0) {
			free(path);
			path = NULL;
		}
		dir += len + (dir[len] == ':');
	}
	if (path == NULL || stat(path, &st) != 0) {
		free(path);
		return pv_err_set(msg, PV_ERR_NOENT, "QEMU binary %s is not there", qemu);
	}
	pv_buf_addf(text, "qemu %zu:%s %jd %jd.%09ld\n", strlen(path), path, (intmax_t)st.st_size,
	            (intmax_t)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
	free(path);
	return PV_OK;
}

/* Under KVM the guest sees the processor of the host. */
static void add_processor(struct pv_buf *text)
{
	static const char *const names[] = { "vendor_id", "cpu family", "model", "stepping", "microcode", "flags" };
	FILE *file = fopen("/proc/cpuinfo", "re");
	char line[8192];

	while (file != NULL && fgets(line, sizeof(line), file) != NULL && line[0] != '\n') {
		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
			if (strncmp(line, names[i], strlen(names[i])) == 0)
				add(text, "cpuinfo", line);
		}
	}
	if (file != NULL)
		fclose(file);
}

static void digest(const struct pv_buf *text, char key[65])
{
	uint8_t sha256[32];

	if (EVP_Digest(text->data, text->len, sha256, NULL, EVP_sha256(), NULL) != 1)
		PV_BUG("SHA-256 failed");
	for (int i = 0; i < 32; i++)
		snprintf(key + 2 * i, 3, "%02x", sha256[i]);
}

enum pv_err qemu_template_key(const struct qemu_vm *vm, const struct pv_profile *profile, char key[65],
                              struct pv_errmsg *msg)
{
	struct pv_buf text = { 0 };
	uint8_t kernel[32], initrd[32];
	enum pv_err err = pv_image_hash(profile->kernel, kernel, msg);

	if (err == PV_OK)
		err = pv_image_hash(vm->initrd, initrd, msg);
	if (err == PV_OK) {
		pv_buf_addf(&text, "provium boot template 1\n");
		add(&text, "provium", PV_VERSION);
		add_file(&text, "kernel", kernel);
		add_file(&text, "initrd", initrd);
		add(&text, "cmdline", vm->cmdline);
		add(&text, "machine", profile->machine);
		add(&text, "accel", vm->kvm ? "kvm" : "tcg");
		pv_buf_addf(&text, "memory %" PRIu64 "\ncpus %" PRIu32 "\n", vm->spec->memory_bytes, vm->spec->cpus);
		if (vm->kvm)
			add_processor(&text);
		err = add_qemu(&text, profile->qemu, msg);
	}
	if (err == PV_OK)
		digest(&text, key);
	pv_buf_free(&text);
	return err;
}
