#include "engine/run/scan.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/core/units.h"
#include "engine/run/lua_lexer.h"
#include "proto/mem.h"

/* ---- blocks ---- */

/* One letter a block that is open: f of a function, b of another. `while` and `for` open theirs with `do`. */
static void follow_blocks(struct pv_buf *open, size_t *functions, const struct pv_lua_token *token)
{
	bool function = pv_lua_is(token, PV_LUA_NAME, "function");

	if (function || pv_lua_is(token, PV_LUA_NAME, "do") || pv_lua_is(token, PV_LUA_NAME, "if") ||
	    pv_lua_is(token, PV_LUA_NAME, "repeat")) {
		pv_buf_add(open, function ? "f" : "b", 1);
		*functions += function;
	} else if ((pv_lua_is(token, PV_LUA_NAME, "end") || pv_lua_is(token, PV_LUA_NAME, "until")) && open->len > 0) {
		open->len--;
		*functions -= open->data[open->len] == 'f';
	}
}

/* ---- the claim ---- */

static bool number_of(const struct pv_lua_token *token, uint64_t *value)
{
	char text[32], *end;

	if (token->kind != PV_LUA_NUMBER || token->len >= sizeof(text))
		return false;
	memcpy(text, token->text, token->len);
	text[token->len] = '\0';
	errno = 0;
	*value = strtoull(text, &end, text[0] == '0' && (text[1] | 0x20) == 'x' ? 16 : 10);
	return *end == '\0' && errno == 0;
}

static bool size_of(const struct pv_lua_token *token, uint64_t *bytes)
{
	char text[32];

	if (token->kind == PV_LUA_NUMBER)
		return number_of(token, bytes);
	if (token->kind != PV_LUA_STRING || !token->plain || token->len >= sizeof(text))
		return false;
	memcpy(text, token->text, token->len);
	text[token->len] = '\0';
	return pv_parse_size(text, bytes, NULL) == PV_OK;
}

/* `memory`, `["memory"]`; the '=' behind it too. */
static bool take_key(struct pv_lua_lexer *lexer, struct pv_lua_token *key)
{
	bool bracket = pv_lua_take(lexer, "[");

	*key = pv_lua_next(lexer);
	if (key->kind != (bracket ? PV_LUA_STRING : PV_LUA_NAME))
		return false;
	key->kind = PV_LUA_NAME;
	return (!bracket || pv_lua_take(lexer, "]")) && pv_lua_take(lexer, "=");
}

/* Behind "{". False if anything in it is no literal. */
static bool take_amount(struct pv_lua_lexer *lexer, struct pv_amount *amount)
{
	*amount = (struct pv_amount){ 0 };
	while (!pv_lua_take(lexer, "}")) {
		struct pv_lua_token key, value;
		uint64_t cpus;

		if (!take_key(lexer, &key))
			return false;
		value = pv_lua_next(lexer);
		if (pv_lua_is(&key, PV_LUA_NAME, "memory")) {
			if (!size_of(&value, &amount->memory_bytes))
				return false;
		} else if (pv_lua_is(&key, PV_LUA_NAME, "cpus") && number_of(&value, &cpus) && cpus <= UINT32_MAX) {
			amount->cpus = (uint32_t)cpus;
		} else {
			return false;
		}
		if (!pv_lua_take(lexer, ",") && !pv_lua_take(lexer, ";")) {
			struct pv_lua_token last = pv_lua_peek(lexer);
			if (!pv_lua_is(&last, PV_LUA_OTHER, "}"))
				return false;
		}
	}
	return true;
}

/* Behind ":claim" or ".claim"; the lexer stays. */
static void look_at_claim(struct pv_lua_lexer lexer, struct pv_scan *out)
{
	bool paren = pv_lua_take(&lexer, "(");
	struct pv_amount amount;

	if (!pv_lua_take(&lexer, "{") || !take_amount(&lexer, &amount) || (paren && !pv_lua_take(&lexer, ")")))
		return;
	out->has_claim = true;
	out->claim = amount;
}

/* ---- fixtures ---- */

static void add_fixture(struct pv_scan *out, const struct pv_lua_token *name)
{
	for (size_t i = 0; i < out->n_fixtures; i++) {
		if (strlen(out->fixtures[i]) == name->len && memcmp(out->fixtures[i], name->text, name->len) == 0)
			return;
	}
	out->fixtures = pv_xrealloc(out->fixtures, (out->n_fixtures + 1) * sizeof(*out->fixtures));
	out->fixtures[out->n_fixtures++] = pv_xasprintf("%.*s", (int)name->len, name->text);
}

/* Behind "vm_fixture"; in the dot form the lab comes first. */
static void look_at_fixture(struct pv_lua_lexer lexer, struct pv_scan *out)
{
	bool paren = pv_lua_take(&lexer, "(");
	struct pv_lua_token name = pv_lua_next(&lexer);

	if (paren && name.kind == PV_LUA_NAME && pv_lua_take(&lexer, ","))
		name = pv_lua_next(&lexer);
	if (name.kind != PV_LUA_STRING || !name.plain || name.len == 0 || memchr(name.text, '\0', name.len) ||
	    (paren && !pv_lua_take(&lexer, ")")))
		return;
	add_fixture(out, &name);
}

/* ---- the whole ---- */

void pv_scan_source(const char *source, size_t len, struct pv_scan *out)
{
	struct pv_lua_lexer lexer = pv_lua_lexer(source, len);
	struct pv_lua_token before = { .kind = PV_LUA_END }, token;
	struct pv_buf open = { .data = NULL };
	size_t functions = 0;

	*out = (struct pv_scan){ 0 };
	for (token = pv_lua_next(&lexer); token.kind != PV_LUA_END; before = token, token = pv_lua_next(&lexer)) {
		bool method = pv_lua_is(&before, PV_LUA_OTHER, ":") || pv_lua_is(&before, PV_LUA_OTHER, ".");

		if (!method)
			follow_blocks(&open, &functions, &token);
		else if (!out->has_claim && functions == 0 && pv_lua_is(&before, PV_LUA_OTHER, ":") &&
		         pv_lua_is(&token, PV_LUA_NAME, "claim"))
			look_at_claim(lexer, out);
		else if (pv_lua_is(&token, PV_LUA_NAME, "vm_fixture") || pv_lua_is(&token, PV_LUA_NAME, "lab_fixture"))
			look_at_fixture(lexer, out);
	}
	pv_buf_free(&open);
}

void pv_scan_file(const char *path, struct pv_scan *out)
{
	struct pv_buf source = { .data = NULL };
	FILE *file = fopen(path, "re");
	char block[16384];
	size_t n;

	*out = (struct pv_scan){ 0 };
	if (!file)
		return;
	while ((n = fread(block, 1, sizeof(block), file)) > 0)
		pv_buf_add(&source, block, n);
	if (!ferror(file))
		pv_scan_source(source.data ? (const char *)source.data : "", source.len, out);
	fclose(file);
	pv_buf_free(&source);
}

void pv_scan_free(struct pv_scan *scan)
{
	for (size_t i = 0; i < scan->n_fixtures; i++)
		free(scan->fixtures[i]);
	free(scan->fixtures);
	*scan = (struct pv_scan){ 0 };
}
