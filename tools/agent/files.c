#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/agent_version.h"
#include "server.h"

#define OPEN_MAX_FILES 8

/* A file that is being read piece by piece stays open between the pieces, so that all are of the same file, and so that
 * files without offsets can be read at all. */
struct open_file {
	char *path; /* NULL: unused */
	int fd;
	uint64_t offset; /* of the next piece */
	uint64_t used;   /* clock of the cache, to close the one unused longest */
};

struct read_cache {
	struct open_file files[OPEN_MAX_FILES];
	uint64_t clock;
};

static void file_close(struct open_file *file)
{
	if (file->path == NULL)
		return;
	close(file->fd);
	free(file->path);
	file->path = NULL;
}

void pv_files_forget(struct server *server)
{
	for (int i = 0; server->reads != NULL && i < OPEN_MAX_FILES; i++)
		file_close(&server->reads->files[i]);
}

static struct open_file *find_open(struct read_cache *cache, const char *path, uint64_t offset)
{
	for (int i = 0; i < OPEN_MAX_FILES; i++) {
		struct open_file *file = &cache->files[i];

		if (file->path != NULL && file->offset == offset && strcmp(file->path, path) == 0)
			return file;
	}
	return NULL;
}

/* Opens `path` at `offset`. O_NONBLOCK: a FIFO without a writer must not stop the agent. NULL with errno. */
static struct open_file *open_at(struct read_cache *cache, const char *path, uint64_t offset)
{
	struct open_file *file = &cache->files[0];
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
		return NULL;
	if (offset > 0 && lseek(fd, (off_t)offset, SEEK_SET) < 0) {
		int sys_errno = errno;

		close(fd);
		errno = sys_errno;
		return NULL;
	}
	for (int i = 0; i < OPEN_MAX_FILES && file->path != NULL; i++) {
		if (cache->files[i].path == NULL || cache->files[i].used < file->used)
			file = &cache->files[i];
	}
	file_close(file);
	*file = (struct open_file){ .path = pv_xstrdup(path), .fd = fd, .offset = offset };
	return file;
}

/* Reads until `max` bytes or the end: files of /proc give less at a time. Returns 0 or an errno. */
static int read_piece(int fd, uint8_t *data, size_t max, size_t *len, bool *eof)
{
	*len = 0;
	*eof = false;
	while (*len < max) {
		ssize_t n = read(fd, data + *len, max - *len);

		if (n > 0) {
			*len += (size_t)n;
		} else if (n == 0 || errno == EAGAIN) {
			*eof = true; /* EAGAIN: a FIFO or device that has nothing for now */
			return 0;
		} else if (errno != EINTR) {
			return errno;
		}
	}
	return 0;
}

static char *path_of(const ProtobufCBinaryData *bytes)
{
	char *path = pv_xmalloc(bytes->len + 1);

	if (bytes->len > 0)
		memcpy(path, bytes->data, bytes->len);
	path[bytes->len] = '\0';
	return path;
}

static bool path_valid(const ProtobufCBinaryData *bytes)
{
	return bytes->len == 0 || memchr(bytes->data, '\0', bytes->len) == NULL;
}

static void read_from(struct server *server, struct call *call, struct open_file *file, size_t max)
{
	uint8_t *data = pv_xmalloc(max);
	size_t len;
	bool eof;
	int sys_errno = read_piece(file->fd, data, max, &len, &eof);

	if (sys_errno != 0)
		pv_server_error(server, call, sys_errno, file->path);
	else
		pv_server_data(server, call, data, len, eof);
	file->offset += len;
	file->used = ++server->reads->clock;
	if (sys_errno != 0 || eof)
		file_close(file);
	free(data);
}

