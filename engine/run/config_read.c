/* The document provium.toml: which keys there are, of which type, and where they go. */
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "engine/core/units.h"
#include "engine/run/config_internal.h"
#include "engine/run/toml.h"
#include "proto/mem.h"

#define CPUS_MAX    255         /* of QEMU's machine types */
#define MEMORY_MIN  (16u << 20) /* bytes; no Linux guest boots with less */
#define KEYS_MAX    32
#define NO_FIELD    ((size_t)-1) /* the value is checked and not kept */
#define FIELD(t, f) offsetof(struct t, f)

enum kind {
	K_PATH,    /* char *, absolute */
	K_PROGRAM, /* char *, absolute if it has a '/' */
	K_ROOTS,   /* the array of paths of the configuration */
	K_TEXT,    /* char *, not blank */
	K_SIZE,    /* uint64_t, bytes */
	K_MEMORY,  /* uint64_t, bytes, enough for a guest */
	K_CPUS,    /* uint32_t */
	K_BOOL,    /* bool */
	K_CHOICE,  /* char *, one of `choices` */
	K_SECOND,  /* bool: is it the second of `choices`? */
};

struct key {
	const char *name;
	enum kind kind;
	size_t field; /* offset in the struct that the table fills */
	const char *const *choices;
	bool required;
};

static const char *const identities[] = { "stat", "content", NULL };
static const char *const guest_systems[] = { "linux", NULL };
static const char *const accelerators[] = { "auto", "kvm", "tcg", NULL };
static const char *const networks[] = { "none", "auto", NULL };

static const struct key provium_keys[] = {
	{ "roots", K_ROOTS, FIELD(pv_config, roots), NULL, false },
	{ "cache_dir", K_PATH, FIELD(pv_config, cache_dir), NULL, false },
	{ "cache_max_size", K_SIZE, FIELD(pv_config, cache_max_bytes), NULL, false },
	{ "cache_identity", K_SECOND, FIELD(pv_config, cache_by_content), identities, false },
	{ "run_dir", K_PATH, FIELD(pv_config, run_dir), NULL, false },
	{ "signing_key", K_PATH, FIELD(pv_config, signing_key), NULL, false },
	{ NULL, K_PATH, 0, NULL, false },
};

static const struct key profile_keys[] = {
	{ "kernel", K_PATH, FIELD(pv_profile, kernel), NULL, true },
	{ "initrd", K_PATH, FIELD(pv_profile, initrd), NULL, true },
	{ "cmdline", K_TEXT, FIELD(pv_profile, cmdline), NULL, true },
	{ "guest_os", K_CHOICE, NO_FIELD, guest_systems, false },
	{ "inject_agent", K_BOOL, FIELD(pv_profile, inject_agent), NULL, false },
	{ "agent_overlay_path", K_PATH, FIELD(pv_profile, agent_overlay), NULL, false },
	{ "modules", K_PATH, FIELD(pv_profile, modules), NULL, false },
	{ "memory", K_MEMORY, FIELD(pv_profile, memory_bytes), NULL, false },
	{ "cpus", K_CPUS, FIELD(pv_profile, cpus), NULL, false },
	{ "machine", K_TEXT, FIELD(pv_profile, machine), NULL, false },
	{ "accel", K_CHOICE, FIELD(pv_profile, accel), accelerators, false },
	{ "qemu", K_PROGRAM, FIELD(pv_profile, qemu), NULL, false },
	{ "net", K_SECOND, FIELD(pv_profile, net), networks, false },
	{ NULL, K_PATH, 0, NULL, false },
};

struct reader {
	const char *name; /* of the file */
	const char *dir;
	struct pv_config *config;
	struct pv_errmsg *msg;
};

/* One value on its way from the document into a struct. */
struct slot {
	const struct key *key;
	const char *table; /* "provium", "profiles.small" */
	struct json_object *node;
	void *target;
};

