/* What a run would build, and why. */
#include <stdlib.h>
#include <string.h>

#include "engine/run/fixture_cache.h"
#include "engine/run/fixture_look.h"
#include "engine/run/root_path.h"
#include "proto/mem.h"

static void add(struct pv_fixture_stale **out, size_t *n, const char *name, const char *why)
{
	*out = pv_xrealloc(*out, (*n + 1) * sizeof(**out));
	(*out)[(*n)++] = (struct pv_fixture_stale){ pv_xstrdup(name), pv_xstrdup(why) };
}

/* The name by which the file is called; NULL if that means another file. */
static char *name_of(const struct pv_fixture_cache *cache, const struct pv_found_file *file)
{
	const struct pv_fixture_world *world = pv_fixture_keys_world(cache->keys);
	const char *root = pv_root_containing(world->roots, world->n_roots, file->path);
	const char *below = root ? pv_path_below(file->path, root) : NULL;
	struct pv_fixture_place place;
	char *name;

	if (!below)
		return NULL;
	name = pv_xasprintf("%.*s", (int)(strlen(below) - strlen(PV_SUFFIX_FIXTURE)), below);
	if (pv_fixture_find(world->roots, world->n_roots, name, &place, NULL) == PV_OK) {
		bool same = strcmp(place.path, file->path) == 0;

		free(place.path);
		if (same)
			return name;
	}
	free(name);
	return NULL;
}

/* Which kind it is only its builder tells: either entry will do. */
static void look(const struct pv_fixture_cache *cache, const char *name, struct pv_fixture_stale **out, size_t *n)
{
	static const char never[] = "never built\n";
	struct pv_fixture_look vm, lab;
	struct pv_errmsg msg = { .text = "" };

	if (pv_fixture_look(cache->keys, cache->store, name, PV_STORE_VM, &vm, &msg)) {
		add(out, n, name, msg.text);
		return;
	}
	if (vm.hit) {
		pv_fixture_look_free(&vm);
		return;
	}
	if (pv_fixture_look(cache->keys, cache->store, name, PV_STORE_LAB, &lab, &msg)) {
		add(out, n, name, msg.text);
	} else {
		if (!lab.hit)
			add(out, n, name, strcmp(vm.why, never) == 0 ? lab.why : vm.why);
		pv_fixture_look_free(&lab);
	}
	pv_fixture_look_free(&vm);
}

void pv_fixture_stale(const struct pv_fixture_cache *cache, const struct pv_found *found, struct pv_fixture_stale **out,
                      size_t *n)
{
	*out = NULL;
	*n = 0;
	for (size_t i = 0; i < found->n; i++) {
		char *name = name_of(cache, &found->files[i]);

		if (name)
			look(cache, name, out, n);
		free(name);
	}
}

void pv_fixture_stale_free(struct pv_fixture_stale *stale, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(stale[i].name);
		free(stale[i].why);
	}
	free(stale);
}
