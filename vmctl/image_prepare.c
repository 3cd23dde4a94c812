/* The merged initrd: made once, kept by content hash, found again without reading its inputs.
 *
 * <cache_dir>/agent-overlay-cache/ holds <sha256>.cpio, the merged files, and <sha256>.index, one for each set of input paths:
 * which files were read with their identities, and which merged file they gave. An index is a hint: when anything about it
 * does not fit, the inputs are read again.
 */
#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmctl/image_internal.h"

#define LAYOUT    "overlay 1 " PV_VERSION /* changes when the same inputs give other bytes */
#define CHUNK     (256u << 10)
#define INDEX_MAX (1u << 20)

/* ---- inputs: the files that a merged image was made of ---- */

struct input {
	char *path;
	struct pv_hostfile_id id; /* zero: the file was not there */
};

struct inputs {
	struct input *all;
	size_t n;
	int64_t clock_ns; /* before the first was read */
	bool settled;     /* none has changed since */
};

static struct pv_hostfile_id identify(const char *path)
{
	struct stat st;

	if (stat(path, &st))
		return (struct pv_hostfile_id){ 0 };
	return pv_hostfile_id(&st);
}

static void note_input(struct inputs *inputs, char *path)
{
	struct input *input;

	inputs->all = pv_xrealloc(inputs->all, (inputs->n + 1) * sizeof(*inputs->all));
	input = &inputs->all[inputs->n++];
	*input = (struct input){ .path = path, .id = identify(path) };
	inputs->settled = inputs->settled && pv_hostfile_settled(&input->id, inputs->clock_ns);
}

static void free_inputs(struct inputs *inputs)
{
	for (size_t i = 0; i < inputs->n; i++)
		free(inputs->all[i].path);
	free(inputs->all);
}

static void note_modules(struct inputs *inputs, const struct pv_modules *modules)
{
	/* A module that comes or goes shows in one of these, even if it is none of ours now. */
	static const char *const lists[] = { "modules.builtin", "modules.order", "modules.dep", "." };
	const struct pv_module *module;

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		note_input(inputs, pv_xasprintf("%s/%s", modules->dir, lists[i]));
	STAILQ_FOREACH (module, &modules->wanted, next) {
		note_input(inputs, pv_xasprintf("%s/%s", modules->dir, module->path));
	}
}

/* ---- index ---- */

struct index_entry {
	char *merged; /* path */
	uint64_t merged_size;
	uint8_t initrd_sha256[32];
};

static char *index_path(const struct pv_image_spec *spec, const char *dir)
{
	const char *const parts[] = { LAYOUT, spec->initrd, spec->overlay ? "" : spec->agent,
		                      spec->overlay ? spec->overlay : "", spec->modules ? spec->modules : "" };
	struct pv_sha256 *sha = pv_sha256_new();
	uint8_t digest[32];
	char hex[65];

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		pv_sha256_add(sha, parts[i], strlen(parts[i]) + 1);
	pv_sha256_end(sha, digest);
	pv_sha256_hex(digest, hex);
	return pv_xasprintf("%s/%s.index", dir, hex);
}

static uint64_t get_u64(struct json_object *object, const char *key)
{
	struct json_object *value;

	return json_object_object_get_ex(object, key, &value) ? json_object_get_uint64(value) : 0;
}

static const char *get_text(struct json_object *object, const char *key)
{
	struct json_object *value;

	if (!json_object_object_get_ex(object, key, &value) || !json_object_is_type(value, json_type_string))
		return "";
	return json_object_get_string(value);
}

static bool input_unchanged(struct json_object *input)
{
	struct pv_hostfile_id now = identify(get_text(input, "path"));
	struct pv_hostfile_id then = {
		.dev = get_u64(input, "dev"),
		.ino = get_u64(input, "ino"),
		.size = get_u64(input, "size"),
		.mtime_ns = (int64_t)get_u64(input, "mtime_ns"),
		.ctime_ns = (int64_t)get_u64(input, "ctime_ns"),
	};

	return pv_hostfile_same(&now, &then);
}

static bool merged_is_there(const char *path, uint64_t size)
{
	struct stat st;

	return !stat(path, &st) && S_ISREG(st.st_mode) && (uint64_t)st.st_size == size;
}

