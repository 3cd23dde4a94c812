#include "engine/run/scan.h"

#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/core/units.h"
#include "proto/mem.h"

/* ---- the lexer ---- */

enum token_kind { TOKEN_END, TOKEN_NAME, TOKEN_NUMBER, TOKEN_STRING, TOKEN_OTHER };

struct token {
	enum token_kind kind;
	const char *text; /* of a string: what is between the quotes */
	size_t len;
	bool plain; /* a string without escapes */
};

struct lexer {
	const char *at;
	const char *end;
};

/* The number of '=' in an opening long bracket at `at`, or -1. */
static int long_bracket(const struct lexer *lexer, const char *at)
{
	int level = 0;

	if (at >= lexer->end || *at != '[')
		return -1;
	for (at++; at < lexer->end && *at == '='; at++)
		level++;
	return at < lexer->end && *at == '[' ? level : -1;
}

/* At an opening long bracket: takes it with its end. */
static struct token take_long(struct lexer *lexer, int level)
{
	const char *start = lexer->at + level + 2;

	for (const char *at = start; at < lexer->end; at++) {
		const char *close = at + 1;

		if (*at != ']')
			continue;
		while (close < lexer->end && *close == '=')
			close++;
		if (close - at - 1 == level && close < lexer->end && *close == ']') {
			lexer->at = close + 1;
			return (struct token){ TOKEN_STRING, start, (size_t)(at - start), true };
		}
	}
	lexer->at = lexer->end;
	return (struct token){ .kind = TOKEN_END };
}

static struct token take_quoted(struct lexer *lexer)
{
	const char quote = *lexer->at++;
	struct token token = { TOKEN_STRING, lexer->at, 0, true };

	while (lexer->at < lexer->end && *lexer->at != quote && *lexer->at != '\n') {
		if (*lexer->at == '\\') {
			token.plain = false;
			lexer->at++;
		}
		if (lexer->at < lexer->end)
			lexer->at++;
	}
	token.len = (size_t)(lexer->at - token.text);
	if (lexer->at < lexer->end)
		lexer->at++;
	return token;
}

