/* An order of values that depends on neither addresses nor the seed of string hashes: positive integers, other numbers, strings bytewise,
 * booleans, then tables, functions, userdata and threads by creation. It is the order in which scripts see the keys of a table. */
#ifndef PV_SCRIPT_KEYS_H
#define PV_SCRIPT_KEYS_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pv_key {
	unsigned kind;   /* first by this */
	unsigned anchor; /* where the key lies in the table of keys; 0: it is an integer */
	uint64_t rank;   /* then by this: the number, the first 8 bytes, the serial */
	union {
		lua_Integer integer;
		lua_Number number;
		const char *text;
	};
	size_t len; /* of the text */
};

/* A snapshot of keys, in order; a userdata. */
struct pv_keys {
	lua_Integer sequence; /* the keys 1 to this come first and are not among the entries */
	lua_Integer index;    /* how far the sequence was gone through */
	size_t n;
	size_t at; /* the next entry */
	struct pv_key entries[];
};

/* The key at `idx`; its text is the value's. */
void pv_key_of(lua_State *L, int idx, struct pv_key *out);
int pv_key_compare(const struct pv_key *a, const struct pv_key *b);

/* Pushes a snapshot of the keys of the table at `idx`, or of those above `after` (not NULL). The keys 1, 2, ... that come first anyway count as
 * its sequence, unless `after` is given. */
struct pv_keys *pv_keys_push(lua_State *L, int idx, const struct pv_key *after);

/* Pushes the table in which the snapshot at `keys` keeps its keys; nil if it needs none. */
void pv_keys_push_anchors(lua_State *L, int keys);

/* Pushes the next key of the sequence, or the next entry, that has a value in `table`, and that value. False, and nothing pushed, at the end. */
bool pv_keys_step(lua_State *L, struct pv_keys *keys, int anchors, int table);

/* The same for C code that goes through a table: pv_keys_push(), then this until it is false. */
bool pv_keys_next(lua_State *L, int keys, int table);

/* The table at `idx` has no hash part: lua_next() goes through it in order. May be false for one that has none. */
bool pv_keys_are_array(lua_State *L, int idx);

/* Learns where Lua puts the memory of userdata, and what tells that a table has no hash part; once a state. */
void pv_keys_open(lua_State *L);

#endif
