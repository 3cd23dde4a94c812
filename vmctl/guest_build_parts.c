/* Kernel, module directory and busybox for the default guest. */
#include <elf.h>
#include <errno.h>
#include <glob.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmctl/guest_build_internal.h"

#define KERNEL_PACKAGE  "linux-image-cloud-amd64"
#define PROGRAM_TIMEOUT (60 * 1000)
#define FETCH_TIMEOUT   (15 * 60 * 1000)
#define KERNEL_MAX      (512u << 20)

void pv_guest_say(const struct pv_guest_progress *progress, const char *fmt, ...)
{
	va_list ap;
	char *line;

	if (!progress->line)
		return;
	va_start(ap, fmt);
	line = pv_xvasprintf(fmt, ap);
	va_end(ap);
	progress->line(progress->arg, line);
	free(line);
}

/* ---- kernel ---- */

/* The version text of a bzImage (Documentation/arch/x86/boot.rst): at 0x202 "HdrS", at 0x20e the text's offset less 0x200. */
static char *bzimage_release(const struct pv_buf *image)
{
	const char *text;
	size_t at, len;

	if (image->len < 0x210 || memcmp(image->data + 0x202, "HdrS", 4) != 0)
		return NULL;
	at = 0x200 + (size_t)(image->data[0x20e] | image->data[0x20f] << 8);
	if (at == 0x200 || at >= image->len)
		return NULL;
	text = (const char *)image->data + at;
	len = strcspn(text, " "); /* the buffer ends with a NUL */
	return len && len < 256 ? pv_xasprintf("%.*s", (int)len, text) : NULL;
}

enum pv_err pv_guest_kernel_release(const char *kernel, char **release, struct pv_errmsg *msg)
{
	const char *base = strrchr(kernel, '/');
	struct pv_buf image = { 0 };
	enum pv_err err = pv_hostfile_read(kernel, KERNEL_MAX, &image, msg);

	if (err)
		return err;
	*release = bzimage_release(&image);
	pv_buf_free(&image);
	base = base ? base + 1 : kernel;
	if (!*release && !strncmp(base, "vmlinuz-", 8) && base[8])
		*release = pv_xstrdup(base + 8);
	if (*release && !strchr(*release, '/'))
		return PV_OK;
	free(*release);
	return pv_err_set(msg, PV_ERR_INVAL, "%s is not a bootable Linux kernel (bzImage)", kernel);
}

static int compare_versions(const void *a, const void *b)
{
	return strverscmp(*(char *const *)b, *(char *const *)a);
}

/* The newest match that can be read; the caller frees it. NULL if there is none. */
static char *newest_readable(const char *pattern)
{
	char *found = NULL;
	glob_t matches;

	if (glob(pattern, GLOB_NOSORT, NULL, &matches))
		return NULL;
	qsort(matches.gl_pathv, matches.gl_pathc, sizeof(*matches.gl_pathv), compare_versions);
	for (size_t i = 0; i < matches.gl_pathc && !found; i++)
		if (!access(matches.gl_pathv[i], R_OK))
			found = pv_xstrdup(matches.gl_pathv[i]);
	globfree(&matches);
	return found;
}

/* The package that the meta package depends on, from "  Depends: linux-image-6.1.0-56-cloud-amd64". */
static enum pv_err cloud_package(char **name, struct pv_errmsg *msg)
{
	static const char *const argv[] = { "apt-cache", "depends", "--important", KERNEL_PACKAGE, NULL };
	static const char wanted[] = "Depends: linux-image-";
	struct pv_buf text = { 0 };
	enum pv_err err = pv_guest_program(argv, NULL, PROGRAM_TIMEOUT, &text, msg);
	const char *at = strstr(pv_buf_str(&text), wanted);

