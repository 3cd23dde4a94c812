#include "engine/run/fixture_key.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/run/fixture_scan.h"
#include "engine/run/root_path.h"
#include "proto/mem.h"
#include "vmctl/accel.h"
#include "vmctl/hostfile.h"
#include "vmctl/image.h"
#include "vmctl/qemu_args.h"

#define SOURCE_BYTES_MAX (64u << 20)
#define SNAPSHOT_FORMAT  "1" /* of snapshot files: Manifest.format in proto/snapshot.proto */

struct version {
	char *qemu;
	char text[32];
};

struct nested {
	char *name, *value;
};

struct pv_fixture_keys {
	struct pv_fixture_world world;
	struct version *versions; /* asked already, by binary */
	size_t n_versions;
	bool kvm_known, kvm;
	struct nested *nested; /* keys made in this walk: many fixtures may stand on one */
	size_t n_nested;
};

/* A fixture whose key is being made, and the one that needs it: the chain in which a cycle shows. */
struct walk {
	struct pv_fixture_keys *keys;
	const char *name;
	const char *root;
	struct pv_fixture_inputs *inputs;
	const struct walk *outer;
	struct pv_errmsg *msg;
};

struct pv_fixture_keys *pv_fixture_keys_create(const struct pv_fixture_world *world)
{
	struct pv_fixture_keys *keys = PV_NEW(struct pv_fixture_keys);

	keys->world = *world;
	if (!keys->world.qemu_version)
		keys->world.qemu_version = pv_qemu_version;
	if (!keys->world.kvm_works)
		keys->world.kvm_works = pv_accel_kvm_works;
	return keys;
}

static void forget_nested(struct pv_fixture_keys *keys)
{
	for (size_t i = 0; i < keys->n_nested; i++) {
		free(keys->nested[i].name);
		free(keys->nested[i].value);
	}
	free(keys->nested);
	keys->nested = NULL;
	keys->n_nested = 0;
}

void pv_fixture_keys_destroy(struct pv_fixture_keys *keys)
{
	if (!keys)
		return;
	for (size_t i = 0; i < keys->n_versions; i++)
		free(keys->versions[i].qemu);
	free(keys->versions);
	forget_nested(keys);
	free(keys);
}

const struct pv_fixture_world *pv_fixture_keys_world(const struct pv_fixture_keys *keys)
{
	return &keys->world;
}

/* ---- values ---- */

static char *absent(void)
{
	return pv_xstrdup(PV_FIXTURE_ABSENT);
}

static char *hash_value(const char *path)
{
	uint8_t sha256[32];
	char hex[PV_FIXTURE_KEY_CHARS + 1];

	if (!path || pv_image_hash(path, sha256, NULL))
		return absent();
	for (size_t i = 0; i < sizeof(sha256); i++)
		snprintf(hex + 2 * i, 3, "%02x", sha256[i]);
	return pv_xstrdup(hex);
}

/* `name` as pv_fixture_file_name() gives it. */
static char *file_path(const char *root, const char *name)
{
	return *name == '/' ? pv_xstrdup(name) : pv_xasprintf("%s/%s", root, name);
}

