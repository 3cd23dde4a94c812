/* Blobs that were removed on purpose. DIR/redactions has a line for each: the hash in hex, a space, the time in ns since 1970. The line is
 * on the disk before the content goes, so a blob that is missing without one was not redacted. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "journal/journal_internal.h"

#define LINE_MAX_LEN 128

bool pv_hash_parse(const char *text, uint8_t sha256[PV_SHA256_BYTES])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < 2 * PV_SHA256_BYTES; i++) {
		const char *digit = text[i] != '\0' ? strchr(digits, text[i]) : NULL;

		if (digit == NULL)
			return false;
		sha256[i / 2] = (uint8_t)(sha256[i / 2] << 4 | (digit - digits));
	}
	return text[2 * PV_SHA256_BYTES] == '\0';
}

/* ---- reading ---- */

static bool parse_line(const char *line, struct pv_redaction *out)
{
	char hash[2 * PV_SHA256_BYTES + 1];
	unsigned long long wall_ns;
	int end = 0;

	if (strlen(line) < sizeof(hash) || line[sizeof(hash) - 1] != ' ')
		return false;
	memcpy(hash, line, sizeof(hash) - 1);
	hash[sizeof(hash) - 1] = '\0';
	if (!pv_hash_parse(hash, out->sha256) || sscanf(line + sizeof(hash), "%llu%n", &wall_ns, &end) != 1 ||
	    strcmp(line + sizeof(hash) + end, "\n") != 0)
		return false;
	out->wall_ns = wall_ns;
	return true;
}

static FILE *open_list(const char *dir)
{
	const size_t size = strlen(dir) + sizeof("/" PV_JOURNAL_REDACTIONS);
	char *path = malloc(size);
	FILE *file;

	if (path == NULL)
		return NULL;
	snprintf(path, size, "%s/" PV_JOURNAL_REDACTIONS, dir);
	file = fopen(path, "re");
	free(path);
	return file;
}

/* A line that a machine's death cut off is none: then nothing was removed for it either. */
bool pv_journal_redaction(const char *dir, const uint8_t sha256[PV_SHA256_BYTES], struct pv_redaction *out)
{
	char line[LINE_MAX_LEN];
	bool found = false;
	FILE *file = open_list(dir);

	if (file == NULL)
		return false;
	while (!found && fgets(line, sizeof(line), file) != NULL)
		found = parse_line(line, out) && memcmp(out->sha256, sha256, PV_SHA256_BYTES) == 0;
	fclose(file);
	return found;
}

/* ---- redacting ---- */

static int add_line(int dir_fd, const char *name)
{
	char line[LINE_MAX_LEN];
	struct timespec now;
	int len, rc = 0;
	int fd = openat(dir_fd, PV_JOURNAL_REDACTIONS, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	struct stat st;
	char last = '\n';

	if (fd < 0)
		return errno;
	clock_gettime(CLOCK_REALTIME, &now);
	if (fstat(fd, &st) == 0 && st.st_size > 0 && pread(fd, &last, 1, st.st_size - 1) != 1)
		last = '\n';
	len = snprintf(line, sizeof(line), "%s%s %lld\n", last == '\n' ? "" : "\n", name,
	               (long long)now.tv_sec * 1000000000 + now.tv_nsec);
	if (write(fd, line, (size_t)len) != len)
		rc = errno != 0 ? errno : ENOSPC;
	if (rc == 0 && fsync(fd) != 0)
		rc = errno;
	close(fd);
	if (rc == 0 && fsync(dir_fd) != 0)
		rc = errno;
	return rc;
}

static enum pv_err remove_blob(const char *dir, int dir_fd, const char *path, const char *name, struct pv_errmsg *msg)
{
	struct pv_redaction redaction;
	uint8_t sha256[PV_SHA256_BYTES] = { 0 };
	int rc = 0;

	(void)pv_hash_parse(name, sha256);
	if (faccessat(dir_fd, path, F_OK, AT_SYMLINK_NOFOLLOW) != 0) {
		if (pv_journal_redaction(dir, sha256, &redaction))
			return pv_err_set(msg, PV_ERR_EXISTS, "blob %s of %s was redacted before", name, dir);
		return pv_err_set(msg, PV_ERR_NOENT, "%s holds no blob %s; `journal show` tells the hashes", dir, name);
	}
	if (!pv_journal_redaction(dir, sha256, &redaction))
		rc = add_line(dir_fd, name);
	if (rc == 0 && unlinkat(dir_fd, path, 0) != 0)
		rc = errno;
	if (rc != 0)
		return pv_file_fail(msg, rc, "cannot redact blob %s of %s", name, dir);
	return PV_OK;
}

enum pv_err pv_journal_redact(const char *dir, const uint8_t sha256[PV_SHA256_BYTES], struct pv_errmsg *msg)
{
	char name[2 * PV_SHA256_BYTES + 1], path[sizeof(PV_JOURNAL_BLOBS) + 4 + sizeof(name)];
	bool created;
	enum pv_err err;
	int lock_fd;
	int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir_fd < 0)
		return pv_file_fail(msg, errno, "cannot open %s", dir);
	err = pv_journal_check_file(dir, dir_fd, msg);
	if (err == PV_OK)
		err = pv_run_lock_take(dir, dir_fd, &lock_fd, &created, msg);
	if (err == PV_OK) {
		pv_hash_name(sha256, name);
		snprintf(path, sizeof(path), PV_JOURNAL_BLOBS "/%.2s/%s", name, name);
		err = remove_blob(dir, dir_fd, path, name, msg);
		close(lock_fd);
	}
	close(dir_fd);
	return err;
}
