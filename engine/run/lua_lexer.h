/* A lexer of Lua source for what is read without being executed. It takes any text: of what Lua would not compile it makes some tokens too. */
#ifndef PV_RUN_LUA_LEXER_H
#define PV_RUN_LUA_LEXER_H

#include <stdbool.h>
#include <stddef.h>

enum pv_lua_token_kind { PV_LUA_END, PV_LUA_NAME, PV_LUA_NUMBER, PV_LUA_STRING, PV_LUA_OTHER };

struct pv_lua_token {
	enum pv_lua_token_kind kind; /* keywords are names; of operators each character is one */
	const char *text;            /* of a string: what is between the quotes */
	size_t len;
	bool plain;  /* a string without escapes */
	bool quoted; /* a string in quotes, not in long brackets */
};

/* Copying one keeps its place. */
struct pv_lua_lexer {
	const char *at;
	const char *end;
};

/* Behind the first line if that begins with '#', as Lua skips it. */
struct pv_lua_lexer pv_lua_lexer(const char *source, size_t len);

struct pv_lua_token pv_lua_next(struct pv_lua_lexer *lexer);
struct pv_lua_token pv_lua_peek(const struct pv_lua_lexer *lexer);

bool pv_lua_is(const struct pv_lua_token *token, enum pv_lua_token_kind kind, const char *text);
/* Takes the next token if it is this one-character symbol. */
bool pv_lua_take(struct pv_lua_lexer *lexer, const char *symbol);

/* The text that a string token means, which the caller frees; NULL if its escapes are wrong, or it has a NUL in it. */
char *pv_lua_string(const struct pv_lua_token *token);

#endif