static char *file_value(const struct pv_fixture_keys *keys, const char *root, const char *name)
{
	char *path = file_path(root, name), *hash = hash_value(path), *value = NULL;
	struct stat st;

	if (strcmp(hash, PV_FIXTURE_ABSENT) != 0 && !keys->world.by_content && stat(path, &st) == 0)
		value = pv_xasprintf("%s size=%" PRId64 " mtime=%" PRId64 ".%09ld", hash, (int64_t)st.st_size,
		                     (int64_t)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
	free(path);
	if (!value)
		return hash;
	free(hash);
	return value;
}

static char *script_value(const char *root, const char *name)
{
	char *path = file_path(root, name), *value = hash_value(path);

	free(path);
	return value;
}

static char *helper_value(const struct pv_fixture_keys *keys, const char *module)
{
	char *path = pv_fixture_module(keys, module), *value = hash_value(path);

	free(path);
	return value;
}

static char *qemu_value(struct pv_fixture_keys *keys, const char *qemu)
{
	struct version *version;
	char text[32];

	for (size_t i = 0; i < keys->n_versions; i++) {
		if (strcmp(keys->versions[i].qemu, qemu) == 0)
			return pv_xstrdup(keys->versions[i].text);
	}
	if (keys->world.qemu_version(qemu, text, NULL))
		return absent();
	keys->versions = pv_xrealloc(keys->versions, (keys->n_versions + 1) * sizeof(*keys->versions));
	version = &keys->versions[keys->n_versions++];
	version->qemu = pv_xstrdup(qemu);
	memcpy(version->text, text, sizeof(text));
	return pv_xstrdup(text);
}

/* As the driver chooses it. */
static char *accel_value(struct pv_fixture_keys *keys, const struct pv_profile *profile)
{
	const char *wish = keys->world.accel ? keys->world.accel : profile->accel;

	if (strcmp(wish, "auto") != 0)
		return pv_xstrdup(wish);
	if (!keys->kvm_known) {
		struct pv_errmsg why;

		keys->kvm = keys->world.kvm_works(&why);
		keys->kvm_known = true;
	}
	return pv_xstrdup(keys->kvm ? "kvm" : "tcg");
}

static char *agent_value(const struct pv_fixture_keys *keys, const struct pv_profile *profile)
{
	if (!profile->inject_agent)
		return pv_xstrdup("none");
	return hash_value(profile->agent_overlay ? profile->agent_overlay : keys->world.agent);
}

static const struct pv_profile *profile_of(const struct pv_fixture_keys *keys, const char *name)
{
	for (size_t i = 0; i < keys->world.n_profiles; i++) {
		if (strcmp(keys->world.profiles[i].name, name) == 0)
			return &keys->world.profiles[i];
	}
	return NULL;
}

static char *profile_value(struct pv_fixture_keys *keys, enum pv_fixture_input_kind kind, const char *name)
{
	const struct pv_profile *profile = profile_of(keys, name);

	if (!profile)
		return absent();
	switch (kind) {
	case PV_FIXTURE_KERNEL:
		return hash_value(profile->kernel);
	case PV_FIXTURE_INITRD:
		return hash_value(profile->initrd);
	case PV_FIXTURE_CMDLINE:
		return pv_xstrdup(profile->cmdline);
	case PV_FIXTURE_MEMORY:
		return pv_xasprintf("%" PRIu64, profile->memory_bytes);
	case PV_FIXTURE_CPUS:
		return pv_xasprintf("%" PRIu32, profile->cpus);
	case PV_FIXTURE_MACHINE:
		return pv_xstrdup(profile->machine);
	case PV_FIXTURE_ACCEL:
		return accel_value(keys, profile);
	case PV_FIXTURE_QEMU:
		return qemu_value(keys, profile->qemu);
	case PV_FIXTURE_AGENT:
		return agent_value(keys, profile);
	default:
		PV_BUG("kind %d is none of a profile", (int)kind);
	}
}

static enum pv_err scan_fixture(struct walk *walk, struct pv_fixture_place *place) PV_MUST_CHECK;

static void remember_nested(struct pv_fixture_keys *keys, const char *name, const char *value)
{
	keys->nested = pv_xrealloc(keys->nested, (keys->n_nested + 1) * sizeof(*keys->nested));
	keys->nested[keys->n_nested++] = (struct nested){ pv_xstrdup(name), pv_xstrdup(value) };
}

/* The scan key of a fixture below `outer` (NULL: of one that was named while building). */
static enum pv_err nested_value(struct pv_fixture_keys *keys, const char *name, const struct walk *outer, char **value,
                                struct pv_errmsg *msg)
{
	struct pv_fixture_inputs inputs = { NULL, 0 };
	struct pv_fixture_place place = { NULL, NULL };
	struct walk walk = { keys, name, NULL, &inputs, outer, msg };
	char key[PV_FIXTURE_KEY_CHARS + 1];
	enum pv_err err;

	for (size_t i = 0; i < keys->n_nested; i++) {
		if (strcmp(keys->nested[i].name, name) == 0) {
			*value = pv_xstrdup(keys->nested[i].value);
			return PV_OK;
		}
	}
	err = scan_fixture(&walk, &place);
	/* Whether it is called at all only the builder's run tells. */
	if (err == PV_ERR_NOENT || err == PV_ERR_INVAL) {
		*value = absent();
		err = PV_OK;
	} else if (!err) {
		pv_fixture_inputs_key(&inputs, NULL, key);
		*value = pv_xstrdup(key);
	}
	if (!err)
		remember_nested(keys, name, *value);
	free(place.path);
	pv_fixture_inputs_free(&inputs);
	return err;
}

char *pv_fixture_value(struct pv_fixture_keys *keys, const char *root, enum pv_fixture_input_kind kind,
                       const char *name)
{
	char *value;

	switch (kind) {
	case PV_FIXTURE_SOURCE: {
		struct pv_fixture_place place;

		if (pv_fixture_find(keys->world.roots, keys->world.n_roots, name, &place, NULL))
			return absent();
		value = hash_value(place.path);
		free(place.path);
		return value;
	}
	case PV_FIXTURE_HELPER:
		return helper_value(keys, name);
	case PV_FIXTURE_SCRIPT:
		return script_value(root, name);
	case PV_FIXTURE_NESTED:
		forget_nested(keys);
		return nested_value(keys, name, NULL, &value, NULL) ? absent() : value;
	case PV_FIXTURE_FILE:
		return file_value(keys, root, name);
	case PV_FIXTURE_FORMAT:
		return pv_xstrdup(SNAPSHOT_FORMAT);
	default:
		return profile_value(keys, kind, name);
	}
}

/* ---- names ---- */

char *pv_fixture_file_name(const struct pv_fixture_keys *keys, const char *root, const char *given, const char *path)
{
	return keys->world.by_content && *given != '/' ? pv_path_relative(path, root) : pv_path_normal(path);
}

char *pv_fixture_module(const struct pv_fixture_keys *keys, const char *module)
{
	char *part = pv_xstrdup(module), *found = NULL;

	for (char *at = part; *at; at++) {
		if (*at == '.')
			*at = '/';
	}
	for (size_t i = 0; !found && i < 2 * keys->world.n_roots; i++) {
		const char *root = keys->world.roots[i / 2];
		struct stat st;

		found = i % 2 == 0 ? pv_xasprintf("%s/%s.lua", root, part) : pv_xasprintf("%s/%s/init.lua", root, part);
		if (stat(found, &st) < 0 || !S_ISREG(st.st_mode)) {
			free(found);
			found = NULL;
		}
	}
	free(part);
	return found;
}

/* ---- the walk ---- */

static void add_now(const struct walk *walk, enum pv_fixture_input_kind kind, const char *name)
{
	if (pv_fixture_inputs_find(walk->inputs, kind, name))
		return;
	char *value = pv_fixture_value(walk->keys, walk->root, kind, name);
	pv_fixture_inputs_add(walk->inputs, kind, name, value);
	free(value);
}

static enum pv_err cycle(const struct walk *walk, const struct walk *again)
{
	struct pv_buf chain = { .data = NULL };
	const struct walk *above = NULL;
	enum pv_err err;

	/* From the one that comes again down to this one; each knows only the one above it. */
	for (const struct walk *from = again; from != walk; from = above) {
		for (above = walk; above->outer != from; above = above->outer)
			;
		pv_buf_addf(&chain, "%s -> ", from->name);
	}
	err = pv_err_set(walk->msg, PV_ERR_STATE, "fixtures need each other: %s%s", pv_buf_str(&chain), walk->name);
	pv_buf_free(&chain);
	return err;
}

static enum pv_err add_nested(const struct walk *walk, const char *name)
{
	enum pv_err err;
	char *value;

	if (pv_fixture_inputs_find(walk->inputs, PV_FIXTURE_NESTED, name))
		return PV_OK;
	err = nested_value(walk->keys, name, walk, &value, walk->msg);
	if (err)
		return err;
	pv_fixture_inputs_add(walk->inputs, PV_FIXTURE_NESTED, name, value);
	free(value);
	return PV_OK;
}

static void add_file(const struct walk *walk, const char *dir, const char *given)
{
	char *path = *given == '/' ? pv_xstrdup(given) : pv_xasprintf("%s/%s", dir, given);
	char *name = pv_fixture_file_name(walk->keys, walk->root, given, path);

	add_now(walk, PV_FIXTURE_FILE, name);
	free(name);
	free(path);
}

static void add_profile(const struct walk *walk, const char *name)
{
	for (enum pv_fixture_input_kind kind = PV_FIXTURE_KERNEL; kind <= PV_FIXTURE_AGENT; kind++)
		add_now(walk, kind, name);
}

static enum pv_err scan_file(const struct walk *walk, const char *path) PV_MUST_CHECK;

static enum pv_err add_module(const struct walk *walk, const char *module)
{
	char *path;
	enum pv_err err;

	if (pv_fixture_inputs_find(walk->inputs, PV_FIXTURE_HELPER, module))
		return PV_OK;
	add_now(walk, PV_FIXTURE_HELPER, module);
	path = pv_fixture_module(walk->keys, module);
	err = path ? scan_file(walk, path) : PV_OK;
	free(path);
	return err;
}

static enum pv_err add_scanned(const struct walk *walk, const struct pv_fixture_scan *scan, const char *dir)
{
	enum pv_err err = PV_OK;

	for (size_t i = 0; i < scan->files.n; i++)
		add_file(walk, dir, scan->files.items[i]);
	for (size_t i = 0; i < scan->profiles.n; i++)
		add_profile(walk, scan->profiles.items[i]);
	for (size_t i = 0; !err && i < scan->modules.n; i++)
		err = add_module(walk, scan->modules.items[i]);
	for (size_t i = 0; !err && i < scan->fixtures.n; i++)
		err = add_nested(walk, scan->fixtures.items[i]);
	return err;
}

/* What the builder or a helper asks for. One that cannot be read asks for nothing. */
static enum pv_err scan_file(const struct walk *walk, const char *path)
{
	struct pv_buf source = { .data = NULL };
	struct pv_fixture_scan scan;
	const char *slash = strrchr(path, '/');
	enum pv_err err;
	char *dir;

	if (pv_hostfile_read(path, SOURCE_BYTES_MAX, &source, NULL))
		return PV_OK;
	dir = slash ? pv_xasprintf("%.*s", (int)(slash - path), path) : pv_xstrdup(".");
	pv_fixture_scan(pv_buf_str(&source), source.len, &scan);
	err = add_scanned(walk, &scan, dir);
	pv_fixture_scan_free(&scan);
	pv_buf_free(&source);
	free(dir);
	return err;
}

static enum pv_err scan_fixture(struct walk *walk, struct pv_fixture_place *place)
{
	const struct pv_fixture_world *world = &walk->keys->world;
	enum pv_err err;

	for (const struct walk *outer = walk->outer; outer; outer = outer->outer) {
		if (strcmp(outer->name, walk->name) == 0)
			return cycle(walk, outer);
	}
	err = pv_fixture_find(world->roots, world->n_roots, walk->name, place, walk->msg);
	if (err)
		return err;
	walk->root = place->root;
	add_now(walk, PV_FIXTURE_FORMAT, "snapshot");
	add_now(walk, PV_FIXTURE_SOURCE, walk->name);
	for (size_t i = 0; !world->by_content && i < world->n_profiles; i++) {
		add_now(walk, PV_FIXTURE_KERNEL, world->profiles[i].name);
		add_now(walk, PV_FIXTURE_INITRD, world->profiles[i].name);
	}
	return scan_file(walk, place->path);
}

enum pv_err pv_fixture_key(struct pv_fixture_keys *keys, const char *name, struct pv_fixture_inputs *out,
                           struct pv_fixture_place *place, struct pv_errmsg *msg)
{
	struct pv_fixture_inputs inputs = { NULL, 0 };
	struct pv_fixture_place found = { NULL, NULL };
	struct walk walk = { keys, name, NULL, &inputs, NULL, msg };
	enum pv_err err;

	forget_nested(keys);
	err = scan_fixture(&walk, &found);
	if (err) {
		free(found.path);
		pv_fixture_inputs_free(&inputs);
		return err;
	}
	pv_fixture_inputs_sort(&inputs);
	*out = inputs;
	*place = found;
	return PV_OK;
}