void pv_files_read(struct server *server, struct call *call, const Pva__ReadFile *request)
{
	char *path = path_of(&request->path);
	size_t max = request->max < PV_AGENT_DATA_MAX ? request->max : PV_AGENT_DATA_MAX;
	struct open_file *file;

	if (server->reads == NULL)
		server->reads = PV_NEW(struct read_cache);
	if (!path_valid(&request->path) || max == 0 || request->offset > INT64_MAX) {
		pv_server_error(server, call, EINVAL, path);
		free(path);
		return;
	}
	file = find_open(server->reads, path, request->offset);
	if (file == NULL)
		file = open_at(server->reads, path, request->offset);
	if (file == NULL)
		pv_server_error(server, call, errno, path);
	else
		read_from(server, call, file, max);
	free(path);
}

/* As the boot files of an initrd get them (vmctl/cpio.h). */
static mode_t usual_mode(const char *dir)
{
	if (strcmp(dir, "/tmp") == 0 || strcmp(dir, "/var/tmp") == 0 || strcmp(dir, "/dev/shm") == 0)
		return 01777;
	return strcmp(dir, "/root") == 0 ? 0700 : 0755;
}

static void make_parents(const char *path)
{
	char *dir = pv_xstrdup(path);

	/* What cannot be made is told by the open that follows. */
	for (char *slash = dir[0] != '\0' ? strchr(dir + 1, '/') : NULL; slash != NULL;
	     slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(dir, usual_mode(dir));
		*slash = '/';
	}
	free(dir);
}

/* A file of the boot: it takes the place of whatever else has the name, as in an initrd that is unpacked. */
static int open_new(const char *path, int flags, mode_t perm)
{
	struct stat st;
	int fd;

	make_parents(path);
	if (lstat(path, &st) == 0 && !S_ISREG(st.st_mode) && remove(path) != 0)
		return -1;
	fd = open(path, flags | O_CREAT | O_TRUNC | O_NOFOLLOW, perm);
	if (fd >= 0 && fchmod(fd, perm) != 0) {
		int sys_errno = errno;

		close(fd);
		errno = sys_errno;
		return -1;
	}
	return fd;
}

/* The mode is exactly `perm`, whatever the umask of commands. */
static int open_for_write(const char *path, const Pva__WriteFile *request)
{
	int flags = O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
	mode_t perm = request->has_perm ? request->perm & 07777 : 0644;
	mode_t mask;
	int fd;

	if (!request->truncate)
		return open(path, flags);
	mask = umask(0);
	fd = request->parents ? open_new(path, flags, perm) : open(path, flags | O_CREAT | O_TRUNC, perm);
	umask(mask);
	return fd;
}

/* Returns 0 or an errno. write(2), not pwrite(2), for files that have no offsets; and all at once, as the files of
 * /proc/sys and /sys want it. */
static int write_piece(int fd, const Pva__WriteFile *request)
{
	const uint8_t *data = request->data.data;
	size_t left = request->data.len;

	if (request->offset > 0 && lseek(fd, (off_t)request->offset, SEEK_SET) < 0 && errno != ESPIPE)
		return errno;
	while (left > 0) {
		ssize_t n = write(fd, data, left);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno;
		data += n;
		left -= (size_t)n;
	}
	return 0;
}

/* The file is closed after each piece: the program just written can be run at once, without ETXTBSY. */
void pv_files_write(struct server *server, struct call *call, const Pva__WriteFile *request)
{
	struct call *first = request->first != 0 ? pv_server_find(server, request->first) : call;
	uint64_t end = request->offset + request->data.len;
	char *path = path_of(&request->path);
	int sys_errno = EINVAL;
	int fd = -1;

	/* A piece that comes once more, from another runner: somebody may have changed the file since. */
	if (first != NULL && first != call && end <= first->written) {
		pv_server_done(server, call);
		free(path);
		return;
	}
	if (path_valid(&request->path) && request->offset <= INT64_MAX) {
		fd = open_for_write(path, request);
		sys_errno = fd < 0 ? errno : write_piece(fd, request);
	}
	if (fd >= 0 && close(fd) != 0 && sys_errno == 0)
		sys_errno = errno;
	if (sys_errno == 0 && first != NULL)
		first->written = end;
	if (sys_errno != 0)
		pv_server_error(server, call, sys_errno, path);
	else
		pv_server_done(server, call);
	free(path);
}
