#include "engine/run/lua_lexer.h"

#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/mem.h"

struct pv_lua_lexer pv_lua_lexer(const char *source, size_t len)
{
	struct pv_lua_lexer lexer = { source, source + len };

	if (len > 0 && source[0] == '#')
		while (lexer.at < lexer.end && *lexer.at != '\n')
			lexer.at++;
	return lexer;
}

/* ---- tokens ---- */

/* The number of '=' in an opening long bracket at `at`, or -1. */
static int long_bracket(const struct pv_lua_lexer *lexer, const char *at)
{
	int level = 0;

	if (at >= lexer->end || *at != '[')
		return -1;
	for (at++; at < lexer->end && *at == '='; at++)
		level++;
	return at < lexer->end && *at == '[' ? level : -1;
}

/* At an opening long bracket: takes it with its end. */
static struct pv_lua_token take_long(struct pv_lua_lexer *lexer, int level)
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
			return (struct pv_lua_token){ PV_LUA_STRING, start, (size_t)(at - start), true, false };
		}
	}
	lexer->at = lexer->end;
	return (struct pv_lua_token){ .kind = PV_LUA_END };
}

static struct pv_lua_token take_quoted(struct pv_lua_lexer *lexer)
{
	const char quote = *lexer->at++;
	struct pv_lua_token token = { PV_LUA_STRING, lexer->at, 0, true, true };

	while (lexer->at < lexer->end && *lexer->at != quote && *lexer->at != '\n') {
		bool escape = *lexer->at == '\\';

		lexer->at += escape;
		token.plain &= !escape;
		if (escape && lexer->at < lexer->end && *lexer->at == 'z') /* blanks behind it, line ends too */
			while (++lexer->at < lexer->end && isspace((unsigned char)*lexer->at))
				;
		else if (lexer->at < lexer->end)
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

static struct pv_lua_token take_word(struct pv_lua_lexer *lexer)
{
	struct pv_lua_token token = { PV_LUA_NAME, lexer->at, 0, true, false };

	if (isdigit((unsigned char)*lexer->at))
		token.kind = PV_LUA_NUMBER;
	while (lexer->at < lexer->end && (is_word(*lexer->at) || (token.kind == PV_LUA_NUMBER && *lexer->at == '.')))
		lexer->at++;
	token.len = (size_t)(lexer->at - token.text);
	return token;
}

/* Blanks and comments. */
static void skip(struct pv_lua_lexer *lexer)
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

struct pv_lua_token pv_lua_next(struct pv_lua_lexer *lexer)
{
	int level;

	skip(lexer);
	if (lexer->at >= lexer->end)
		return (struct pv_lua_token){ .kind = PV_LUA_END };
	level = long_bracket(lexer, lexer->at);
	if (level >= 0)
		return take_long(lexer, level);
	if (*lexer->at == '"' || *lexer->at == '\'')
		return take_quoted(lexer);
	if (is_word(*lexer->at))
		return take_word(lexer);
	return (struct pv_lua_token){ PV_LUA_OTHER, lexer->at++, 1, true, false };
}

struct pv_lua_token pv_lua_peek(const struct pv_lua_lexer *lexer)
{
	struct pv_lua_lexer copy = *lexer;

	return pv_lua_next(&copy);
}

bool pv_lua_is(const struct pv_lua_token *token, enum pv_lua_token_kind kind, const char *text)
{
	return token->kind == kind && token->len == strlen(text) && memcmp(token->text, text, token->len) == 0;
}

bool pv_lua_take(struct pv_lua_lexer *lexer, const char *symbol)
{
	struct pv_lua_token token = pv_lua_peek(lexer);

	if (!pv_lua_is(&token, PV_LUA_OTHER, symbol))
		return false;
	(void)pv_lua_next(lexer);
	return true;
}

/* ---- what a string means ---- */

static int hex_digit(char c)
{
	if (isdigit((unsigned char)c))
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* At most `most` digits of base 10 or 16, moving *at on; how many. */
static size_t take_digits(const char **at, const char *end, unsigned base, size_t most, uint32_t *value)
{
	size_t n = 0;

	for (*value = 0; n < most && *at < end; n++, (*at)++) {
		int digit = hex_digit(**at);

		if (digit < 0 || (unsigned)digit >= base)
			break;
		*value = *value * base + (uint32_t)digit;
	}
	return n;
}

static void add_byte(struct pv_buf *out, uint32_t byte)
{
	uint8_t one = (uint8_t)byte;

	pv_buf_add(out, &one, 1);
}

/* Lua takes values up to 2^31 and writes up to six bytes. */
static void add_utf8(struct pv_buf *out, uint32_t value)
{
	unsigned more = value < 0x80        ? 0
	                : value < 0x800     ? 1
	                : value < 0x10000   ? 2
	                : value < 0x200000  ? 3
	                : value < 0x4000000 ? 4
	                                    : 5;

	if (more == 0) {
		add_byte(out, value);
		return;
	}
	add_byte(out, (0xffu << (7 - more) & 0xff) | value >> (6 * more));
	while (more-- > 0)
		add_byte(out, 0x80 | (value >> (6 * more) & 0x3f));
}

/* Behind "\\u". */
static bool add_unicode(const char **at, const char *end, struct pv_buf *out)
{
	uint32_t value;
	size_t n;

	if (*at == end || *(*at)++ != '{')
		return false;
	n = take_digits(at, end, 16, 8, &value);
	if (n == 0 || value > 0x7fffffff || *at == end || *(*at)++ != '}')
		return false;
	add_utf8(out, value);
	return true;
}

/* Behind a backslash. */
static bool add_escape(const char **at, const char *end, struct pv_buf *out)
{
	static const char from[] = "abfnrtv\\\"'\n", to[] = "\a\b\f\n\r\t\v\\\"'\n";
	const char *simple;
	uint32_t value;
	char c;

	if (*at == end)
		return false;
	c = **at;
	if (isdigit((unsigned char)c)) {
		take_digits(at, end, 10, 3, &value);
		if (value > 255)
			return false;
		add_byte(out, value);
		return true;
	}
	(*at)++;
	simple = c ? strchr(from, c) : NULL;
	if (simple) {
		add_byte(out, (uint8_t)to[simple - from]);
		return true;
	}
	switch (c) {
	case 'x':
		if (take_digits(at, end, 16, 2, &value) != 2)
			return false;
		add_byte(out, value);
		return true;
	case 'u':
		return add_unicode(at, end, out);
	case 'z':
		while (*at < end && isspace((unsigned char)**at))
			(*at)++;
		return true;
	default:
		return false;
	}
}

char *pv_lua_string(const struct pv_lua_token *token)
{
	const char *at = token->text, *end = at + token->len;
	struct pv_buf out = { .data = NULL };
	bool good = token->kind == PV_LUA_STRING;

	if (good && !token->quoted && at < end && *at == '\n') /* the first line end of a long string is none of it */
		at++;
	while (good && at < end) {
		char c = *at++;

		if (token->quoted && c == '\\')
			good = add_escape(&at, end, &out);
		else
			add_byte(&out, (uint8_t)c);
	}
	good = good && (out.len == 0 || !memchr(out.data, '\0', out.len));
	if (!good) {
		pv_buf_free(&out);
		return NULL;
	}
	if (out.len == 0)
		return pv_xstrdup("");
	return pv_buf_steal(&out);
}