static bool is_word(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

static struct token take_word(struct lexer *lexer)
{
	struct token token = { TOKEN_NAME, lexer->at, 0, true };

	if (isdigit((unsigned char)*lexer->at))
		token.kind = TOKEN_NUMBER;
	while (lexer->at < lexer->end && (is_word(*lexer->at) || (token.kind == TOKEN_NUMBER && *lexer->at == '.')))
		lexer->at++;
	token.len = (size_t)(lexer->at - token.text);
	return token;
}

/* Blanks and comments. */
static void skip(struct lexer *lexer)
{
	while (lexer->at < lexer->end) {
		if (isspace((unsigned char)*lexer->at)) {
			lexer->at++;
		} else if (lexer->end - lexer->at >= 2 && memcmp(lexer->at, "--", 2) == 0) {
			int level = long_bracket(lexer, lexer->at + 2);

			lexer->at += 2;
			if (level >= 0)
				(void)take_long(lexer, level);
			else
				while (lexer->at < lexer->end && *lexer->at != '\n')
					lexer->at++;
		} else {
			return;
		}
	}
}

static struct token next(struct lexer *lexer)
{
	int level;

	skip(lexer);
	if (lexer->at >= lexer->end)
		return (struct token){ .kind = TOKEN_END };
	level = long_bracket(lexer, lexer->at);
	if (level >= 0)
		return take_long(lexer, level);
	if (*lexer->at == '"' || *lexer->at == '\'')
		return take_quoted(lexer);
	if (is_word(*lexer->at))
		return take_word(lexer);
	return (struct token){ TOKEN_OTHER, lexer->at++, 1, true };
}

static struct token peek(const struct lexer *lexer)
{
	struct lexer copy = *lexer;

	return next(&copy);
}

static bool is(const struct token *token, enum token_kind kind, const char *text)
{
	return token->kind == kind && token->len == strlen(text) && memcmp(token->text, text, token->len) == 0;
}

static bool take(struct lexer *lexer, const char *symbol)
{
	struct token token = peek(lexer);

	if (!is(&token, TOKEN_OTHER, symbol))
		return false;
	(void)next(lexer);
	return true;
}

/* ---- blocks ---- */

/* One letter a block that is open: f of a function, b of another. `while` and `for` open theirs with `do`. */
static void follow_blocks(struct pv_buf *open, size_t *functions, const struct token *token)
{
	bool function = is(token, TOKEN_NAME, "function");

	if (function || is(token, TOKEN_NAME, "do") || is(token, TOKEN_NAME, "if") || is(token, TOKEN_NAME, "repeat")) {
		pv_buf_add(open, function ? "f" : "b", 1);
		*functions += function;
	} else if ((is(token, TOKEN_NAME, "end") || is(token, TOKEN_NAME, "until")) && open->len > 0) {
		open->len--;
		*functions -= open->data[open->len] == 'f';
	}
}

/* ---- the claim ---- */

static bool number_of(const struct token *token, uint64_t *value)
{
	char text[32], *end;

	if (token->kind != TOKEN_NUMBER || token->len >= sizeof(text))
		return false;
	memcpy(text, token->text, token->len);
	text[token->len] = '\0';
	errno = 0;
	*value = strtoull(text, &end, text[0] == '0' && (text[1] | 0x20) == 'x' ? 16 : 10);
	return *end == '\0' && errno == 0;
}

static bool size_of(const struct token *token, uint64_t *bytes)
{
	char text[32];

	if (token->kind == TOKEN_NUMBER)
		return number_of(token, bytes);
	if (token->kind != TOKEN_STRING || !token->plain || token->len >= sizeof(text))
		return false;
	memcpy(text, token->text, token->len);
	text[token->len] = '\0';
	return pv_parse_size(text, bytes, NULL) == PV_OK;
}

/* `memory`, `["memory"]`; the '=' behind it too. */
static bool take_key(struct lexer *lexer, struct token *key)
{
	bool bracket = take(lexer, "[");

	*key = next(lexer);
	if (key->kind != (bracket ? TOKEN_STRING : TOKEN_NAME))
		return false;
	key->kind = TOKEN_NAME;
	return (!bracket || take(lexer, "]")) && take(lexer, "=");
}

/* Behind "{". False if anything in it is no literal. */
static bool take_amount(struct lexer *lexer, struct pv_amount *amount)
{
	*amount = (struct pv_amount){ 0 };
	while (!take(lexer, "}")) {
		struct token key, value;
		uint64_t cpus;

		if (!take_key(lexer, &key))
			return false;
		value = next(lexer);
		if (is(&key, TOKEN_NAME, "memory")) {
			if (!size_of(&value, &amount->memory_bytes))
				return false;
		} else if (is(&key, TOKEN_NAME, "cpus") && number_of(&value, &cpus) && cpus <= UINT32_MAX) {
			amount->cpus = (uint32_t)cpus;
		} else {
			return false;
		}
		if (!take(lexer, ",") && !take(lexer, ";")) {
			struct token last = peek(lexer);
			if (!is(&last, TOKEN_OTHER, "}"))
				return false;
		}
	}
	return true;
}

/* Behind ":claim" or ".claim"; the lexer stays. */
static void look_at_claim(struct lexer lexer, struct pv_scan *out)
{
	bool paren = take(&lexer, "(");
	struct pv_amount amount;

	if (!take(&lexer, "{") || !take_amount(&lexer, &amount) || (paren && !take(&lexer, ")")))
		return;
	out->has_claim = true;
	out->claim = amount;
}

/* ---- fixtures ---- */

static void add_fixture(struct pv_scan *out, const struct token *name)
{
	for (size_t i = 0; i < out->n_fixtures; i++) {
		if (strlen(out->fixtures[i]) == name->len && memcmp(out->fixtures[i], name->text, name->len) == 0)
			return;
	}
	out->fixtures = pv_xrealloc(out->fixtures, (out->n_fixtures + 1) * sizeof(*out->fixtures));
	out->fixtures[out->n_fixtures++] = pv_xasprintf("%.*s", (int)name->len, name->text);
}

/* Behind "vm_fixture"; in the dot form the lab comes first. */
static void look_at_fixture(struct lexer lexer, struct pv_scan *out)
{
	bool paren = take(&lexer, "(");
	struct token name = next(&lexer);

	if (paren && name.kind == TOKEN_NAME && take(&lexer, ","))
		name = next(&lexer);
	if (name.kind != TOKEN_STRING || !name.plain || name.len == 0 || memchr(name.text, '\0', name.len) ||
	    (paren && !take(&lexer, ")")))
		return;
	add_fixture(out, &name);
}

/* ---- the whole ---- */

void pv_scan_source(const char *source, size_t len, struct pv_scan *out)
{
	struct lexer lexer = { source, source + len };
	struct token before = { .kind = TOKEN_END }, token;
	struct pv_buf open = { .data = NULL };
	size_t functions = 0;

	*out = (struct pv_scan){ 0 };
	if (len > 0 && source[0] == '#') /* as Lua skips it */
		while (lexer.at < lexer.end && *lexer.at != '\n')
			lexer.at++;
	for (token = next(&lexer); token.kind != TOKEN_END; before = token, token = next(&lexer)) {
		bool method = is(&before, TOKEN_OTHER, ":") || is(&before, TOKEN_OTHER, ".");

		if (!method)
			follow_blocks(&open, &functions, &token);
		else if (!out->has_claim && functions == 0 && is(&before, TOKEN_OTHER, ":") &&
		         is(&token, TOKEN_NAME, "claim"))
			look_at_claim(lexer, out);
		else if (is(&token, TOKEN_NAME, "vm_fixture") || is(&token, TOKEN_NAME, "lab_fixture"))
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
