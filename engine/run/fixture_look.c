#include "engine/run/fixture_look.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/run/fixture_manifests.h"
#include "proto/mem.h"

void pv_fixture_look_free(struct pv_fixture_look *look)
{
	free(look->name);
	free(look->builder);
	free(look->path);
	free(look->why);
	pv_fixture_inputs_free(&look->inputs);
	pv_fixture_inputs_free(&look->extra);
	*look = (struct pv_fixture_look){ .name = NULL };
}

/* ---- looking ---- */

struct search {
	struct pv_fixture_keys *keys;
	struct pv_store *store;
	struct pv_fixture_look *look;
	struct pv_errmsg *msg;
};

/* The extra inputs of `manifest` with the values that they have now. */
static struct pv_fixture_inputs extra_now(const struct search *search, const struct pv_fixture_manifest *manifest)
{
	struct pv_fixture_inputs now = { NULL, 0 };

	for (size_t i = 0; i < manifest->extra.n; i++) {
		const struct pv_fixture_input *input = &manifest->extra.items[i];
		char *value = pv_fixture_value(search->keys, search->look->root, input->kind, input->name);

		pv_fixture_inputs_add(&now, input->kind, input->name, value);
		free(value);
	}
	return now;
}

/* Is there an entry of that key? True if the search is over: a hit, or one that is damaged. */
static enum pv_err try_entry(struct search *search, const char *key, bool *over)
{
	struct pv_fixture_look *look = search->look;
	struct pv_errmsg msg = { .text = "" };
	enum pv_err err = pv_store_look(search->store, key, look->kind, &msg);

	*over = err != PV_ERR_NOENT;
	if (err == PV_ERR_NOENT)
		return PV_OK;
	memcpy(look->key, key, sizeof(look->key));
	if (!err) {
		look->hit = true;
		look->path = pv_store_path(search->store, key, look->kind);
		return PV_OK;
	}
	if (err != PV_ERR_CORRUPT && err != PV_ERR_FOREIGN && err != PV_ERR_VERSION)
		return pv_err_set(search->msg, err, "%s", msg.text);
	look->corrupt = true;
	look->why = pv_xasprintf("its cache entry cannot be used: %s\n", msg.text);
	return PV_OK;
}

/* Entries that were built of the same sources and used more than the scan sees. */
static enum pv_err try_manifests(struct search *search, const struct pv_fixture_manifests *all, bool *over)
{
	struct pv_fixture_look *look = search->look;
	enum pv_err err = PV_OK;

	*over = false;
	for (size_t i = 0; !err && !*over && i < all->n; i++) {
		const struct pv_fixture_manifest *manifest = &all->items[i];
		struct pv_fixture_inputs extra;
		char key[PV_FIXTURE_KEY_CHARS + 1];

		if (manifest->extra.n == 0 || strcmp(manifest->scan_key, look->scan_key) != 0)
			continue;
		extra = extra_now(search, manifest);
		pv_fixture_inputs_key(&look->inputs, &extra, key);
		err = try_entry(search, key, over); /* of the manifest, unless an input changed */
		if (!err && look->hit)
			look->extra = extra;
		else
			pv_fixture_inputs_free(&extra);
	}
	return err;
}

/* The newest of the fixture, before all one that was built here. */
static const struct pv_fixture_manifest *newest(const struct pv_fixture_manifests *all,
                                                const struct pv_fixture_look *look)
{
	const struct pv_fixture_manifest *best = NULL;
	bool best_here = false;

	for (size_t i = 0; i < all->n; i++) {
		const struct pv_fixture_manifest *one = &all->items[i];
		bool here = strcmp(one->root, look->root) == 0;

		if (!best || here > best_here || (here == best_here && one->built_ns > best->built_ns)) {
			best = one;
			best_here = here;
		}
	}
	return best;
}