	if (!err && !at)
		err = pv_err_set(msg, PV_ERR_NOENT, "apt-cache knows no package " KERNEL_PACKAGE);
	if (!err) {
		at += strlen("Depends: ");
		*name = pv_xasprintf("%.*s", (int)strcspn(at, " \n<|"), at);
	}
	pv_buf_free(&text);
	return err;
}

/* Unpacks the one .deb in `dir` into dir/root. */
static enum pv_err unpack_package(const char *dir, char **root, struct pv_errmsg *msg)
{
	char *pattern = pv_xasprintf("%s/*.deb", dir);
	char *deb = newest_readable(pattern);
	struct pv_buf text = { 0 };
	enum pv_err err;

	free(pattern);
	if (!deb)
		return pv_err_set(msg, PV_ERR_NOENT, "apt-get download left no package in %s", dir);
	*root = pv_xasprintf("%s/root", dir);
	err = pv_guest_program((const char *const[]){ "dpkg-deb", "-x", deb, *root, NULL }, NULL, FETCH_TIMEOUT, &text,
	                       msg);
	free(deb);
	pv_buf_free(&text);
	if (err)
		free(*root);
	return err;
}

/* Debian's newest cloud kernel, unpacked below `dir`. */
static enum pv_err fetch_kernel(const char *dir, const struct pv_guest_progress *progress, char **kernel,
                                struct pv_errmsg *msg)
{
	/* As root, apt would drop to a user who cannot write to the directory, and warn. */
	const char *download[] = { "apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", NULL, NULL };
	struct pv_buf text = { 0 };
	char *package, *root = NULL, *pattern;
	enum pv_err err = cloud_package(&package, msg);

	if (err)
		return err;
	pv_guest_say(progress, "fetching %s", package);
	download[5] = package;
	err = pv_guest_program(download, dir, FETCH_TIMEOUT, &text, msg);
	pv_buf_free(&text);
	free(package);
	if (!err)
		err = unpack_package(dir, &root, msg);
	if (err)
		return err;
	pattern = pv_xasprintf("%s/boot/vmlinuz-*", root);
	*kernel = newest_readable(pattern);
	if (!*kernel)
		err = pv_err_set(msg, PV_ERR_NOENT, "the kernel package has no file %s", pattern);
	free(pattern);
	free(root);
	return err;
}

static enum pv_err find_kernel(const struct pv_guest_build *build, const char *work_dir,
                               const struct pv_guest_progress *progress, char **kernel, struct pv_errmsg *msg)
{
	struct pv_errmsg why = { 0 };

	if (build->kernel) {
		*kernel = pv_xstrdup(build->kernel);
		return PV_OK;
	}
	if (!fetch_kernel(work_dir, progress, kernel, &why))
		return PV_OK;
	pv_guest_say(progress, "no package of a cloud kernel (%s), looking in /boot", why.text);
	*kernel = newest_readable("/boot/vmlinuz-*");
	if (*kernel)
		return PV_OK;
	return pv_err_set(
	    msg, PV_ERR_NOENT,
	    "no kernel for the guest: %s, and there is no readable /boot/vmlinuz-*; run apt-get update, or "
	    "give --kernel PATH",
	    why.text);
}

/* ---- modules ---- */

/* /x/boot/vmlinuz-R -> /x/lib/modules/R or /x/usr/lib/modules/R; then that of the running system. */
static char *find_modules(const char *kernel, const char *release)
{
	static const char *const places[] = { "lib/modules", "usr/lib/modules" };
	char *full = realpath(kernel, NULL), *found = NULL;

	for (int up = 0; full && up < 2; up++) {
		char *slash = strrchr(full, '/');

		if (slash)
			*slash = '\0';
		for (size_t i = 0; i < 2 && !found; i++) {
			found = pv_xasprintf("%s/%s/%s", full, places[i], release);
			if (access(found, R_OK | X_OK)) {
				free(found);
				found = NULL;
			}
		}
	}
	free(full);
	if (found)
		return found;
	found = pv_xasprintf("/lib/modules/%s", release);
	if (!access(found, R_OK | X_OK))
		return found;
	free(found);
	return NULL;
}

