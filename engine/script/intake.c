#include "engine/script/intake.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "engine/lab/input.h"
#include "engine/script/prompt_internal.h"
#include "engine/script/script_internal.h"
#include "engine/script/site.h"
#include "engine/script/text.h"

#define BOX_TYPE "provium.intake"

struct pv_intake {
	Pv__Value **values;
	size_t n;
	size_t cap;
	struct pv_buf data;
	bool has_data;
};

/* On the stack while an input is taken, so that nothing leaks whatever is raised. */
struct box {
	struct pv_intake in;
	Pv__ScriptInput *out;
	Pv__Value *args[PV_INTAKE_ARGS_MAX];
	size_t n_args;
};

/* ---- values ---- */

static Pv__Value *new_value(Pv__Value__KindCase kind)
{
	Pv__Value *value = pv_xmalloc(sizeof(*value));

	pv__value__init(value);
	value->kind_case = kind;
	return value;
}

static Pv__Value *integer_value(lua_Integer number)
{
	Pv__Value *value = new_value(PV__VALUE__KIND_INTEGER);

	value->integer = number;
	return value;
}

static Pv__Value *string_value(const char *bytes, size_t len)
{
	Pv__Value *value;

	if (memchr(bytes, '\0', len) == NULL && pv_utf8_valid(bytes, len)) {
		value = new_value(PV__VALUE__KIND_TEXT);
		value->text = pv_xmalloc(len + 1);
		memcpy(value->text, bytes, len);
		value->text[len] = '\0';
		return value;
	}
	value = new_value(PV__VALUE__KIND_BYTES);
	value->bytes.data = pv_xmemdup(bytes, len);
	value->bytes.len = len;
	return value;
}

static Pv__Value *map_value(size_t n)
{
	Pv__Value *value = new_value(PV__VALUE__KIND_MAP);

	value->map = pv_xmalloc(sizeof(*value->map));
	pv__value_map__init(value->map);
	value->map->entries = pv_xcalloc(n, sizeof(*value->map->entries));
	return value;
}

static void add_entry(Pv__Value *map, const char *key, Pv__Value *value)
{
	Pv__ValueEntry *entry = pv_xmalloc(sizeof(*entry));

	pv__value_entry__init(entry);
	entry->key = pv_xstrdup(key);
	entry->value = value;
	map->map->entries[map->map->n_entries++] = entry;
}

static Pv__Value *hashed_value(const char *bytes, size_t len)
{
	Pv__Value *map = map_value(2);
	unsigned char hash[EVP_MAX_MD_SIZE];
	unsigned hash_len = 0;
	Pv__Value *value = new_value(PV__VALUE__KIND_BYTES);

	if (EVP_Digest(bytes, len, hash, &hash_len, EVP_sha256(), NULL) != 1)
		PV_BUG("SHA-256 is not available in libcrypto");
	value->bytes.data = pv_xmemdup(hash, hash_len);
	value->bytes.len = hash_len;
	add_entry(map, "bytes", integer_value((lua_Integer)len));
	add_entry(map, "sha256", value);
	return map;
}

/* ---- results ---- */

static void add(struct pv_intake *in, Pv__Value *value)
{
	if (in->n == in->cap) {
		in->cap = in->cap == 0 ? 4 : in->cap * 2;
		in->values = pv_xrealloc(in->values, in->cap * sizeof(Pv__Value *));
	}
	in->values[in->n++] = value;
}

void pv_intake_nil(struct pv_intake *in)
{
	Pv__Value *value = new_value(PV__VALUE__KIND_NULL);

	value->null = 1;
	add(in, value);
}

void pv_intake_boolean(struct pv_intake *in, bool boolean)
{
	Pv__Value *value = new_value(PV__VALUE__KIND_BOOLEAN);

	value->boolean = boolean;
	add(in, value);
}

void pv_intake_integer(struct pv_intake *in, lua_Integer number)
{
	add(in, integer_value(number));
}

void pv_intake_number(struct pv_intake *in, lua_Number number)
{
	Pv__Value *value = new_value(PV__VALUE__KIND_NUMBER);

	value->number = number;
	add(in, value);
}