static char *reason(const struct search *search, const struct pv_fixture_manifests *all)
{
	const struct pv_fixture_manifest *last = newest(all, search->look);
	struct pv_fixture_inputs before = { NULL, 0 }, now;
	struct pv_buf text = { .data = NULL };

	if (!last)
		return pv_xstrdup("never built\n");
	now = extra_now(search, last);
	pv_fixture_inputs_copy(&now, &search->look->inputs);
	pv_fixture_inputs_sort(&now);
	pv_fixture_inputs_copy(&before, &last->inputs);
	pv_fixture_inputs_copy(&before, &last->extra);
	if (pv_fixture_inputs_diff(&before, &now, &text) == 0)
		pv_buf_addstr(&text, "its cache entry is gone\n");
	pv_fixture_inputs_free(&before);
	pv_fixture_inputs_free(&now);
	return pv_buf_steal(&text);
}

static enum pv_err search_entries(struct search *search)
{
	struct pv_fixture_look *look = search->look;
	struct pv_fixture_manifests all = { NULL, 0 };
	bool over;
	enum pv_err err = try_entry(search, look->scan_key, &over);

	if (err || over)
		return err;
	err = pv_fixture_manifests_read(pv_store_dir(search->store), look->name,
	                                look->kind == PV_STORE_VM ? "vm" : "lab", &all, search->msg);
	if (!err)
		err = try_manifests(search, &all, &over);
	if (!err && !over)
		look->why = reason(search, &all);
	pv_fixture_manifests_free(&all);
	return err;
}

enum pv_err pv_fixture_look(struct pv_fixture_keys *keys, struct pv_store *store, const char *name,
                            enum pv_store_kind kind, struct pv_fixture_look *out, struct pv_errmsg *msg)
{
	struct pv_fixture_look look = { .kind = kind };
	struct search search = { keys, store, &look, msg };
	struct pv_fixture_place place;
	enum pv_err err = pv_fixture_key(keys, name, &look.inputs, &place, msg);

	if (err)
		return err;
	look.name = pv_xstrdup(name);
	look.builder = place.path;
	look.root = place.root;
	pv_fixture_inputs_key(&look.inputs, NULL, look.scan_key);
	err = search_entries(&search);
	if (err)
		pv_fixture_look_free(&look);
	else
		*out = look;
	return err;
}

/* ---- while the builder runs ---- */

static void saw(struct pv_fixture_keys *keys, struct pv_fixture_look *look, enum pv_fixture_input_kind kind,
                const char *name)
{
	if (pv_fixture_inputs_find(&look->inputs, kind, name) || pv_fixture_inputs_find(&look->extra, kind, name))
		return;
	char *value = pv_fixture_value(keys, look->root, kind, name);
	pv_fixture_inputs_add(&look->extra, kind, name, value);
	free(value);
}

void pv_fixture_saw_file(struct pv_fixture_keys *keys, struct pv_fixture_look *look, const char *given,
                         const char *path)
{
	char *name = pv_fixture_file_name(keys, look->root, given, path);

	saw(keys, look, PV_FIXTURE_FILE, name);
	free(name);
}

void pv_fixture_saw_script(struct pv_fixture_keys *keys, struct pv_fixture_look *look, const char *path)
{
	char *cwd = *path == '/' ? NULL : getcwd(NULL, 0);
	char *full = cwd ? pv_xasprintf("%s/%s", cwd, path) : pv_xstrdup(path);
	char *name = pv_fixture_file_name(keys, look->root, path, full);

	saw(keys, look, PV_FIXTURE_SCRIPT, name);
	free(name);
	free(full);
	free(cwd);
}

void pv_fixture_saw_module(struct pv_fixture_keys *keys, struct pv_fixture_look *look, const char *module,
                           const char *path)
{
	char *found = pv_fixture_module(keys, module);

	if (found && strcmp(found, path) == 0)
		saw(keys, look, PV_FIXTURE_HELPER, module);
	else
		pv_fixture_saw_script(keys, look, path);
	free(found);
}

void pv_fixture_saw_profile(struct pv_fixture_keys *keys, struct pv_fixture_look *look, const char *profile)
{
	for (enum pv_fixture_input_kind kind = PV_FIXTURE_KERNEL; kind <= PV_FIXTURE_AGENT; kind++)
		saw(keys, look, kind, profile);
}

