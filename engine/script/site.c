#include "engine/script/site.h"

#include <string.h>

#include "engine/script/prompt_internal.h"
#include "engine/script/script_internal.h"

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), end_len = strlen(end);

	return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

static bool is_test_file(const char *source)
{
	return ends_with(source, ".test.lua") || ends_with(source, ".fixture.lua");
}

static bool find_in(lua_State *L, bool test_file, struct pv_site *out)
{
	lua_Debug ar;

	for (int level = 0; lua_getstack(L, level, &ar); level++) {
		lua_getinfo(L, "Sl", &ar);
		if (ar.currentline <= 0 || (test_file && !is_test_file(ar.source)))
			continue;
		out->source = *ar.source == '@' || *ar.source == '=' ? ar.source + 1 : "[string]";
		out->line = ar.currentline;
		return true;
	}
	return false;
}

static bool find(lua_State *L, bool test_file, struct pv_site *out)
{
	struct pv_task *task = pv_script_of(L)->running;

	if (find_in(L, test_file, out))
		return true;
	if (task == NULL)
		return false;
	for (size_t i = task->chain_len; i > 0; i--)
		if (task->chain[i - 1] != L && find_in(task->chain[i - 1], test_file, out))
			return true;
	return task->L != L && find_in(task->L, test_file, out);
}

bool pv_site_find(lua_State *L, struct pv_site *out)
{
	return find(L, false, out);
}

bool pv_site_find_test(lua_State *L, struct pv_site *out)
{
	return find(L, true, out);
}

void pv_proposal_init(struct pv_proposal *proposal, struct pv_script *script, lua_State *L)
{
	struct pv_site site;

	*proposal = (struct pv_proposal){ .event = PV__EVENT__INIT, .site = PV__SITE__INIT };
	proposal->event.has_file = 1;
	proposal->event.file = script->file;
	if (L == NULL)
		return;
	if (script->running != NULL) {
		proposal->event.has_task = 1;
		proposal->event.task = script->running->id;
	}
	if (pv_site_find(L, &site))
		pv_proposal_set_site(proposal, &site);
}

void pv_proposal_set_site(struct pv_proposal *proposal, const struct pv_site *site)
{
	proposal->site.source = (char *)site->source;
	proposal->site.has_line = 1;
	proposal->site.line = (uint32_t)site->line;
	proposal->event.site = &proposal->site;
}

void pv_propose_or_raise(lua_State *L, struct pv_proposal *proposal, const char *what)
{
	struct pv_errmsg msg;

	pv_prompt_refuse(L, what);
	if (pv_engine_propose(pv_script_of(L)->engine, &proposal->event, &msg) == PV_OK)
		return;
	pv_prompt_at_refusal(L);
	pv_raise(L, "%s: %s", what, msg.text);
}