void pv_intake_string(struct pv_intake *in, const char *bytes, size_t len)
{
	Pv__Value *map;

	if (len <= PV_INTAKE_INLINE_MAX) {
		add(in, string_value(bytes, len));
		return;
	}
	map = map_value(1);
	add_entry(map, "data", integer_value((lua_Integer)len));
	add(in, map);
	pv_buf_add(&in->data, bytes, len);
	in->has_data = true;
}

void pv_intake_cut(struct pv_intake *in, size_t n)
{
	while (in->n > n) {
		Pv__Value *value = in->values[--in->n];

		if (value->kind_case == PV__VALUE__KIND_MAP)
			in->data.len -= (size_t)value->map->entries[0]->value->integer;
		pv__value__free_unpacked(value, NULL);
	}
}

void pv_intake_failed(struct pv_intake *in, const char *path, int error)
{
	char *text = path != NULL ? pv_xasprintf("%s: %s", path, strerror(error)) : pv_xstrdup(strerror(error));

	pv_intake_nil(in);
	pv_intake_string(in, text, strlen(text));
	pv_intake_integer(in, error);
	free(text);
}

void pv_intake_done(struct pv_intake *in, bool ok, const char *path, int error)
{
	if (ok)
		pv_intake_boolean(in, true);
	else
		pv_intake_failed(in, path, error);
}

/* ---- taking ---- */

static int collect(lua_State *L)
{
	struct box *box = lua_touserdata(L, 1);

	pv_intake_cut(&box->in, 0);
	free(box->in.values);
	pv_buf_free(&box->in.data);
	if (box->out != NULL)
		pv__script_input__free_unpacked(box->out, NULL);
	for (size_t i = 0; i < box->n_args; i++)
		pv__value__free_unpacked(box->args[i], NULL);
	*box = (struct box){ .n_args = 0 };
	return 0;
}

/* Nothing here raises. */
static Pv__Value *arg_value(lua_State *L, int idx)
{
	Pv__Value *value;
	const char *bytes;
	size_t len;

	switch (lua_type(L, idx)) {
	case LUA_TNIL:
		value = new_value(PV__VALUE__KIND_NULL);
		value->null = 1;
		return value;
	case LUA_TBOOLEAN:
		value = new_value(PV__VALUE__KIND_BOOLEAN);
		value->boolean = lua_toboolean(L, idx);
		return value;
	case LUA_TNUMBER:
		if (lua_isinteger(L, idx))
			return integer_value(lua_tointeger(L, idx));
		value = new_value(PV__VALUE__KIND_NUMBER);
		value->number = lua_tonumber(L, idx);
		return value;
	case LUA_TSTRING:
		bytes = lua_tolstring(L, idx, &len);
		return len <= PV_INTAKE_INLINE_MAX ? string_value(bytes, len) : hashed_value(bytes, len);
	default:
		bytes = luaL_typename(L, idx);
		return string_value(bytes, strlen(bytes));
	}
}

struct taking {
	struct box *box;
	pv_intake_fn *take;
	void *arg;
	Pv__Payload data;
};

static void take(void *arg, Pv__ScriptInput *input)
{
	struct taking *taking = arg;
	struct pv_intake *in = &taking->box->in;

	taking->take(taking->arg, in);
	input->n_results = in->n;
	input->results = in->values;
	if (in->has_data) {
		pv__payload__init(&taking->data);
		taking->data.kind_case = PV__PAYLOAD__KIND_DATA;
		taking->data.data.data = in->data.data;
		taking->data.data.len = in->data.len;
		input->data = &taking->data;
	}
}