/* The name of a path below another root, below this one. */
static char *name_below(const char *root, const struct pv_fixture_input *input, const char *input_root)
{
	bool is_path = input->kind == PV_FIXTURE_FILE || input->kind == PV_FIXTURE_SCRIPT;

	if (!is_path || *input->name == '/')
		return pv_xstrdup(input->name);
	char *path = pv_xasprintf("%s/%s", input_root, input->name);
	char *name = pv_path_relative(path, root);
	free(path);
	return name;
}

void pv_fixture_saw_fixture(struct pv_fixture_keys *keys, struct pv_fixture_look *look,
                            const struct pv_fixture_look *nested)
{
	(void)keys;
	if (!pv_fixture_inputs_find(&look->inputs, PV_FIXTURE_NESTED, nested->name))
		pv_fixture_inputs_add(&look->extra, PV_FIXTURE_NESTED, nested->name, nested->scan_key);
	for (size_t i = 0; i < nested->extra.n; i++) {
		const struct pv_fixture_input *input = &nested->extra.items[i];
		char *name = name_below(look->root, input, nested->root);

		if (!pv_fixture_inputs_find(&look->inputs, input->kind, name))
			pv_fixture_inputs_add(&look->extra, input->kind, name, input->value);
		free(name);
	}
}

/* ---- the end of a build ---- */

/* PV_ERR_STATE if `now` is not what it was when the build began. */
static enum pv_err check_same(const struct pv_fixture_look *look, const struct pv_fixture_inputs *before,
                              const struct pv_fixture_inputs *now, struct pv_errmsg *msg)
{
	struct pv_buf text = { .data = NULL };
	enum pv_err err = PV_OK;

	if (pv_fixture_inputs_diff(before, now, &text) > 0) {
		while (text.len > 0 && text.data[text.len - 1] == '\n')
			text.data[--text.len] = 0;
		err = pv_err_set(msg, PV_ERR_STATE, "fixture `%s`: an input changed while it was built: %s", look->name,
		                 pv_buf_str(&text));
	}
	pv_buf_free(&text);
	return err;
}

static enum pv_err check_unchanged(struct pv_fixture_keys *keys, const struct pv_fixture_look *look,
                                   struct pv_errmsg *msg)
{
	struct search search = { keys, NULL, (struct pv_fixture_look *)look, msg };
	struct pv_fixture_manifest manifest = { .extra = look->extra };
	struct pv_fixture_inputs inputs, extra;
	struct pv_fixture_place place;
	enum pv_err err = pv_fixture_key(keys, look->name, &inputs, &place, msg);

	if (err)
		return err;
	extra = extra_now(&search, &manifest);
	err = check_same(look, &look->inputs, &inputs, msg);
	if (!err)
		err = check_same(look, &look->extra, &extra, msg);
	pv_fixture_inputs_free(&inputs);
	pv_fixture_inputs_free(&extra);
	free(place.path);
	return err;
}

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

enum pv_err pv_fixture_sign(struct pv_fixture_keys *keys, struct pv_fixture_look *look, char **manifest,
                            struct pv_errmsg *msg)
{
	enum pv_err err = check_unchanged(keys, look, msg);

	if (err)
		return err;
	pv_fixture_inputs_sort(&look->extra);
	pv_fixture_inputs_key(&look->inputs, &look->extra, look->key);
	struct pv_fixture_manifest text = {
		.fixture = look->name,
		.kind = (char *)(look->kind == PV_STORE_VM ? "vm" : "lab"),
		.root = (char *)look->root,
		.built_ns = now_ns(),
		.inputs = look->inputs,
		.extra = look->extra,
	};
	memcpy(text.scan_key, look->scan_key, sizeof(text.scan_key));
	memcpy(text.key, look->key, sizeof(text.key));
	*manifest = pv_fixture_manifest_write(&text);
	return PV_OK;
}
