#include "engine/script/undo.h"

#include <string.h>

#include "engine/script/script_internal.h"
#include "engine/script/site.h"

void pv_made_add(struct pv_buf *made, Pv__MemberKind kind, uint32_t id, uint32_t lab)
{
	struct pv_made one = { .kind = kind, .id = id, .lab = lab };

	pv_buf_add(made, &one, sizeof(one));
}

static void remove_member(lua_State *L, const struct pv_made *one)
{
	Pv__MemberRemoved removed = PV__MEMBER_REMOVED__INIT;
	Pv__Member member = PV__MEMBER__INIT;
	struct pv_proposal proposal;
	struct pv_errmsg msg;

	member.has_kind = member.has_id = 1;
	member.kind = one->kind;
	member.id = one->id;
	removed.has_lab = 1;
	removed.lab = one->lab;
	removed.member = &member;
	pv_proposal_init(&proposal, pv_script_of(L), L);
	proposal.event.body_case = PV__EVENT__BODY_MEMBER_REMOVED;
	proposal.event.member_removed = &removed;
	(void)!pv_engine_propose(pv_script_of(L)->engine, &proposal.event, &msg);
}

static void close_lab(lua_State *L, uint32_t lab)
{
	Pv__LabClosed closed = PV__LAB_CLOSED__INIT;
	struct pv_proposal proposal;
	struct pv_errmsg msg;

	closed.has_id = 1;
	closed.id = lab;
	pv_proposal_init(&proposal, pv_script_of(L), L);
	proposal.event.body_case = PV__EVENT__BODY_LAB_CLOSED;
	proposal.event.lab_closed = &closed;
	(void)!pv_engine_propose(pv_script_of(L)->engine, &proposal.event, &msg);
}

void pv_made_undo(lua_State *L, const struct pv_buf *made)
{
	for (size_t n = made->len / sizeof(struct pv_made); n > 0; n--) {
		struct pv_made one;

		memcpy(&one, made->data + (n - 1) * sizeof(one), sizeof(one));
		if (one.kind == PV__MEMBER_KIND__MEMBER_KIND_LAB)
			close_lab(L, one.id);
		else
			remove_member(L, &one);
	}
}
