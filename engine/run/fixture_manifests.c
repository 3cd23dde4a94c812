#include "engine/run/fixture_manifests.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmctl/hostfile.h"

#define SUFFIX    ".inputs.json"
#define BYTES_MAX (64u << 20)

void pv_fixture_manifests_free(struct pv_fixture_manifests *manifests)
{
	for (size_t i = 0; i < manifests->n; i++)
		pv_fixture_manifest_free(&manifests->items[i]);
	free(manifests->items);
	*manifests = (struct pv_fixture_manifests){ NULL, 0 };
}

static int is_manifest(const struct dirent *entry)
{
	return strlen(entry->d_name) == PV_FIXTURE_KEY_CHARS + strlen(SUFFIX) &&
	       strcmp(entry->d_name + PV_FIXTURE_KEY_CHARS, SUFFIX) == 0;
}

static int bytewise(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static bool read_one(const char *dir, const char *file, struct pv_fixture_manifest *out)
{
	char *path = pv_xasprintf("%s/%s", dir, file);
	struct pv_buf text = { .data = NULL };
	bool good = !pv_hostfile_read(path, BYTES_MAX, &text, NULL) &&
	            !pv_fixture_manifest_read(pv_buf_str(&text), text.len, out, NULL);

	/* It stands for the entry that it lies beside and for no other. */
	if (good && strncmp(out->key, file, PV_FIXTURE_KEY_CHARS) != 0) {
		pv_fixture_manifest_free(out);
		good = false;
	}
	pv_buf_free(&text);
	free(path);
	return good;
}

static void add(struct pv_fixture_manifests *out, const char *dir, const char *file, const char *name, const char *kind)
{
	struct pv_fixture_manifest one;

	if (!read_one(dir, file, &one))
		return;
	if ((name && strcmp(one.fixture, name) != 0) || (kind && strcmp(one.kind, kind) != 0)) {
		pv_fixture_manifest_free(&one);
		return;
	}
	out->items = pv_xrealloc(out->items, (out->n + 1) * sizeof(*out->items));
	out->items[out->n++] = one;
}

enum pv_err pv_fixture_manifests_read(const char *dir, const char *name, const char *kind,
                                      struct pv_fixture_manifests *out, struct pv_errmsg *msg)
{
	struct dirent **entries;
	int n = scandir(dir, &entries, is_manifest, bytewise);

	*out = (struct pv_fixture_manifests){ NULL, 0 };
	if (n < 0 && errno == ENOENT)
		return PV_OK;
	if (n < 0)
		return pv_err_sys(msg, PV_ERR_IO, errno, "the fixture cache %s cannot be read", dir);
	for (int i = 0; i < n; i++) {
		add(out, dir, entries[i]->d_name, name, kind);
		free(entries[i]);
	}
	free(entries);
	return PV_OK;
}