/* True if the index holds and its merged file is there. */
static bool look_up(const char *index, const char *dir, char **path, uint8_t sha256[32])
{
	struct pv_buf text = { 0 };
	struct json_object *root = NULL, *inputs;
	uint8_t merged[32];
	bool good;

	if (!pv_hostfile_read(index, INDEX_MAX, &text, NULL))
		root = json_tokener_parse(pv_buf_str(&text));
	pv_buf_free(&text);
	good = root && pv_sha256_parse(get_text(root, "merged"), merged) &&
	       pv_sha256_parse(get_text(root, "initrd"), sha256) &&
	       json_object_object_get_ex(root, "inputs", &inputs) && json_object_is_type(inputs, json_type_array);
	for (size_t i = 0; good && i < json_object_array_length(inputs); i++)
		good = input_unchanged(json_object_array_get_idx(inputs, i));
	if (good) {
		*path = pv_xasprintf("%s/%s.cpio", dir, get_text(root, "merged"));
		good = merged_is_there(*path, get_u64(root, "merged_size"));
		if (!good)
			free(*path);
	}
	json_object_put(root);
	return good;
}

static struct json_object *input_json(const struct input *input)
{
	struct json_object *object = json_object_new_object();

	json_object_object_add(object, "path", json_object_new_string(input->path));
	json_object_object_add(object, "dev", json_object_new_uint64(input->id.dev));
	json_object_object_add(object, "ino", json_object_new_uint64(input->id.ino));
	json_object_object_add(object, "size", json_object_new_uint64(input->id.size));
	json_object_object_add(object, "mtime_ns", json_object_new_uint64((uint64_t)input->id.mtime_ns));
	json_object_object_add(object, "ctime_ns", json_object_new_uint64((uint64_t)input->id.ctime_ns));
	return object;
}

/* Failure to write it costs time later and nothing else. */
static void store_index(const char *index, const struct inputs *inputs, const char merged[65], uint64_t merged_size,
                        const uint8_t initrd[32])
{
	struct json_object *root = json_object_new_object(), *list = json_object_new_array();
	char initrd_hex[65];
	const char *text;

	pv_sha256_hex(initrd, initrd_hex);
	json_object_object_add(root, "merged", json_object_new_string(merged));
	json_object_object_add(root, "merged_size", json_object_new_uint64(merged_size));
	json_object_object_add(root, "initrd", json_object_new_string(initrd_hex));
	for (size_t i = 0; i < inputs->n; i++)
		json_object_array_add(list, input_json(&inputs->all[i]));
	json_object_object_add(root, "inputs", list);
	text = json_object_to_json_string_ext(root, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE);
	if (pv_hostfile_put(index, 0644, text, strlen(text), NULL))
		unlink(index);
	json_object_put(root);
}

/* ---- merge ---- */

struct merge {
	struct pv_hostfile_temp temp;
	const char *out_path; /* for messages */
	struct pv_sha256 *sha;
	uint64_t size;
};

static enum pv_err merge_bytes(struct merge *merge, const void *data, size_t len, struct pv_errmsg *msg)
{
	pv_sha256_add(merge->sha, data, len);
	pv_image_count_hashed(len);
	merge->size += len;
	return pv_hostfile_write(merge->temp.fd, data, len, merge->out_path, msg);
}

static enum pv_err merge_padding(struct merge *merge, struct pv_errmsg *msg)
{
	static const uint8_t zeros[4];

	return merge_bytes(merge, zeros, pv_image_padding(merge->size), msg);
}

/* `own`, if not NULL, gets the bytes of this file alone. */
static enum pv_err merge_file(struct merge *merge, const char *path, struct pv_sha256 *own, struct pv_errmsg *msg)
{
	uint8_t *chunk;
	enum pv_err err;
	int fd;

	err = pv_hostfile_open(path, &fd, msg);
	if (err)
		return err;
	chunk = pv_xmalloc(CHUNK);
	while (!err) {
		ssize_t n = read(fd, chunk, CHUNK);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			err = pv_err_sys(msg, PV_ERR_IO, errno, "cannot read %s", path);
		if (n <= 0)
			break;
		if (own)
			pv_sha256_add(own, chunk, (size_t)n);
		err = merge_bytes(merge, chunk, (size_t)n, msg);
	}
	free(chunk);
	close(fd);
	return err ? err : merge_padding(merge, msg);
}

