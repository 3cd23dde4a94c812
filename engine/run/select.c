#include "engine/run/select.h"

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <limits.h>
#include <openssl/sha.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/run/dirs.h"
#include "proto/mem.h"

/* ---- --shard ---- */

enum pv_err pv_shard_parse(const char *text, struct pv_shard *out, struct pv_errmsg *msg)
{
	unsigned long parts[2];
	const char *p = text;

	for (int i = 0; i < 2; i++) {
		char *end = NULL;
		errno = 0;
		parts[i] = *p >= '0' && *p <= '9' ? strtoul(p, &end, 10) : 0;
		if (!end || errno != 0 || *end != (i == 0 ? '/' : '\0') || parts[i] > INT_MAX)
			parts[i] = 0;
		if (parts[i] == 0)
			return pv_err_set(msg, PV_ERR_INVAL, "--shard %s: must be K/N with 1 <= K <= N", text);
		p = end + 1;
	}
	if (parts[0] > parts[1])
		return pv_err_set(msg, PV_ERR_INVAL, "--shard %s: must be K/N with 1 <= K <= N", text);
	*out = (struct pv_shard){ (unsigned)parts[0], (unsigned)parts[1] };
	return PV_OK;
}

static bool in_shard(const struct pv_found_file *file, const void *arg)
{
	const struct pv_shard *shard = arg;
	uint8_t hash[SHA256_DIGEST_LENGTH];
	uint64_t value = 0;

	SHA256((const unsigned char *)file->root_path, strlen(file->root_path), hash);
	for (int i = 0; i < 8; i++)
		value = value << 8 | hash[i];
	return 1 + value % shard->n == shard->k;
}

void pv_select_shard(struct pv_found *found, const struct pv_shard *shard)
{
	pv_found_keep(found, in_shard, shard);
}

/* ---- --since ---- */

static bool is_later(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec != b->tv_sec ? a->tv_sec > b->tv_sec : a->tv_nsec > b->tv_nsec;
}

static bool modified_later(const struct pv_found_file *file, const void *arg)
{
	struct stat st;

	return stat(file->path, &st) == 0 && is_later(&st.st_mtim, arg);
}

enum pv_err pv_select_since(struct pv_found *found, const char *path, struct pv_errmsg *msg)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return pv_err_sys(msg, PV_ERR_NOENT, errno, "--since %s", path);
	pv_found_keep(found, modified_later, &st.st_mtim);
	return PV_OK;
}

/* ---- the failed-state file ---- */

static bool is_listed(const struct pv_found_file *file, const void *arg)
{
	struct json_object *failed = (struct json_object *)arg;

	for (size_t i = 0; i < json_object_array_length(failed); i++) {
		const char *path = json_object_get_string(json_object_array_get_idx(failed, i));
		if (path && strcmp(path, file->canonical) == 0)
			return true;
	}
	return false;
}

static bool nothing(const struct pv_found_file *file, const void *arg)
{
	(void)file;
	(void)arg;
	return false;
}

enum pv_err pv_select_failed(struct pv_found *found, const char *path, bool *known, struct pv_errmsg *msg)
{
	struct json_object *root, *failed, *version;

	*known = access(path, F_OK) == 0;
	if (!*known) {
		pv_found_keep(found, nothing, NULL);
		return PV_OK;
	}
	root = json_object_from_file(path);
	bool ok = root && json_object_object_get_ex(root, "version", &version) && json_object_get_int(version) == 1 &&
	          json_object_object_get_ex(root, "failed", &failed) && json_object_is_type(failed, json_type_array);
	if (ok)
		pv_found_keep(found, is_listed, failed);
	json_object_put(root);
	return ok ? PV_OK
	          : pv_err_set(msg, PV_ERR_CORRUPT,
	                       "%s is no failed-state file of this version; remove it and run without "
	                       "--rerun-failed once",
	                       path);
}

static bool is_clean(const struct pv_file_result *file)
{
	return file->verdict == PV__VERDICT__VERDICT_PASSED && !file->chunk_error && file->failed == 0;
}

static struct json_object *failed_paths(const struct pv_found *found, const struct pv_results *results)
{
	struct json_object *failed = json_object_new_array();

	for (size_t i = 0; i < found->n && i < results->n_files; i++) {
		const struct pv_file_result *file = &results->files[i];
		if (file->verdict != PV__VERDICT__VERDICT_UNSPECIFIED && !is_clean(file))
			json_object_array_add(failed, json_object_new_string(found->files[i].canonical));
	}
	return failed;
}

/* By rename, so that no reader sees half a file. */
static enum pv_err replace_file(const char *path, const char *text, struct pv_errmsg *msg)
{
	char *slash = strrchr(path, '/');
	char *dir = slash ? pv_xasprintf("%.*s", (int)(slash - path), path) : pv_xstrdup(".");
	char *temporary = pv_xasprintf("%s.%ld", path, (long)getpid());
	enum pv_err err = *dir ? pv_dirs_make(dir, msg) : PV_OK;
	FILE *file = err ? NULL : fopen(temporary, "we");

	bool written = file && fprintf(file, "%s\n", text) > 0;
	if (file && fclose(file) != 0)
		written = false;
	if (!err && (!written || rename(temporary, path) < 0)) {
		err = pv_err_sys(msg, PV_ERR_IO, errno, "failed-state file %s", path);
		(void)unlink(temporary);
	}
	free(temporary);
	free(dir);
	return err;
}

enum pv_err pv_select_remember(const struct pv_found *found, const struct pv_results *results, const char *path,
                               struct pv_errmsg *msg)
{
	struct json_object *failed = failed_paths(found, results);
	struct json_object *root = json_object_new_object();
	bool any = json_object_array_length(failed) > 0;
	enum pv_err err = PV_OK;

	json_object_object_add(root, "version", json_object_new_int(1));
	json_object_object_add(root, "failed", failed);
	if (any)
		err = replace_file(
		    path, json_object_to_json_string_ext(root, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE),
		    msg);
	json_object_put(root);
	return err;
}

/* ---- all of them ---- */

enum pv_err pv_select(struct pv_found *found, const struct pv_selection *selection, uint64_t seed, const char *state,
                      bool *no_state, struct pv_errmsg *msg)
{
	bool known = true;
	enum pv_err err = PV_OK;

	if (selection->filter)
		pv_found_filter(found, selection->filter);
	if (selection->rerun_failed)
		err = pv_select_failed(found, state, &known, msg);
	if (!err && selection->since)
		err = pv_select_since(found, selection->since, msg);
	if (!err && selection->shard.n > 0)
		pv_select_shard(found, &selection->shard);
	if (!err && selection->shuffle)
		pv_found_shuffle(found, seed);
	if (no_state)
		*no_state = !known;
	return err;
}
