#include "engine/run/fixture_scan.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "engine/run/lua_lexer.h"
#include "proto/mem.h"

#define ARGS_MAX 4

/* ---- calls ---- */

/* An argument: where it begins, and how many tokens it has. */
struct arg {
	struct pv_lua_lexer at;
	size_t tokens;
};

struct args {
	struct arg items[ARGS_MAX];
	size_t n;
};

static bool opens(const struct pv_lua_token *token)
{
	return token->kind == PV_LUA_OTHER && strchr("({[", *token->text);
}

static bool closes(const struct pv_lua_token *token)
{
	return token->kind == PV_LUA_OTHER && strchr(")}]", *token->text);
}

/* Behind "(": the first arguments. False if the parenthesis is not closed. */
static bool take_list(struct pv_lua_lexer lexer, struct args *args)
{
	struct arg arg = { lexer, 0 };
	size_t depth = 0;

	for (;;) {
		struct pv_lua_token token = pv_lua_next(&lexer);
		bool ends = depth == 0 && closes(&token);

		if (token.kind == PV_LUA_END)
			return false;
		if (ends || (depth == 0 && pv_lua_is(&token, PV_LUA_OTHER, ","))) {
			if (arg.tokens > 0 && args->n < ARGS_MAX)
				args->items[args->n++] = arg;
			if (ends)
				return true;
			arg = (struct arg){ lexer, 0 };
			continue;
		}
		depth += opens(&token);
		depth -= closes(&token);
		arg.tokens++;
	}
}

/* Behind the name of a function. False if that is no call. */
static bool take_args(struct pv_lua_lexer lexer, struct args *args)
{
	struct pv_lua_token token = pv_lua_peek(&lexer);

	args->n = 0;
	if (pv_lua_take(&lexer, "("))
		return take_list(lexer, args);
	if (token.kind != PV_LUA_STRING)
		return false;
	args->items[args->n++] = (struct arg){ lexer, 1 };
	return true;
}

/* The text of a literal argument, which the caller frees; NULL if it is something else. */
static char *literal(const struct args *args, size_t i)
{
	struct pv_lua_token token;

	if (i >= args->n || args->items[i].tokens != 1)
		return NULL;
	token = pv_lua_peek(&args->items[i].at);
	return pv_lua_string(&token);
}

/* Where the arguments begin: in `lab.vm_fixture(lab, "x")` behind the lab, which is no literal. */
static size_t first_arg(const struct args *args, bool dot)
{
	struct pv_lua_token token;

	if (!dot || args->n == 0)
		return 0;
	token = pv_lua_peek(&args->items[0].at);
	return token.kind == PV_LUA_STRING ? 0 : 1;
}

/* ---- `{auto_dep = false}` ---- */

/* Behind "{" or "," of a table: `auto_dep = false` or `["auto_dep"] = false`, whole. */
static bool is_auto_dep_off(struct pv_lua_lexer lexer)
{
	bool bracket = pv_lua_take(&lexer, "[");
	struct pv_lua_token key = pv_lua_next(&lexer), value, end;

	if (key.kind != (bracket ? PV_LUA_STRING : PV_LUA_NAME))
		return false;
	key.kind = PV_LUA_NAME;
	if (!pv_lua_is(&key, PV_LUA_NAME, "auto_dep") || (bracket && !pv_lua_take(&lexer, "]")) ||
	    !pv_lua_take(&lexer, "="))
		return false;
	value = pv_lua_next(&lexer);
	end = pv_lua_next(&lexer);
	return pv_lua_is(&value, PV_LUA_NAME, "false") && end.kind == PV_LUA_OTHER && strchr(",;}", *end.text);
}

