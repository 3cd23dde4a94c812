/* The variables of a frame, and values as text for people. */
#include <stdlib.h>
#include <string.h>

#include "engine/script/prompt_internal.h"
#include "engine/script/script_internal.h"
#include "engine/script/shown.h"
#include "engine/script/text.h"

#define SHOWN_MAX 200 /* bytes of a value */

/* ---- variables ---- */

static bool look(const struct pv_prompt_frame *frame, lua_Debug *ar)
{
	return lua_checkstack(frame->L, 2) && lua_getstack(frame->L, frame->level, ar) != 0;
}

/* The index of the last declared local of this name; 0: none. */
static int find_local(const struct pv_prompt_frame *frame, lua_Debug *ar, const char *name)
{
	const char *found;
	int last = 0;

	for (int n = 1; (found = lua_getlocal(frame->L, ar, n)) != NULL; n++) {
		lua_pop(frame->L, 1);
		if (strcmp(found, name) == 0)
			last = n;
	}
	return last;
}

/* Pushes the function on `L`. */
static void push_function(lua_State *L, const struct pv_prompt_frame *frame, lua_Debug *ar)
{
	lua_getinfo(frame->L, "f", ar);
	lua_xmove(frame->L, L, 1);
}

/* Of the function at `idx`; 0: none. */
static int find_upvalue(lua_State *L, int idx, const char *name)
{
	const char *found;

	for (int n = 1; (found = lua_getupvalue(L, idx, n)) != NULL; n++) {
		lua_pop(L, 1);
		if (strcmp(found, name) == 0)
			return n;
	}
	return 0;
}

bool pv_prompt_get(lua_State *L, const struct pv_prompt_frame *frame, const char *name)
{
	lua_Debug ar;
	int n;

	if (!look(frame, &ar))
		return false;
	n = find_local(frame, &ar, name);
	if (n > 0) {
		lua_getlocal(frame->L, &ar, n);
		lua_xmove(frame->L, L, 1);
		return true;
	}
	push_function(L, frame, &ar);
	n = find_upvalue(L, -1, name);
	if (n > 0)
		lua_getupvalue(L, -1, n);
	lua_remove(L, n > 0 ? -2 : -1);
	return n > 0;
}

bool pv_prompt_set(lua_State *L, const struct pv_prompt_frame *frame, const char *name)
{
	lua_Debug ar;
	int n;

	if (!look(frame, &ar))
		return false;
	n = find_local(frame, &ar, name);
	if (n > 0) {
		lua_xmove(L, frame->L, 1);
		lua_setlocal(frame->L, &ar, n);
		return true;
	}
	push_function(L, frame, &ar);
	n = find_upvalue(L, -1, name);
	if (n > 0) {
		lua_insert(L, -2);
		lua_setupvalue(L, -2, n);
	}
	lua_pop(L, 1);
	return n > 0;
}

int pv_prompt_push_varargs(lua_State *L, const struct pv_prompt_frame *frame)
{
	lua_Debug ar;
	int n = 0;

	if (!look(frame, &ar))
		return 0;
	while (lua_checkstack(L, 4) && lua_getlocal(frame->L, &ar, -(n + 1)) != NULL) {
		lua_xmove(frame->L, L, 1);
		n++;
	}
	return n;
}

/* ---- text ---- */

static void add_byte(struct pv_buf *out, unsigned char byte, bool quoted)
{
	if (byte == '\n')
		pv_buf_addstr(out, quoted ? "\\n" : "\n");
	else if (byte == '\t')
		pv_buf_addstr(out, quoted ? "\\t" : "\t");
	else if (byte == '\r')
		pv_buf_addstr(out, "\\r");
	else if (quoted && (byte == '"' || byte == '\\'))
		pv_buf_addf(out, "\\%c", byte);
	else if (byte < 0x20 || byte >= 0x7f)
		pv_buf_addf(out, "\\x%02x", byte);
	else
		pv_buf_add(out, &byte, 1);
}

void pv_prompt_add_text(struct pv_buf *out, const char *bytes, size_t len, bool quoted)
{
	for (size_t at = 0; at < len;) {
		size_t n = pv_utf8_length(bytes + at, len - at);
		/* U+0080 to U+009F are control characters, too. */
		bool control = n == 2 && (unsigned char)bytes[at] == 0xc2 && (unsigned char)bytes[at + 1] < 0xa0;

		if (n > 1 && !control)
			pv_buf_add(out, bytes + at, n);
		else
			for (size_t i = 0; i < (n > 1 ? n : 1); i++)
				add_byte(out, (unsigned char)bytes[at + i], quoted);
		at += n > 1 ? n : 1;
	}
}

