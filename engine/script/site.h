/* Where in the Lua source something happens, and events that carry it. */
#ifndef PV_SCRIPT_SITE_H
#define PV_SCRIPT_SITE_H

#include <lua.h>
#include <stdbool.h>

#include "proto/err.h"
#include "proto/journal.pb-c.h"

struct pv_script;

struct pv_site {
	const char *source; /* shown path of the file; belongs to the running function */
	int line;
};

/* The nearest Lua frame: in `L`, else in the coroutines that resumed it. False if there is none. */
bool pv_site_find(lua_State *L, struct pv_site *out);

/* The nearest frame of a *.test.lua or *.fixture.lua file. */
bool pv_site_find_test(lua_State *L, struct pv_site *out);

/* A proposal with file, task and site filled in; the caller sets the body. It must not move: event.site points into it. */
struct pv_proposal {
	Pv__Event event;
	Pv__Site site;
};

/* `L` NULL: the proposal comes from the scheduler and has neither task nor site. */
void pv_proposal_init(struct pv_proposal *proposal, struct pv_script *script, lua_State *L);

/* Another site than that of the Lua frame. */
void pv_proposal_set_site(struct pv_proposal *proposal, const struct pv_site *site);

/* Proposes; raises "<what>: <reason>" if it is refused. */
void pv_propose_or_raise(lua_State *L, struct pv_proposal *proposal, const char *what);

#endif
