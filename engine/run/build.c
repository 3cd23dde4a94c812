#include "engine/run/build.h"

#include <stdlib.h>
#include <string.h>

#include "engine/run/fixture_manifests.h"
#include "engine/run/lua_lexer.h"
#include "proto/mem.h"
#include "vmctl/hostfile.h"
#include "vmctl/image.h"

#define SOURCE_BYTES_MAX (64u << 20)

/* ---- the kind ---- */

/* `provium:snapshot` is what builders of labs end with. */
static bool snapshots_the_root(const char *source, size_t len)
{
	struct pv_lua_lexer lexer = pv_lua_lexer(source, len);

	for (;;) {
		struct pv_lua_token token = pv_lua_next(&lexer), name;

		if (token.kind == PV_LUA_END)
			return false;
		if (!pv_lua_is(&token, PV_LUA_NAME, "provium"))
			continue;
		if (!pv_lua_take(&lexer, ":") && !pv_lua_take(&lexer, "."))
			continue;
		name = pv_lua_peek(&lexer);
		if (pv_lua_is(&name, PV_LUA_NAME, "snapshot"))
			return true;
	}
}

static enum pv_store_kind kind_by_source(const char *builder)
{
	struct pv_buf source = { .data = NULL };
	bool lab = pv_hostfile_read(builder, SOURCE_BYTES_MAX, &source, NULL) == PV_OK &&
	           snapshots_the_root(pv_buf_str(&source), source.len);

	pv_buf_free(&source);
	return lab ? PV_STORE_LAB : PV_STORE_VM;
}

enum pv_store_kind pv_build_guess(struct pv_store *store, const char *name, const char *builder)
{
	struct pv_fixture_manifests manifests;
	const struct pv_fixture_manifest *newest = NULL;
	enum pv_store_kind kind;

	if (pv_fixture_manifests_read(pv_store_dir(store), name, NULL, &manifests, NULL))
		return kind_by_source(builder);
	for (size_t i = 0; i < manifests.n; i++) {
		if (!newest || manifests.items[i].built_ns > newest->built_ns)
			newest = &manifests.items[i];
	}
	if (newest)
		kind = strcmp(newest->kind, "lab") == 0 ? PV_STORE_LAB : PV_STORE_VM;
	else
		kind = kind_by_source(builder);
	pv_fixture_manifests_free(&manifests);
	return kind;
}

bool pv_build_is_other_kind(const struct pv_run_build *build)
{
	const char *told = build->error ? strstr(build->error, "the chunk must return a ") : NULL;
	const char *other = build->kind == PV_STORE_VM ? " not a LabSnapshot" : " not a Snapshot";

	return told && strstr(told, other);
}

/* ---- the file ---- */

static bool no_file(const struct pv_found_file *file, const void *arg)
{
	(void)file;
	(void)arg;
	return false;
}

enum pv_err pv_build_select(const struct pv_run_build *build, const struct pv_config *config, struct pv_found *out,
                            struct pv_errmsg *msg)
{
	struct pv_discover_request request = {
		.roots = (const char *const *)config->roots,
		.n_roots = config->n_roots,
		.suffix = PV_SUFFIX_FIXTURE,
	};
	struct pv_fixture_place place;
	enum pv_err err = pv_discover(&request, out, msg);

	if (!err)
		err = pv_fixture_find((const char *const *)out->roots, out->n_roots, build->name, &place, msg);
	if (err)
		return err;
	free(place.path);
	pv_found_keep(out, no_file, NULL); /* the roots alone stay */
	out->files = pv_xrealloc(out->files, sizeof(*out->files));
	out->files[0] = (struct pv_found_file){
		.path = pv_xstrdup(""),
		.canonical = pv_xstrdup(""),
		.root_path = pv_xasprintf("build of %s", build->name),
		.shown_path = pv_xasprintf("build of %s", build->name),
	};
	out->n = 1;
	return PV_OK;
}

/* As a string of Lua, whatever it holds. */
static void add_quoted(struct pv_buf *out, const char *text)
{
	pv_buf_addstr(out, "\"");
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\')
			pv_buf_addf(out, "\\%03u", c);
		else
			pv_buf_add(out, text, 1);
	}
	pv_buf_addstr(out, "\"");
}

enum pv_err pv_build_write(const struct pv_run_build *build, const char *run_dir, struct pv_found_file *file,
                           struct pv_errmsg *msg)
{
	struct pv_buf text = { .data = NULL };
	enum pv_err err;

	free(file->path);
	free(file->canonical);
	file->path = pv_xasprintf("%s/build" PV_SUFFIX_TEST, run_dir);
	file->canonical = pv_xstrdup(file->path);
	pv_buf_addf(&text, "provium:%s(", build->kind == PV_STORE_VM ? "vm_fixture" : "lab_fixture");
	add_quoted(&text, build->name);
	pv_buf_addstr(&text, ")\n");
	err = pv_hostfile_put(file->path, 0600, text.data, text.len, msg);
	if (!err)
		err = pv_image_hash(file->path, file->sha256, msg);
	pv_buf_free(&text);
	return err;
}