/* ---- busybox ---- */

enum pv_err pv_guest_check_static(const char *path, struct pv_errmsg *msg)
{
	struct pv_buf file = { 0 };
	enum pv_err err = pv_hostfile_read(path, KERNEL_MAX, &file, msg);
	Elf64_Ehdr head = { 0 };
	bool interpreter = false;

	if (err)
		return err;
	if (file.len >= sizeof(head))
		memcpy(&head, file.data, sizeof(head));
	if (memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 || head.e_ident[EI_CLASS] != ELFCLASS64 ||
	    head.e_phentsize != sizeof(Elf64_Phdr) || head.e_phoff > file.len ||
	    (file.len - head.e_phoff) / sizeof(Elf64_Phdr) < head.e_phnum)
		err = pv_err_set(msg, PV_ERR_INVAL, "%s is not a 64-bit ELF program", path);
	for (size_t i = 0; !err && i < head.e_phnum; i++) {
		Elf64_Phdr segment;

		memcpy(&segment, file.data + head.e_phoff + i * sizeof(segment), sizeof(segment));
		interpreter = interpreter || segment.p_type == PT_INTERP;
	}
	pv_buf_free(&file);
	if (interpreter)
		err = pv_err_set(msg, PV_ERR_INVAL,
		                 "%s is linked dynamically, the guest has no libraries; install busybox-static or give "
		                 "--busybox PATH",
		                 path);
	return err;
}

static enum pv_err find_busybox(const char *given, char **busybox, struct pv_errmsg *msg)
{
	const char *search = getenv("PATH");
	enum pv_err err = PV_ERR_NOENT;

	if (given) {
		*busybox = pv_xstrdup(given);
		err = pv_guest_check_static(given, msg);
		if (err)
			free(*busybox);
		return err;
	}
	pv_err_set(msg, PV_ERR_NOENT, "no busybox in PATH; install busybox-static or give --busybox PATH");
	for (const char *at = search; at && *at; at += strspn(at, ":")) {
		size_t len = strcspn(at, ":");
		char *path = pv_xasprintf("%.*s/busybox", (int)len, at);

		at += len;
		if (!access(path, X_OK))
			err = pv_guest_check_static(path, msg);
		if (!err) {
			*busybox = path;
			return PV_OK;
		}
		free(path);
	}
	return err;
}

/* ---- all ---- */

enum pv_err pv_guest_find_parts(const struct pv_guest_build *build, const char *work_dir,
                                const struct pv_guest_progress *progress, struct pv_guest_parts *out,
                                struct pv_errmsg *msg)
{
	enum pv_err err;

	*out = (struct pv_guest_parts){ 0 };
	/* Busybox first: a missing one should not be found out after a download. */
	err = find_busybox(build->busybox, &out->busybox, msg);
	if (err) {
		out->busybox = NULL;
		return err;
	}
	err = find_kernel(build, work_dir, progress, &out->kernel, msg);
	if (err)
		out->kernel = NULL;
	else
		err = pv_guest_kernel_release(out->kernel, &out->release, msg);
	if (err) {
		out->release = NULL;
		pv_guest_parts_free(out);
		return err;
	}
	out->modules = build->modules ? pv_xstrdup(build->modules) : find_modules(out->kernel, out->release);
	pv_guest_say(progress, "kernel %s (%s)", out->kernel, out->release);
	pv_guest_say(progress, "modules %s", out->modules ? out->modules : "none found: drivers must be built in");
	pv_guest_say(progress, "busybox %s", out->busybox);
	return PV_OK;
}

void pv_guest_parts_free(struct pv_guest_parts *parts)
{
	free(parts->kernel);
	free(parts->release);
	free(parts->busybox);
	free(parts->modules);
	*parts = (struct pv_guest_parts){ 0 };
}