static bool has_auto_dep_off(const struct args *args, size_t i)
{
	struct pv_lua_lexer lexer;
	size_t depth = 1;

	if (i >= args->n)
		return false;
	lexer = args->items[i].at;
	if (!pv_lua_take(&lexer, "{"))
		return false;
	if (is_auto_dep_off(lexer))
		return true;
	while (depth > 0) {
		struct pv_lua_token token = pv_lua_next(&lexer);
		bool separator = token.kind == PV_LUA_OTHER && strchr(",;", *token.text);

		if (token.kind == PV_LUA_END)
			return false;
		if (depth == 1 && separator && is_auto_dep_off(lexer))
			return true;
		depth += opens(&token);
		depth -= closes(&token);
	}
	return false;
}

/* ---- what is found ---- */

/* Takes the ownership of `text`; NULL and "" say nothing. */
static void add(struct pv_scan_texts *texts, char *text)
{
	bool known = !text || *text == '\0';

	for (size_t i = 0; !known && i < texts->n; i++)
		known = strcmp(texts->items[i], text) == 0;
	if (known) {
		free(text);
		return;
	}
	texts->items = pv_xrealloc(texts->items, (texts->n + 1) * sizeof(*texts->items));
	texts->items[texts->n++] = text;
}

/* Behind ":name" or ".name". */
static void look_at_method(struct pv_lua_lexer lexer, const struct pv_lua_token *name, bool dot,
                           struct pv_fixture_scan *out)
{
	struct args args;
	size_t first;

	if (!take_args(lexer, &args))
		return;
	first = first_arg(&args, dot);
	if (pv_lua_is(name, PV_LUA_NAME, "vm_fixture") || pv_lua_is(name, PV_LUA_NAME, "lab_fixture"))
		add(&out->fixtures, literal(&args, first));
	else if (pv_lua_is(name, PV_LUA_NAME, "depends_on_file"))
		add(&out->files, literal(&args, first));
	else if (pv_lua_is(name, PV_LUA_NAME, "push_file") && !has_auto_dep_off(&args, first + 2))
		add(&out->files, literal(&args, first));
	else if (pv_lua_is(name, PV_LUA_NAME, "vm"))
		add(&out->profiles, literal(&args, first + 1));
}

/* Behind `require`: called, or handed on, as by `pcall(require, "x")`. */
static void look_at_require(struct pv_lua_lexer lexer, struct pv_fixture_scan *out)
{
	struct args args;

	if (pv_lua_take(&lexer, ",")) {
		struct pv_lua_token token = pv_lua_next(&lexer);

		if (token.kind == PV_LUA_STRING && (pv_lua_take(&lexer, ")") || pv_lua_take(&lexer, ",")))
			add(&out->modules, pv_lua_string(&token));
	} else if (take_args(lexer, &args)) {
		add(&out->modules, literal(&args, 0));
	}
}

void pv_fixture_scan(const char *source, size_t len, struct pv_fixture_scan *out)
{
	struct pv_lua_lexer lexer = pv_lua_lexer(source, len);
	struct pv_lua_token before = { .kind = PV_LUA_END }, token;

	*out = (struct pv_fixture_scan){ .fixtures = { NULL, 0 } };
	for (token = pv_lua_next(&lexer); token.kind != PV_LUA_END; before = token, token = pv_lua_next(&lexer)) {
		bool dot = pv_lua_is(&before, PV_LUA_OTHER, "."), method = pv_lua_is(&before, PV_LUA_OTHER, ":");

		if (dot || method)
			look_at_method(lexer, &token, dot, out);
		else if (pv_lua_is(&token, PV_LUA_NAME, "require"))
			look_at_require(lexer, out);
	}
}

static void free_texts(struct pv_scan_texts *texts)
{
	for (size_t i = 0; i < texts->n; i++)
		free(texts->items[i]);
	free(texts->items);
}

void pv_fixture_scan_free(struct pv_fixture_scan *scan)
{
	free_texts(&scan->fixtures);
	free_texts(&scan->files);
	free_texts(&scan->modules);
	free_texts(&scan->profiles);
	*scan = (struct pv_fixture_scan){ .fixtures = { NULL, 0 } };
}
