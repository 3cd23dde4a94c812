/* test() and todo(). */
#include "engine/script/tests.h"

#include <stdlib.h>
#include <string.h>

#include "engine/script/args.h"
#include "engine/script/script_internal.h"
#include "engine/script/site.h"
#include "engine/script/test_ctx.h"
#include "proto/mem.h"

struct entry {
	char *name;
	Pv__Value *meta;
	char *skip_reason; /* of meta.skip; NULL: none */
	bool has_timeout;
	uint64_t timeout_ns;
	char *source; /* where it was declared; NULL: unknown */
	int line;
};

struct pv_test_list {
	struct entry *entries;
	size_t n;
	size_t cap;
	char *todo; /* NULL: not called */
};

/* Registry keys: body and metadata of test i are at 2 i + 1 and 2 i + 2 of this table. */
static char bodies_key;

struct pv_test_list *pv_test_list_create(void)
{
	return PV_NEW(struct pv_test_list);
}

static void free_entry(struct entry *entry)
{
	free(entry->name);
	free(entry->skip_reason);
	free(entry->source);
	pv__value__free_unpacked(entry->meta, NULL);
}

void pv_test_list_destroy(struct pv_test_list *list)
{
	for (size_t i = 0; i < list->n; i++)
		free_entry(&list->entries[i]);
	free(list->entries);
	free(list->todo);
	free(list);
}

static struct entry *add_entry(struct pv_test_list *list)
{
	if (list->n == list->cap) {
		list->cap = list->cap == 0 ? 16 : list->cap * 2;
		list->entries = pv_xrealloc(list->entries, list->cap * sizeof(*list->entries));
	}
	list->entries[list->n] = (struct entry){ 0 };
	return &list->entries[list->n++];
}

static void push_stored(lua_State *L, lua_Integer at)
{
	lua_rawgetp(L, LUA_REGISTRYINDEX, &bodies_key);
	lua_rawgeti(L, -1, at);
	lua_remove(L, -2);
}

void pv_test_push_body(lua_State *L, size_t index)
{
	push_stored(L, (lua_Integer)(2 * index + 1));
}

void pv_test_push_meta(lua_State *L, size_t index)
{
	push_stored(L, (lua_Integer)(2 * index + 2));
}

/* ---- test ---- */

static void check_place(lua_State *L, const char *what)
{
	if (pv_script_of(L)->unit.is_test)
		pv_raise(L, "%s: only at file scope, not inside a test", what);
	pv_task_current(L, what);
}

/* true, a number that is an integer other than 0, or a text. */
static char *skip_reason(lua_State *L, int meta)
{
	char *reason = NULL;

	lua_pushliteral(L, "skip");
	lua_rawget(L, meta);
	if (lua_type(L, -1) == LUA_TSTRING) {
		size_t len;
		const char *text = lua_tolstring(L, -1, &len);
		char *shown = pv_printable(text, len);

		reason = pv_xasprintf("skipped: %s", shown);
		free(shown);
	} else if (lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) != 0
	                                          : lua_isboolean(L, -1) && lua_toboolean(L, -1)) {
		reason = pv_xstrdup("skipped (meta.skip)");
	}
	lua_pop(L, 1);
	return reason;
}

static void store_body(lua_State *L, size_t index)
{
	lua_rawgetp(L, LUA_REGISTRYINDEX, &bodies_key);
	lua_pushvalue(L, 3);
	lua_rawseti(L, -2, (lua_Integer)(2 * index + 1));
	lua_pushvalue(L, 2);
	lua_rawseti(L, -2, (lua_Integer)(2 * index + 2));
	lua_pop(L, 1);
}

static void check_arguments(lua_State *L)
{
	if (lua_gettop(L) <= 2) {
		lua_settop(L, 2);
		lua_newtable(L);
		lua_insert(L, 2);
	}
	if (*pv_arg_text(L, 1, "test: name") == '\0')
		pv_raise(L, "test: the name is empty");
	if (lua_isnil(L, 2)) {
		lua_newtable(L);
		lua_replace(L, 2);
	}
	pv_arg_table(L, 2, "test: meta");
	if (lua_type(L, 3) != LUA_TFUNCTION)
		pv_raise(L, "test: a function is needed as the body, got %s", luaL_typename(L, 3));
	pv_arg_end(L, 3, "test");
}

static int declare_test(lua_State *L)
{
	struct pv_test_list *list = pv_script_of(L)->tests;
	const char *name;
	bool has_timeout;
	uint64_t timeout_ns = 0;
	struct pv_site site = { 0 };
	struct entry *entry;
	Pv__Value *meta;

	check_place(L, "test");
	check_arguments(L);
	name = lua_tostring(L, 1);
	for (size_t i = 0; i < list->n; i++)
		if (strcmp(list->entries[i].name, name) == 0)
			pv_raise(L, "test: duplicate name `%s` in this file", name);
	has_timeout = pv_get_option(L, 2, "timeout");
	if (has_timeout) {
		timeout_ns = pv_arg_duration(L, lua_gettop(L), "test: meta.timeout");
		lua_pop(L, 1);
	}
	store_body(L, list->n);
	lua_pushliteral(L, "skip"); /* so that skip_reason() allocates nothing in Lua */
	meta = pv_meta_from_table(L, 2, "test: meta");
	entry = add_entry(list);
	entry->name = pv_printable(name, strlen(name));
	entry->meta = meta;
	entry->has_timeout = has_timeout;
	entry->timeout_ns = timeout_ns;
	entry->skip_reason = skip_reason(L, 2);
	if (pv_site_find(L, &site)) {
		entry->source = pv_xstrdup(site.source);
		entry->line = site.line;
	}
	return 0;
}

static int declare_todo(lua_State *L)
{
	struct pv_test_list *list = pv_script_of(L)->tests;
	const char *reason;

	check_place(L, "todo");
	reason = pv_arg_text_or(L, 1, "todo: reason", "todo");
	pv_arg_end(L, 1, "todo");
	if (list->todo == NULL)
		list->todo = pv_printable(reason, strlen(reason));
	return 0;
}

void pv_open_test(lua_State *L)
{
	lua_newtable(L);
	lua_rawsetp(L, LUA_REGISTRYINDEX, &bodies_key);
	lua_register(L, "test", declare_test);
	lua_register(L, "todo", declare_todo);
}

bool pv_test_site(const struct pv_script *script, size_t index, struct pv_site *out)
{
	const struct entry *entry = &script->tests->entries[index];

	*out = (struct pv_site){ .source = entry->source, .line = entry->line };
	return entry->source != NULL;
}

/* ---- for the runner ---- */

size_t pv_script_test_count(const struct pv_script *script)
{
	return script->tests->n;
}

void pv_script_test(const struct pv_script *script, size_t index, struct pv_script_test *out)
{
	const struct entry *entry = &script->tests->entries[index];

	PV_ASSERT(index < script->tests->n);
	out->name = entry->name;
	out->meta = entry->meta;
	out->timeout_ns = entry->has_timeout ? entry->timeout_ns : script->timeout_ns;
	out->skip_reason = script->tests->todo != NULL ? script->tests->todo : entry->skip_reason;
}
