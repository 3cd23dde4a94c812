#include "engine/run/fixture_name.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/run/discover.h"
#include "proto/mem.h"

/* ---- paths as text ---- */

static void drop_last(struct pv_buf *out, size_t root)
{
	while (out->len > root && out->data[out->len - 1] != '/')
		out->len--;
	if (out->len > root)
		out->len--;
	out->data[out->len] = 0;
}

static bool ends_with_up(const struct pv_buf *out)
{
	return out->len == 2 ? memcmp(out->data, "..", 2) == 0
	                     : out->len > 2 && memcmp(out->data + out->len - 3, "/..", 3) == 0;
}

char *pv_path_normal(const char *path)
{
	struct pv_buf out = { .data = NULL };
	bool absolute = path[0] == '/';

	for (const char *at = path; *at;) {
		size_t part;

		at += strspn(at, "/");
		part = strcspn(at, "/");
		if (part == 2 && memcmp(at, "..", 2) == 0 && (absolute || (out.len > 0 && !ends_with_up(&out)))) {
			if (out.len > 0)
				drop_last(&out, 0);
		} else if (part > 0 && !(part == 1 && *at == '.')) {
			pv_buf_addf(&out, "%s%.*s", absolute || out.len > 0 ? "/" : "", (int)part, at);
		}
		at += part;
	}
	if (out.len == 0)
		pv_buf_addstr(&out, absolute ? "/" : ".");
	return pv_buf_steal(&out);
}

/* What both begin with, in whole components. */
static size_t common_part(const char *a, const char *b)
{
	size_t same = 0;

	for (size_t i = 0;; i++) {
		bool a_ends = a[i] == '/' || a[i] == '\0', b_ends = b[i] == '/' || b[i] == '\0';

		if (a_ends && b_ends)
			same = i;
		if (a[i] != b[i] || a[i] == '\0')
			return same;
	}
}

char *pv_path_relative(const char *path, const char *dir)
{
	char *to = pv_path_normal(path), *from = pv_path_normal(dir);
	size_t same = common_part(strcmp(to, "/") ? to : "", strcmp(from, "/") ? from : "");
	struct pv_buf out = { .data = NULL };

	for (const char *at = from + same; *at; at++) {
		if (*at == '/' && at[1] != '\0')
			pv_buf_addstr(&out, "../");
	}
	pv_buf_addstr(&out, to + same + (to[same] == '/'));
	if (out.len > 0 && out.data[out.len - 1] == '/')
		out.data[--out.len] = 0;
	if (out.len == 0)
		pv_buf_addstr(&out, ".");
	free(to);
	free(from);
	return pv_buf_steal(&out);
}

/* ---- names ---- */

static bool has_suffix(const char *name, const char *suffix)
{
	size_t n = strlen(name), s = strlen(suffix);

	return n >= s && strcmp(name + n - s, suffix) == 0;
}

static enum pv_err check_name(const char *name, struct pv_errmsg *msg)
{
	char *normal;
	bool plain;

	if (*name == '\0')
		return pv_err_set(msg, PV_ERR_INVAL, "the name of a fixture must not be empty");
	if (has_suffix(name, PV_SUFFIX_FIXTURE))
		return pv_err_set(msg, PV_ERR_INVAL, "fixture `%s`: the name is without " PV_SUFFIX_FIXTURE ": `%.*s`",
		                  name, (int)(strlen(name) - strlen(PV_SUFFIX_FIXTURE)), name);
	normal = pv_path_normal(name);
	plain = *name != '/' && strcmp(normal, name) == 0 && strncmp(name, "../", 3) != 0 && strcmp(name, "..") != 0 &&
	        strcmp(name, ".") != 0;
	free(normal);
	if (!plain)
		return pv_err_set(
		    msg, PV_ERR_INVAL,
		    "fixture `%s`: a name is the path below a test root, without \".\", \"..\" and a \"/\" "
		    "at its ends",
		    name);
	return PV_OK;
}

enum pv_err pv_fixture_find(const char *const *roots, size_t n_roots, const char *name, struct pv_fixture_place *out,
                            struct pv_errmsg *msg)
{
	struct pv_buf tried = { .data = NULL };
	enum pv_err err = check_name(name, msg);

	if (err)
		return err;
	for (size_t i = 0; i < n_roots; i++) {
		char *path = pv_xasprintf("%s/%s" PV_SUFFIX_FIXTURE, strcmp(roots[i], "/") ? roots[i] : "", name);
		struct stat st;

		if (stat(path, &st) == 0 && S_ISREG(st.st_mode)) {
			*out = (struct pv_fixture_place){ path, roots[i] };
			pv_buf_free(&tried);
			return PV_OK;
		}
		free(path);
		pv_buf_addf(&tried, "%s%s", i > 0 ? ", " : "", roots[i]);
	}
	err = pv_err_set(msg, PV_ERR_NOENT, "fixture `%s` not found in any test root (%s%s)", name,
	                 n_roots > 0 ? "tried: " : "there is none", pv_buf_str(&tried));
	pv_buf_free(&tried);
	return err;
}