/* ---- nodes of the document, see toml.h ---- */

static const char *node_type(struct json_object *node)
{
	return json_object_get_string(json_object_object_get(node, "type"));
}

static int node_line(struct json_object *node)
{
	return json_object_get_int(json_object_object_get(node, "line"));
}

static struct json_object *node_value(struct json_object *node)
{
	return json_object_object_get(node, "value");
}

static bool node_is(struct json_object *node, const char *type)
{
	return !strcmp(node_type(node), type);
}

/* ---- errors ---- */

/* "<file>:<line>: <key> in [<table>] <what>" */
static enum pv_err __attribute__((format(printf, 3, 4)))
bad_value(const struct reader *reader, const struct slot *slot, const char *fmt, ...)
{
	va_list ap;
	char *what;

	va_start(ap, fmt);
	what = pv_xvasprintf(fmt, ap);
	va_end(ap);
	pv_err_set(reader->msg, PV_ERR_INVAL, "%s:%d: %s in [%s] %s", reader->name, node_line(slot->node),
	           slot->key->name, slot->table, what);
	free(what);
	return PV_ERR_INVAL;
}

static enum pv_err bad_type(const struct reader *reader, const struct slot *slot, struct json_object *node,
                            const char *wanted)
{
	const char *type = node_type(node);

	return bad_value(reader, slot, "must be %s, not %s %s", wanted, strchr("aei", type[0]) ? "an" : "a", type);
}

/* What a word could have been: `, did you mean "kernel"?`, else the known words. The caller frees it. */
static char *suggest(const char *word, const char *const *known)
{
	const char *near = pv_nearest(word, known);
	struct pv_buf out = { 0 };

	if (near)
		return pv_xasprintf(", did you mean \"%s\"?", near);
	pv_buf_addstr(&out, "; known are ");
	for (size_t i = 0; known[i]; i++)
		pv_buf_addf(&out, "%s%s", i ? ", " : "", known[i]);
	return pv_buf_steal(&out);
}

static enum pv_err unknown_key(const struct reader *reader, struct json_object *node, const char *key,
                               const char *table, const char *const *known)
{
	char *hint = suggest(key, known);

	pv_err_set(reader->msg, PV_ERR_INVAL, "%s:%d: unknown key \"%s\" %s%s%s%s", reader->name, node_line(node), key,
	           table ? "in [" : "at the top", table ? table : "", table ? "]" : "", hint);
	free(hint);
	return PV_ERR_INVAL;
}

/* ---- values ---- */

static void set_text(void *field, char *text)
{
	char **target = field;

	free(*target);
	*target = text;
}

static enum pv_err get_text(const struct reader *reader, const struct slot *slot, struct json_object *node,
                            const char **text)
{
	if (!node_is(node, "string"))
		return bad_type(reader, slot, node, "a string");
	*text = json_object_get_string(node_value(node));
	if (strlen(*text) != (size_t)json_object_get_string_len(node_value(node)))
		return bad_value(reader, slot, "has a NUL character in it");
	if ((*text)[strspn(*text, " \t\r\n")] == '\0')
		return bad_value(reader, slot, "must not be blank");
	return PV_OK;
}

static enum pv_err read_roots(const struct reader *reader, const struct slot *slot, void *field)
{
	struct json_object *list = node_value(slot->node);
	struct pv_config *config = reader->config;
	char **roots;
	size_t n;

	(void)field;
	if (!node_is(slot->node, "array"))
		return bad_type(reader, slot, slot->node, "an array of paths");
	n = json_object_array_length(list);
	roots = pv_xcalloc(n + 1, sizeof(*roots));
	config->roots = roots;
	for (size_t i = 0; i < n; i++) {
		const char *text;
		enum pv_err err = get_text(reader, slot, json_object_array_get_idx(list, i), &text);

		if (err)
			return err;
		roots[i] = pv_config_join(reader->dir, text);
		config->n_roots = i + 1;
	}
	return PV_OK;
}

