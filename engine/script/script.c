#include "engine/script/script.h"

#include <lualib.h>
#include <stdlib.h>
#include <string.h>

#include "engine/script/builder.h"
#include "engine/script/host_file.h"
#include "engine/script/reset.h"
#include "engine/script/script_internal.h"
#include "engine/script/site.h"
#include "engine/script/source.h"
#include "engine/script/test_ctx.h"
#include "engine/script/tests.h"
#include "engine/script/timer.h"
#include "engine/script/unsettled.h"
#include "proto/mem.h"

static int on_panic(lua_State *L)
{
	PV_BUG("a Lua error outside of protected calls: %s", lua_tostring(L, -1));
}

/* Warnings of Lua (errors in finalizers, warn()) become notices, whole lines. */
static void on_warning(void *ud, const char *text, int to_be_continued)
{
	struct pv_script *script = ud;

	if (!to_be_continued && *text == '@')
		return; /* a control message */
	if (!script->closing)
		pv_engine_notice(script->engine, "%s: %s%s", script->shown_path, text, to_be_continued ? " ..." : "");
}

/* ---- creation ---- */

static void set_package_path(lua_State *L, const char *const *roots)
{
	luaL_Buffer path;

	lua_getglobal(L, LUA_LOADLIBNAME);
	luaL_buffinit(L, &path);
	for (size_t i = 0; roots != NULL && roots[i] != NULL; i++) {
		luaL_addstring(&path, roots[i]);
		luaL_addstring(&path, "/?.lua;");
		luaL_addstring(&path, roots[i]);
		luaL_addstring(&path, "/?/init.lua;");
	}
	luaL_pushresult(&path);
	lua_getfield(L, -2, "path");
	lua_concat(L, 2);
	lua_setfield(L, -2, "path");
	lua_pop(L, 1);
}

static int open_all(lua_State *L)
{
	static void (*const open[])(lua_State * L) = {
		pv_open_base,       pv_open_buf,     pv_open_handles,    pv_open_protected, pv_open_coroutine,
		pv_open_wait,       pv_open_call,    pv_open_co,         pv_open_json,      pv_open_wait_until,
		pv_open_test_ctx,   pv_open_test,    pv_open_vm,         pv_open_bridge,    pv_open_lab,
		pv_open_run_result, pv_open_process, pv_open_stream,     pv_open_console,   pv_open_worker,
		pv_open_claim,      pv_open_barrier, pv_open_background, pv_open_intake,    pv_open_os,
		pv_open_load,       pv_open_pairs,   pv_open_shown,      pv_open_sort,      pv_open_iofile,
		pv_open_command,    pv_open_io,      pv_open_snapshot,   pv_open_nic,       pv_open_disk,
	};
	const struct pv_script_config *config = lua_touserdata(L, 1);

	for (size_t i = 0; i < sizeof(open) / sizeof(open[0]); i++)
		open[i](L);
	if (config->builder != NULL)
		pv_open_builder(L);
	set_package_path(L, config->roots);
	pv_open_random(L, config->seed);
	return 0;
}

struct pv_script *pv_script_create(const struct pv_script_config *config)
{
	struct pv_script *script = PV_NEW(struct pv_script);
	char *error = NULL;

	script->engine = config->engine;
	script->output_to_stderr = config->output_to_stderr;
	script->builds = config->builder != NULL;
	if (script->builds)
		script->builder = *config->builder;
	script->failed = config->failed;
	script->failed_arg = config->failed_arg;
	script->file = config->file;
	script->root_lab = script->scope_lab = config->root_lab;
	script->path = pv_xstrdup(config->path);
	script->shown_path = pv_xstrdup(config->shown_path);
	if (config->source != NULL) {
		script->source = pv_xmemdup(config->source, config->source_len);
		script->source_len = config->source_len;
	}
	script->memory.max = PV_SCRIPT_MEMORY_MAX;
	script->turn = (struct pv_deferred){ .run = pv_script_turn, .arg = script };
	TAILQ_INIT(&script->ready);
	TAILQ_INIT(&script->live);
	TAILQ_INIT(&script->barrier_waits);
	TAILQ_INIT(&script->kept_errors);
	script->tests = pv_test_list_create();
	script->L = lua_newstate(pv_lua_alloc, &script->memory);
	if (script->L == NULL)
		PV_BUG("out of memory");
	memcpy(lua_getextraspace(script->L), &(uintptr_t){ (uintptr_t)script }, sizeof(uintptr_t));
	lua_atpanic(script->L, on_panic);
	lua_setwarnf(script->L, on_warning, script);
	lua_sethook(script->L, pv_hook, LUA_MASKCOUNT, PV_HOOK_COUNT);
	if (!pv_enter(script, open_all, (void *)config, &error))
		PV_BUG("the Lua libraries could not be opened: %s", error);
	return script;
}