static enum pv_err merge_all(const struct pv_image_spec *spec, struct pv_modules *modules, struct merge *merge,
                             uint8_t initrd_sha256[32], struct pv_errmsg *msg)
{
	struct pv_sha256 *own = pv_sha256_new();
	struct pv_cpio overlay = { 0 };
	enum pv_err err = pv_image_overlay(spec, modules, &overlay, msg);

	if (!err)
		err = merge_file(merge, spec->initrd, own, msg);
	if (!err && spec->overlay)
		err = merge_file(merge, spec->overlay, NULL, msg);
	if (!err)
		err = merge_bytes(merge, overlay.bytes.data, overlay.bytes.len, msg);
	pv_sha256_end(own, initrd_sha256);
	pv_cpio_free(&overlay);
	return err;
}

/* Publishes the merged file under its hash, unless it is there already. */
static enum pv_err publish(struct merge *merge, const char *dir, const uint8_t digest[32], char **path,
                           struct pv_errmsg *msg)
{
	char hex[65];
	enum pv_err err = PV_OK;

	pv_sha256_hex(digest, hex);
	*path = pv_xasprintf("%s/%s.cpio", dir, hex);
	if (merged_is_there(*path, merge->size))
		pv_hostfile_discard(&merge->temp);
	else
		err = pv_hostfile_install(&merge->temp, 0644, *path, msg);
	if (err)
		free(*path);
	return err;
}

static enum pv_err make(const struct pv_image_spec *spec, struct pv_modules *modules, int64_t clock_ns, const char *dir,
                        const char *index, char **path, uint8_t sha256[32], struct pv_errmsg *msg)
{
	char *name = pv_xasprintf("%s/merged", dir), hex[65];
	struct merge merge = { .out_path = name };
	struct inputs inputs = { .clock_ns = clock_ns, .settled = true };
	uint8_t digest[32];
	enum pv_err err;

	note_input(&inputs, pv_xstrdup(spec->initrd));
	note_input(&inputs, pv_xstrdup(spec->overlay ? spec->overlay : spec->agent));
	if (modules)
		note_modules(&inputs, modules);
	err = pv_hostfile_temp(name, &merge.temp, msg);
	if (err)
		goto done;
	merge.sha = pv_sha256_new();
	err = merge_all(spec, modules, &merge, sha256, msg);
	pv_sha256_end(merge.sha, digest);
	if (err)
		pv_hostfile_discard(&merge.temp);
	else
		err = publish(&merge, dir, digest, path, msg);
	if (!err && inputs.settled) {
		pv_sha256_hex(digest, hex);
		store_index(index, &inputs, hex, merge.size, sha256);
	}
done:
	free_inputs(&inputs);
	free(name);
	return err;
}

static enum pv_err make_with_modules(const struct pv_image_spec *spec, const char *dir, const char *index, char **path,
                                     uint8_t sha256[32], struct pv_errmsg *msg)
{
	int64_t clock_ns = pv_hostfile_clock_ns();
	struct pv_modules modules;
	enum pv_err err;

	if (!spec->modules)
		return make(spec, NULL, clock_ns, dir, index, path, sha256, msg);
	err = pv_modules_open(spec->modules, &modules, msg);
	if (err)
		return err;
	err = pv_image_want_drivers(&modules, msg);
	if (!err)
		err = make(spec, &modules, clock_ns, dir, index, path, sha256, msg);
	pv_modules_close(&modules);
	return err;
}

enum pv_err pv_image_prepare(const struct pv_image_spec *spec, char **path, uint8_t sha256[32], struct pv_errmsg *msg)
{
	char *dir, *index;
	enum pv_err err;

	if (!spec->inject_agent) {
		err = pv_image_hash(spec->initrd, sha256, msg);
		if (!err)
			*path = pv_xstrdup(spec->initrd);
		return err;
	}
	PV_ASSERT(spec->agent || spec->overlay);
	dir = pv_xasprintf("%s/agent-overlay-cache", spec->cache_dir);
	index = index_path(spec, dir);
	err = pv_hostfile_mkdirs(dir, msg);
	if (!err && !look_up(index, dir, path, sha256))
		err = make_with_modules(spec, dir, index, path, sha256, msg);
	free(index);
	free(dir);
	return err ? pv_err_wrap(msg, err, "cannot prepare the initrd %s", spec->initrd) : PV_OK;
}
