/* An initrd with the files of one VM. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmctl/image_internal.h"

/* "/etc//x/./y" -> "etc/x/y"; NULL if the path is not absolute, names no file, or has "..". */
static char *archive_path(const char *path)
{
	struct pv_buf out = { 0 };
	size_t len = strlen(path);
	bool good = path[0] == '/' && len < PATH_MAX && path[len - 1] != '/';

	for (const char *at = path; good && *at;) {
		size_t part;

		at += strspn(at, "/");
		part = strcspn(at, "/");
		good = !(part == 2 && !memcmp(at, "..", 2));
		if (part && !(part == 1 && *at == '.'))
			pv_buf_addf(&out, "%s%.*s", out.len ? "/" : "", (int)part, at);
		else if (part && !at[part])
			good = false;
		at += part;
	}
	if (good && out.len)
		return pv_buf_steal(&out);
	pv_buf_free(&out);
	return NULL;
}

static enum pv_err pack(const struct pv_image_file *files, size_t n_files, struct pv_cpio *out, struct pv_errmsg *msg)
{
	for (size_t i = 0; i < n_files; i++) {
		char *path = archive_path(files[i].path);

		if (!path)
			return pv_err_set(msg, PV_ERR_INVAL,
			                  "cannot put a file at \"%s\": the path must be absolute and name a file, "
			                  "without \"..\"",
			                  files[i].path);
		if (files[i].len > UINT32_MAX) {
			free(path);
			return pv_err_set(msg, PV_ERR_INVAL, "file %s has 4 GiB or more, an initrd cannot hold it",
			                  files[i].path);
		}
		pv_cpio_add_file(out, path, files[i].mode, files[i].data, files[i].len);
		free(path);
	}
	pv_cpio_finish(out);
	return PV_OK;
}

static enum pv_err write_image(const char *initrd, const struct pv_buf *archive, int out, const char *out_path,
                               struct pv_errmsg *msg)
{
	static const uint8_t zeros[4];
	uint64_t copied;
	enum pv_err err;
	int in;

	err = pv_hostfile_open(initrd, &in, msg);
	if (err)
		return err;
	err = pv_hostfile_copy(in, initrd, out, out_path, &copied, msg);
	close(in);
	if (!err)
		err = pv_hostfile_write(out, zeros, pv_image_padding(copied), out_path, msg);
	if (!err)
		err = pv_hostfile_write(out, archive->data, archive->len, out_path, msg);
	return err;
}

enum pv_err pv_image_with_files(const char *initrd, const struct pv_image_file *files, size_t n_files,
                                const char *out_path, struct pv_errmsg *msg)
{
	struct pv_cpio archive = { 0 };
	enum pv_err err = pack(files, n_files, &archive, msg);
	int out;

	if (err)
		goto done;
	/* For one VM and one boot: no fsync. Contents may be secrets of the test. */
	out = open(out_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (out < 0) {
		err = pv_err_sys(msg, pv_hostfile_err(errno), errno, "cannot make %s", out_path);
		goto done;
	}
	err = write_image(initrd, &archive.bytes, out, out_path, msg);
	close(out);
	if (err)
		unlink(out_path);
done:
	pv_cpio_free(&archive);
	return err;
}