static void record(lua_State *L, const char *name, struct taking *taking)
{
	struct box *box = taking->box;
	struct pv_script *script = pv_script_of(L);
	Pv__ScriptInput input = PV__SCRIPT_INPUT__INIT;
	struct pv_proposal proposal;
	struct pv_errmsg msg;

	input.name = (char *)name;
	input.n_args = box->n_args;
	input.args = box->args;
	pv_proposal_init(&proposal, script, L);
	proposal.event.body_case = PV__EVENT__BODY_SCRIPT_INPUT;
	proposal.event.script_input = &input;
	if (pv_engine_input(script->engine, &proposal.event, take, taking, &box->out, &msg) == PV_OK)
		return;
	pv_prompt_at_refusal(L);
	pv_raise(L, "%s: %s", name, msg.text);
}

/* `data`: the rest of the bytes; moved on behind what the value takes of them. */
static void push_value(lua_State *L, const Pv__Value *value, const char *name, ProtobufCBinaryData *data)
{
	int64_t len;

	switch (value->kind_case) {
	case PV__VALUE__KIND_BOOLEAN:
		lua_pushboolean(L, value->boolean);
		break;
	case PV__VALUE__KIND_INTEGER:
		lua_pushinteger(L, value->integer);
		break;
	case PV__VALUE__KIND_NUMBER:
		lua_pushnumber(L, value->number);
		break;
	case PV__VALUE__KIND_TEXT:
		lua_pushstring(L, value->text);
		break;
	case PV__VALUE__KIND_BYTES:
		lua_pushlstring(L, (const char *)value->bytes.data, value->bytes.len);
		break;
	case PV__VALUE__KIND_MAP:
		len = value->map->n_entries == 1 && value->map->entries[0]->value != NULL
		          ? value->map->entries[0]->value->integer
		          : -1;
		if (len < 0 || (uint64_t)len > data->len)
			pv_raise(L, "%s: the recorded input does not hold what it says", name);
		lua_pushlstring(L, (const char *)data->data, (size_t)len);
		data->data += len;
		data->len -= (size_t)len;
		break;
	default:
		lua_pushnil(L);
		break;
	}
}

static int push_results(lua_State *L, const char *name, Pv__Value **values, size_t n, ProtobufCBinaryData data)
{
	luaL_checkstack(L, (int)n + 4, name);
	for (size_t i = 0; i < n; i++)
		push_value(L, values[i], name, &data);
	return (int)n;
}

int pv_intake(lua_State *L, const char *name, int first, pv_intake_fn *fn, void *arg)
{
	int n_args = lua_gettop(L) - first + 1, n;
	struct taking taking = { .take = fn, .arg = arg };
	ProtobufCBinaryData data = { 0 };
	struct box *box;
	int at;

	pv_prompt_refuse(L, name);
	luaL_checkstack(L, 6, name);
	box = lua_newuserdatauv(L, sizeof(*box), 0);
	at = lua_gettop(L);
	*box = (struct box){ .n_args = 0 };
	luaL_setmetatable(L, BOX_TYPE);
	taking.box = box;
	if (pv_script_of(L)->closing) {
		if (pv_engine_retrace_at(pv_script_of(L)->engine, pv_script_of(L)->file) == PV_RETRACE_LIVE)
			fn(arg, &box->in);
		data.data = box->in.data.data;
		data.len = box->in.data.len;
		n = push_results(L, name, box->in.values, box->in.n, data);
	} else {
		for (int i = 0; i < n_args && i < PV_INTAKE_ARGS_MAX; i++)
			box->args[box->n_args++] = arg_value(L, first + i);
		record(L, name, &taking);
		if (box->out->data != NULL && box->out->data->kind_case == PV__PAYLOAD__KIND_DATA)
			data = box->out->data->data;
		n = push_results(L, name, box->out->results, box->out->n_results, data);
	}
	lua_pushcfunction(L, collect);
	lua_pushvalue(L, at);
	lua_call(L, 1, 0);
	lua_remove(L, at);
	return n;
}

bool pv_is_again(lua_State *L)
{
	const struct pv_script *script = pv_script_of(L);

	return pv_engine_is_again(script->engine, script->file);
}

void pv_open_intake(lua_State *L)
{
	luaL_newmetatable(L, BOX_TYPE);
	lua_pushcfunction(L, collect);
	lua_setfield(L, -2, "__gc");
	lua_pop(L, 1);
}
