#include "vmctl/cpio.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "vmctl/hostfile.h"

#define TRAILER    "TRAILER!!!"
#define ALIGN      4u          /* of names and contents, from the start of the archive */
#define BLOCK      512u        /* the whole archive is padded to */
#define SIZE_LIMIT 0xffffffffu /* the size field has eight hexadecimal digits */

static void pad(struct pv_buf *buf, size_t align)
{
	static const uint8_t zeros[BLOCK];
	size_t rest = buf->len % align;

	if (rest)
		pv_buf_add(buf, zeros, align - rest);
}

/* The header of one entry with its name; the content comes right behind. */
static void add_header(struct pv_cpio *cpio, const char *name, mode_t mode, unsigned links, size_t size, unsigned major,
                       unsigned minor)
{
	PV_ASSERT(size <= SIZE_LIMIT);
	PV_ASSERT(name[0] != '/' && name[0] != '\0');
	/* magic, inode, mode, uid, gid, links, mtime, size, device major and minor of the file system, of the node, name
	 * size, checksum (0 in this format) */
	pv_buf_addf(&cpio->bytes, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", ++cpio->last_inode,
	            (unsigned)mode, 0u, 0u, links, 0u, (unsigned)size, 0u, 0u, major, minor, (unsigned)strlen(name) + 1,
	            0u);
	pv_buf_add(&cpio->bytes, name, strlen(name) + 1);
	pad(&cpio->bytes, ALIGN);
}

static void add_content(struct pv_cpio *cpio, const void *data, size_t len)
{
	pv_buf_add(&cpio->bytes, data, len);
	pad(&cpio->bytes, ALIGN);
}

static bool dir_seen(const struct pv_cpio *cpio, const char *path, size_t len)
{
	const char *at = pv_buf_str(&cpio->seen);
	const char *end = at + cpio->seen.len;

	while (at < end) {
		if (strlen(at) == len && !memcmp(at, path, len))
			return true;
		at += strlen(at) + 1;
	}
	return false;
}

static mode_t usual_mode(const char *path)
{
	if (!strcmp(path, "tmp") || !strcmp(path, "var/tmp") || !strcmp(path, "dev/shm"))
		return 01777;
	return strcmp(path, "root") ? 0755 : 0700;
}

static void add_dir_entry(struct pv_cpio *cpio, const char *path, mode_t perm)
{
	char *name = pv_xasprintf("%s/", path);

	add_header(cpio, name, S_IFDIR | (perm & 07777), 2, 0, 0, 0);
	free(name);
	if (!dir_seen(cpio, path, strlen(path)))
		pv_buf_add(&cpio->seen, path, strlen(path) + 1);
}

static void add_parents(struct pv_cpio *cpio, const char *path)
{
	for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		size_t len = (size_t)(slash - path);
		char *dir;

		if (dir_seen(cpio, path, len))
			continue;
		dir = pv_xasprintf("%.*s", (int)len, path);
		add_dir_entry(cpio, dir, usual_mode(dir));
		free(dir);
	}
}

void pv_cpio_add_file(struct pv_cpio *cpio, const char *path, mode_t perm, const void *data, size_t len)
{
	add_parents(cpio, path);
	add_header(cpio, path, S_IFREG | (perm & 07777), 1, len, 0, 0);
	add_content(cpio, data, len);
}

void pv_cpio_add_dir(struct pv_cpio *cpio, const char *path, mode_t perm)
{
	add_parents(cpio, path);
	add_dir_entry(cpio, path, perm);
}

void pv_cpio_add_symlink(struct pv_cpio *cpio, const char *path, const char *target)
{
	add_parents(cpio, path);
	add_header(cpio, path, S_IFLNK | 0777, 1, strlen(target), 0, 0);
	add_content(cpio, target, strlen(target));
}

void pv_cpio_add_node(struct pv_cpio *cpio, const char *path, mode_t mode_and_type, unsigned major, unsigned minor)
{
	add_parents(cpio, path);
	add_header(cpio, path, mode_and_type, 1, 0, major, minor);
}

enum pv_err pv_cpio_add_host_file(struct pv_cpio *cpio, const char *path, mode_t perm, const char *source,
                                  struct pv_errmsg *msg)
{
	struct pv_buf content = { 0 };
	enum pv_err err = pv_hostfile_read(source, SIZE_LIMIT, &content, msg);

	if (!err)
		pv_cpio_add_file(cpio, path, perm, content.data, content.len);
	pv_buf_free(&content);
	return err;
}

void pv_cpio_finish(struct pv_cpio *cpio)
{
	add_header(cpio, TRAILER, 0, 1, 0, 0, 0);
	pad(&cpio->bytes, BLOCK);
}

void pv_cpio_free(struct pv_cpio *cpio)
{
	pv_buf_free(&cpio->bytes);
	pv_buf_free(&cpio->seen);
	*cpio = (struct pv_cpio){ 0 };
}