/* ---- values ---- */

/* Value, buffer. */
static int show(lua_State *L)
{
	struct pv_buf *out = lua_touserdata(L, 2);
	bool is_string = lua_type(L, 1) == LUA_TSTRING;
	size_t len, shown;
	const char *text;

	luaL_checkstack(L, 4, NULL);
	text = is_string ? lua_tolstring(L, 1, &len) : pv_tolstring(L, 1, &len);
	shown = len <= SHOWN_MAX ? len : SHOWN_MAX;
	/* Not in the middle of a character. */
	while (shown < len && shown > SHOWN_MAX - 4 && ((unsigned char)text[shown] & 0xc0) == 0x80)
		shown--;
	pv_buf_addstr(out, is_string ? "\"" : "");
	pv_prompt_add_text(out, text, shown, true);
	pv_buf_addstr(out, is_string ? "\"" : "");
	if (shown < len)
		pv_buf_addf(out, "... (%zu bytes)", len);
	return 0;
}

void pv_prompt_show(lua_State *L, int idx, struct pv_buf *out)
{
	idx = lua_absindex(L, idx);
	luaL_checkstack(L, 4, NULL);
	lua_pushcfunction(L, show);
	lua_pushvalue(L, idx);
	lua_pushlightuserdata(L, out);
	if (lua_pcall(L, 2, 0, 0) == LUA_OK)
		return;
	pv_buf_addf(out, "%s (that cannot be shown: ", luaL_typename(L, idx));
	if (lua_type(L, -1) == LUA_TSTRING)
		pv_prompt_add_text(out, lua_tostring(L, -1), strnlen(lua_tostring(L, -1), SHOWN_MAX), true);
	else
		pv_buf_addf(out, "its __tostring raises a %s", luaL_typename(L, -1));
	pv_buf_addstr(out, ")");
	lua_pop(L, 1);
}

/* ---- the list ---- */

struct list {
	const struct pv_prompt_frame *frame;
	struct pv_buf *out;
};

static void add_variable(lua_State *L, const char *name, const char *note, struct list *list)
{
	pv_buf_addf(list->out, "%-12s ", name);
	pv_prompt_show(L, -1, list->out);
	pv_buf_addf(list->out, "%s\n", note);
	lua_pop(L, 1);
}

/* Names in parentheses are those of the compiler. */
static void list_locals(lua_State *L, lua_Debug *ar, struct list *list)
{
	lua_State *from = list->frame->L;
	const char *name;

	for (int n = 1; (name = lua_getlocal(from, ar, n)) != NULL; n++) {
		lua_xmove(from, L, 1);
		if (*name == '(')
			lua_pop(L, 1);
		else
			add_variable(L, name, n == find_local(list->frame, ar, name) ? "" : "  (hidden by a later one)",
			             list);
	}
	for (int n = -1; lua_getlocal(from, ar, n) != NULL; n--) {
		char shown[32];

		lua_xmove(from, L, 1);
		snprintf(shown, sizeof(shown), "...[%d]", -n);
		add_variable(L, shown, "", list);
	}
}

static void list_upvalues(lua_State *L, lua_Debug *ar, struct list *list)
{
	const char *name;

	push_function(L, list->frame, ar);
	for (int n = 1; (name = lua_getupvalue(L, -1, n)) != NULL; n++) {
		if (strcmp(name, "_ENV") == 0)
			lua_pop(L, 1);
		else
			add_variable(L, name, "  (upvalue)", list);
	}
	lua_pop(L, 1);
}

static int list_all(lua_State *L)
{
	struct list *list = lua_touserdata(L, 1);
	size_t before = list->out->len;
	lua_Debug ar;

	luaL_checkstack(L, 8, NULL);
	if (look(list->frame, &ar)) {
		list_locals(L, &ar, list);
		list_upvalues(L, &ar, list);
	}
	if (list->out->len == before)
		pv_buf_addstr(list->out, "no locals and no upvalues\n");
	return 0;
}

void pv_prompt_locals(struct pv_prompt *prompt, struct pv_buf *out)
{
	struct list list = { .frame = &prompt->frames[prompt->at], .out = out };
	char *error = NULL;

	if (prompt->n_frames == 0) {
		pv_buf_addstr(out, "no Lua function is at work\n");
		return;
	}
	pv_prompt_begin(prompt);
	if (!pv_enter(prompt->script, list_all, &list, &error))
		pv_buf_addf(out, "%s\n", error);
	pv_prompt_end(prompt);
	free(error);
}