static enum pv_err read_size(const struct reader *reader, const struct slot *slot, uint64_t *bytes)
{
	struct json_object *value = node_value(slot->node);
	struct pv_errmsg why = { 0 };
	const char *text;
	char pretty[32];
	enum pv_err err;

	if (node_is(slot->node, "integer")) {
		if (json_object_get_int64(value) < 0)
			return bad_value(reader, slot, "must not be negative");
		*bytes = (uint64_t)json_object_get_int64(value);
	} else if (!node_is(slot->node, "string")) {
		return bad_type(reader, slot, slot->node, "a size, as \"512M\"");
	} else {
		err = get_text(reader, slot, slot->node, &text);
		if (err)
			return err;
		if (pv_parse_size(text, bytes, &why))
			return bad_value(reader, slot, "is no size: %s", why.text);
	}
	if (slot->key->kind == K_MEMORY && *bytes < MEMORY_MIN)
		return bad_value(reader, slot, "is only %s; plain numbers are bytes, write \"%lluM\" for MiB",
		                 pv_format_size(*bytes, pretty), (unsigned long long)(*bytes ? *bytes : 256));
	return PV_OK;
}

static enum pv_err read_cpus(const struct reader *reader, const struct slot *slot, uint32_t *cpus)
{
	int64_t value;

	if (!node_is(slot->node, "integer"))
		return bad_type(reader, slot, slot->node, "an integer");
	value = json_object_get_int64(node_value(slot->node));
	if (value < 1 || value > CPUS_MAX)
		return bad_value(reader, slot, "must be from 1 to %d, not %lld", CPUS_MAX, (long long)value);
	*cpus = (uint32_t)value;
	return PV_OK;
}

/* `*index` of the word in the choices of the key. */
static enum pv_err read_choice(const struct reader *reader, const struct slot *slot, size_t *index)
{
	const char *const *choices = slot->key->choices;
	struct pv_buf list = { 0 };
	const char *text;
	enum pv_err err = get_text(reader, slot, slot->node, &text);

	if (err)
		return err;
	for (*index = 0; choices[*index]; (*index)++)
		if (!strcmp(choices[*index], text))
			return PV_OK;
	for (size_t i = 0; choices[i]; i++)
		pv_buf_addf(&list, "%s\"%s\"", i ? " or " : "", choices[i]);
	bad_value(reader, slot, "must be %s, not \"%s\"", pv_buf_str(&list), text);
	pv_buf_free(&list);
	return PV_ERR_INVAL;
}

static enum pv_err read_text(const struct reader *reader, const struct slot *slot, char **field)
{
	const char *text;
	enum pv_err err = get_text(reader, slot, slot->node, &text);

	if (err)
		return err;
	if (slot->key->kind == K_PATH || (slot->key->kind == K_PROGRAM && strchr(text, '/')))
		set_text(field, pv_config_join(reader->dir, text));
	else
		set_text(field, pv_xstrdup(text));
	return PV_OK;
}

static enum pv_err read_value(const struct reader *reader, const struct slot *slot)
{
	const struct key *key = slot->key;
	void *field = key->field == NO_FIELD ? NULL : (char *)slot->target + key->field;
	enum pv_err err;
	size_t index;

	switch (key->kind) {
	case K_ROOTS:
		return read_roots(reader, slot, field);
	case K_SIZE:
	case K_MEMORY:
		return read_size(reader, slot, field);
	case K_CPUS:
		return read_cpus(reader, slot, field);
	case K_BOOL:
		if (!node_is(slot->node, "boolean"))
			return bad_type(reader, slot, slot->node, "true or false");
		*(bool *)field = json_object_get_boolean(node_value(slot->node));
		return PV_OK;
	case K_CHOICE:
	case K_SECOND:
		err = read_choice(reader, slot, &index);
		if (!err && key->kind == K_SECOND)
			*(bool *)field = index == 1;
		else if (!err && field)
			set_text(field, pv_xstrdup(key->choices[index]));
		return err;
	case K_PATH:
	case K_PROGRAM:
	case K_TEXT:
		return read_text(reader, slot, field);
	}
	PV_BUG("kind %d", (int)key->kind);
}