void pv_script_destroy(struct pv_script *script)
{
	if (script == NULL)
		return;
	PV_ASSERT(!script->unit.active && TAILQ_EMPTY(&script->live));
	pv_engine_undefer(script->engine, &script->turn);
	script->closing = true;
	lua_close(script->L);
	pv_test_list_destroy(script->tests);
	pv_baseline_destroy(script->baseline);
	pv_unsettled_destroy(script);
	free(script->path);
	free(script->shown_path);
	free(script->source);
	free(script->prompt_source);
	free(script->built);
	free(script);
}

void pv_script_fail_alloc(struct pv_script *script, size_t n, size_t times)
{
	script->memory.fail_in = n;
	script->memory.n_fail = times;
}

/* ---- the main chunk ---- */

struct source {
	const char *text;
	size_t len;
	struct pv_task *task;
};

static int load_chunk(lua_State *L)
{
	struct source *source = lua_touserdata(L, 1);
	const struct pv_script *script = pv_script_of(L);

	lua_pushfstring(L, "@%s", script->shown_path);
	/* Looked at here, as Lua's own refusal does not name the file. */
	if (source->len > 0 && *source->text == *LUA_SIGNATURE)
		return luaL_error(L, "%s: holds compiled Lua; source is needed", script->shown_path);
	if (luaL_loadbufferx(L, source->text, source->len, lua_tostring(L, -1), "t") != LUA_OK)
		return lua_error(L);
	if (script->builds)
		pv_builder_wrap_chunk(L);
	source->task = pv_task_push(L, PV__TASK_KIND__TASK_KIND_CHUNK, 0, NULL);
	return 0;
}

void pv_script_start_chunk(struct pv_script *script, pv_script_done_cb *done, void *arg)
{
	struct pv_buf text = { 0 };
	struct source source = { .text = script->source, .len = script->source_len };
	struct pv_errmsg msg;
	char *error = NULL;
	int trouble = script->source != NULL ? 0 : pv_read_file(script->path, &text, NULL);

	if (script->source == NULL) {
		source.text = pv_buf_str(&text);
		source.len = text.len;
	}
	if (script->failed != NULL && trouble == 0)
		script->prompt_source = pv_xasprintf("%.*s", (int)source.len, source.text);
	pv_source_skip_preamble(&source.text, &source.len);
	if (trouble != 0) {
		pv_err_sys(&msg, PV_ERR_IO, trouble, "%s", script->shown_path);
		error = pv_xstrdup(msg.text);
	} else if (!pv_enter(script, load_chunk, &source, &error)) {
		source.task = NULL;
	}
	pv_buf_free(&text);
	free(script->source);
	script->source = NULL;
	pv_unit_start(script, false, 0, source.task, 0, done, arg);
	if (error != NULL)
		pv_unit_fail(script, error, strlen(error));
	free(error);
}

/* ---- waiting ---- */

bool pv_script_only_waits(const struct pv_script *script)
{
	const struct pv_task *task;

	if (!TAILQ_EMPTY(&script->ready))
		return false;
	TAILQ_FOREACH (task, &script->live, live_link) {
		if (task->wait == NULL || task->wait->done || pv_wait_is_timer(task->wait))
			return false;
	}
	return !TAILQ_EMPTY(&script->live);
}

/* ---- tests ---- */

struct start {
	size_t index;
	struct pv_task *task;
};

static int push_body(lua_State *L)
{
	struct start *start = lua_touserdata(L, 1);
	struct pv_site site;
	bool known = pv_test_site(pv_script_of(L), start->index, &site);

	pv_test_push_body(L, start->index);
	pv_test_ctx_push(L, start->index);
	start->task = pv_task_push(L, PV__TASK_KIND__TASK_KIND_TEST, 1, known ? &site : NULL);
	return 0;
}

void pv_script_start_test(struct pv_script *script, size_t index, uint32_t test, uint32_t lab, pv_script_done_cb *done,
                          void *arg)
{
	struct start start = { .index = index };
	struct pv_script_test about;
	char *error = NULL;

	PV_ASSERT(!script->unit.active);
	pv_script_test(script, index, &about);
	script->scope_lab = lab;
	/* The event of the new task names the test. */
	script->unit.test = test;
	if (!pv_enter(script, push_body, &start, &error))
		start.task = NULL;
	pv_unit_start(script, true, test, start.task, about.timeout_ns, done, arg);
	if (error != NULL)
		pv_unit_fail(script, error, strlen(error));
	free(error);
}

void pv_script_cancel(struct pv_script *script, Pv__Verdict verdict, const char *reason)
{
	struct pv_unit *unit = &script->unit;

	if (!unit->active || unit->forced != PV__VERDICT__VERDICT_UNSPECIFIED)
		return;
	unit->forced = verdict;
	unit->forced_reason = pv_xstrdup(reason);
	pv_unit_cancel_tasks(script);
	pv_engine_defer(script->engine, &script->turn);
}
