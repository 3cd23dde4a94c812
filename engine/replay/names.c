#include "engine/replay/names.h"

/* The path of a sub-lab with a slash behind it; nothing for other labs. Parents have no cycles: the state machine refuses them. */
static void path(const struct pv_state *state, uint32_t id, struct pv_buf *out)
{
	struct pv_lab_view lab;

	if (!pv_state_lab(state, id, &lab) || lab.kind != PV__LAB_KIND__LAB_KIND_SUB)
		return;
	path(state, lab.parent, out);
	pv_buf_addf(out, "%s/", lab.name ? lab.name : "?");
}

void pv_name_in(const struct pv_state *state, uint32_t lab, const char *name, struct pv_buf *out)
{
	path(state, lab, out);
	pv_buf_addstr(out, name ? name : "");
}

void pv_name_lab(const struct pv_state *state, uint32_t id, struct pv_buf *out)
{
	struct pv_lab_view lab;

	if (!pv_state_lab(state, id, &lab))
		return;
	if (lab.kind != PV__LAB_KIND__LAB_KIND_SUB || !lab.name)
		pv_buf_addstr(out, "provium");
	else
		pv_name_in(state, lab.parent, lab.name, out);
}

void pv_name_vm(const struct pv_state *state, uint32_t id, struct pv_buf *out)
{
	struct pv_vm_view vm;

	if (pv_state_vm(state, id, &vm))
		pv_name_in(state, vm.home, vm.name, out);
}

void pv_name_bridge(const struct pv_state *state, uint32_t id, struct pv_buf *out)
{
	struct pv_bridge_view bridge;

	if (pv_state_bridge(state, id, &bridge))
		pv_name_in(state, bridge.home, bridge.name, out);
}

uint32_t pv_name_scope(const struct pv_state *state, uint32_t lab)
{
	struct pv_lab_view view;

	while (lab != 0 && pv_state_lab(state, lab, &view)) {
		if (view.kind == PV__LAB_KIND__LAB_KIND_TEST)
			return lab;
		lab = view.kind == PV__LAB_KIND__LAB_KIND_SUB ? view.parent : 0;
	}
	return 0;
}