/* ---- tables ---- */

static const struct key *find_key(const struct key *keys, const char *name)
{
	for (; keys->name; keys++)
		if (!strcmp(keys->name, name))
			return keys;
	return NULL;
}

/* Reads the entries of `node` by `keys` into `target`. */
static enum pv_err read_table(const struct reader *reader, struct json_object *node, const char *table,
                              const struct key *keys, void *target)
{
	const char *known[KEYS_MAX] = { NULL };

	for (size_t i = 0; keys[i].name; i++)
		known[i] = keys[i].name;
	if (!node_is(node, "table"))
		return pv_err_set(reader->msg, PV_ERR_INVAL, "%s:%d: %s must be a table [%s]", reader->name,
		                  node_line(node), table, table);
	json_object_object_foreach(node_value(node), name, entry)
	{
		struct slot slot = { find_key(keys, name), table, entry, target };
		enum pv_err err;

		if (!slot.key)
			return unknown_key(reader, entry, name, table, known);
		err = read_value(reader, &slot);
		if (err)
			return err;
	}
	for (; keys->name; keys++)
		if (keys->required && !json_object_object_get_ex(node_value(node), keys->name, NULL))
			return pv_err_set(reader->msg, PV_ERR_INVAL, "%s:%d: [%s] lacks the key \"%s\"", reader->name,
			                  node_line(node), table, keys->name);
	return PV_OK;
}

static int compare_profiles(const void *a, const void *b)
{
	return strcmp(((const struct pv_profile *)a)->name, ((const struct pv_profile *)b)->name);
}

static enum pv_err read_profiles(const struct reader *reader, struct json_object *node)
{
	struct pv_config *config = reader->config;
	enum pv_err err = PV_OK;

	if (!node_is(node, "table"))
		return pv_err_set(reader->msg, PV_ERR_INVAL, "%s:%d: profiles must be tables [profiles.NAME]",
		                  reader->name, node_line(node));
	json_object_object_foreach(node_value(node), name, entry)
	{
		char *table;

		if (!*name)
			return pv_err_set(reader->msg, PV_ERR_INVAL, "%s:%d: a profile needs a name", reader->name,
			                  node_line(entry));
		config->profiles = pv_xrealloc(config->profiles, (config->n_profiles + 1) * sizeof(*config->profiles));
		config->profiles[config->n_profiles] = pv_config_new_profile(name);
		config->n_profiles++;
		table = pv_xasprintf("profiles.%s", name);
		err = read_table(reader, entry, table, profile_keys, &config->profiles[config->n_profiles - 1]);
		free(table);
		if (err)
			return err;
	}
	if (config->n_profiles)
		qsort(config->profiles, config->n_profiles, sizeof(*config->profiles), compare_profiles);
	return PV_OK;
}

enum pv_err pv_config_read(const char *text, size_t len, const char *name, const char *dir, struct pv_config *config,
                           struct pv_errmsg *msg)
{
	static const char *const known[] = { "provium", "profiles", NULL };
	struct reader reader = { name, dir, config, msg };
	struct json_object *root;
	enum pv_err err = pv_toml_parse(text, len, name, &root, msg);

	if (err)
		return err;
	json_object_object_foreach(node_value(root), key, node)
	{
		if (!strcmp(key, "provium"))
			err = read_table(&reader, node, key, provium_keys, config);
		else if (!strcmp(key, "profiles"))
			err = read_profiles(&reader, node);
		else
			err = unknown_key(&reader, node, key, NULL, known);
		if (err)
			break;
	}
	json_object_put(root);
	return err;
}
