/* guest.json: what the default guest is made of. */
#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmctl/guest_build_internal.h"

#define INFO_FORMAT 1
#define INFO_MAX    (1u << 20)
#define HOW_TO      "build one with `provium guest build`"

enum pv_err pv_guest_write_info(const char *dir, const char *release, bool has_modules, struct pv_errmsg *msg)
{
	static const struct {
		const char *file, *key;
	} hashed[] = { { PV_GUEST_KERNEL, "kernel_sha256" }, { PV_GUEST_INITRD, "initrd_sha256" } };
	struct json_object *root = json_object_new_object();
	enum pv_err err = PV_OK;
	const char *text;
	char *path;

	json_object_object_add(root, "format", json_object_new_int(INFO_FORMAT));
	json_object_object_add(root, "release", json_object_new_string(release));
	json_object_object_add(root, "modules", json_object_new_boolean(has_modules));
	for (size_t i = 0; i < 2 && !err; i++) {
		uint8_t sha256[32];
		char hex[65];

		path = pv_xasprintf("%s/%s", dir, hashed[i].file);
		err = pv_image_hash(path, sha256, msg);
		free(path);
		if (err)
			break;
		pv_sha256_hex(sha256, hex);
		json_object_object_add(root, hashed[i].key, json_object_new_string(hex));
	}
	if (!err) {
		path = pv_xasprintf("%s/guest.json", dir);
		text = json_object_to_json_string_ext(root, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE);
		err = pv_hostfile_put(path, 0644, text, strlen(text), msg);
		free(path);
	}
	json_object_put(root);
	return err;
}

static bool get_hash(struct json_object *root, const char *key, uint8_t out[32])
{
	struct json_object *value;
	const char *hex;

	if (!json_object_object_get_ex(root, key, &value) || !json_object_is_type(value, json_type_string))
		return false;
	hex = json_object_get_string(value);
	return pv_sha256_parse(hex, out);
}

static enum pv_err read_info(const char *path, struct json_object **root, struct pv_errmsg *msg)
{
	struct pv_buf text = { 0 };
	enum pv_err err = pv_hostfile_read(path, INFO_MAX, &text, msg);
	struct json_object *format;

	if (err)
		return err;
	*root = json_tokener_parse(pv_buf_str(&text));
	pv_buf_free(&text);
	if (!json_object_is_type(*root, json_type_object)) {
		json_object_put(*root);
		return pv_err_set(msg, PV_ERR_CORRUPT, "%s is damaged; " HOW_TO " again", path);
	}
	if (json_object_object_get_ex(*root, "format", &format) && json_object_get_int(format) == INFO_FORMAT)
		return PV_OK;
	json_object_put(*root);
	return pv_err_set(msg, PV_ERR_VERSION, "%s is of another version of provium; " HOW_TO " again", path);
}

static enum pv_err fill_info(struct json_object *root, const char *path, struct pv_guest_info *out,
                             struct pv_errmsg *msg)
{
	struct json_object *release, *modules;

	if (!json_object_object_get_ex(root, "release", &release) || !json_object_is_type(release, json_type_string) ||
	    !json_object_object_get_ex(root, "modules", &modules) ||
	    !get_hash(root, "kernel_sha256", out->kernel_sha256) ||
	    !get_hash(root, "initrd_sha256", out->initrd_sha256))
		return pv_err_set(msg, PV_ERR_CORRUPT, "%s is damaged; " HOW_TO " again", path);
	out->release = pv_xstrdup(json_object_get_string(release));
	if (!json_object_get_boolean(modules)) {
		free(out->modules);
		out->modules = NULL;
	}
	return PV_OK;
}

enum pv_err pv_guest_info(const char *dir, struct pv_guest_info *out, struct pv_errmsg *msg)
{
	struct json_object *root;
	enum pv_err err;
	char *full, *path;

	full = realpath(dir, NULL);
	if (!full)
		return pv_err_set(msg, errno == ENOENT ? PV_ERR_NOENT : PV_ERR_IO, "no guest in %s; " HOW_TO, dir);
	path = pv_xasprintf("%s/guest.json", full);
	err = read_info(path, &root, msg);
	if (err == PV_ERR_NOENT)
		pv_err_set(msg, err, "no guest in %s; " HOW_TO, dir);
	if (!err) {
		*out = (struct pv_guest_info){
			.kernel = pv_xasprintf("%s/" PV_GUEST_KERNEL, full),
			.initrd = pv_xasprintf("%s/" PV_GUEST_INITRD, full),
			.modules = pv_xasprintf("%s/" PV_GUEST_MODULES, full),
		};
		err = fill_info(root, path, out, msg);
		if (err)
			pv_guest_info_free(out);
		json_object_put(root);
	}
	free(path);
	free(full);
	return err;
}

void pv_guest_info_free(struct pv_guest_info *info)
{
	free(info->kernel);
	free(info->initrd);
	free(info->modules);
	free(info->release);
	*info = (struct pv_guest_info){ 0 };
}

/* A TOML basic string. */
static void add_string(struct pv_buf *out, const char *key, const char *value)
{
	pv_buf_addf(out, "%s = \"", key);
	for (const char *at = value; *at; at++) {
		unsigned char byte = (unsigned char)*at;

		if (byte == '"' || byte == '\\')
			pv_buf_addf(out, "\\%c", byte);
		else if (byte < 0x20 || byte == 0x7f)
			pv_buf_addf(out, "\\u%04X", byte);
		else
			pv_buf_add(out, at, 1);
	}
	pv_buf_addstr(out, "\"\n");
}

void pv_guest_info_toml(const struct pv_guest_info *info, struct pv_buf *out)
{
	pv_buf_addstr(out, "[profiles.default]\n");
	add_string(out, "kernel", info->kernel);
	add_string(out, "initrd", info->initrd);
	add_string(out, "cmdline", PV_GUEST_CMDLINE);
	if (info->modules)
		add_string(out, "modules", info->modules);
}
