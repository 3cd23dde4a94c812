#include "core_generator.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IDS 200 /* how far ids are looked for */

const char *pool_name(uint32_t n)
{
	static const char *const names[NAME_POOL] = { "a", "b",       "c",   "d", "e",    "f",
		                                      "g", "__lab_3", "x#2", "h", "pack", "bad name" };

	return names[n % NAME_POOL];
}

uint64_t test_seed(uint64_t usual)
{
	const char *given = getenv("PV_TEST_SEED");
	uint64_t seed = given != NULL ? strtoull(given, NULL, 0) : usual;

	printf("seed %llu (PV_TEST_SEED)\n", (unsigned long long)seed);
	return seed != 0 ? seed : 1;
}

/* A live id near the newest ones, mostly; else any number. The state is asked only what the API tells. */
static uint32_t some_id(const struct pv_state *state, Pv__MemberKind kind, uint64_t *seed)
{
	struct pv_lab_view lab;
	struct pv_vm_view vm;
	struct pv_bridge_view bridge;

	for (int tries = 0; tries < 40; tries++) {
		uint32_t id = below(seed, 4 * IDS);

		if ((kind == LAB && pv_state_lab(state, id, &lab)) || (kind == VM && pv_state_vm(state, id, &vm)) ||
		    (kind == BRIDGE && pv_state_bridge(state, id, &bridge)))
			return id;
	}
	return below(seed, 4 * IDS);
}

static Pv__MemberKind some_kind(uint64_t *seed)
{
	return (Pv__MemberKind)(1 + below(seed, 3));
}

static uint32_t some_file(const struct pv_state *state, uint64_t *seed)
{
	struct pv_file_view view;
	uint32_t n = 0;

	while (pv_state_file(state, n + 1, &view))
		n++;
	return below(seed, 30) == 0 ? n + 1 : 1 + below(seed, n > 0 ? n : 1);
}

static Pv__Event *random_lab(const struct pv_state *state, uint64_t *seed)
{
	uint32_t file = some_file(state, seed);
	struct pv_file_view view;
	uint32_t root = 0, test = 0;
	const char *name;

	if (pv_state_file(state, file, &view)) {
		root = view.root_lab;
		test = view.test;
	}
	switch (below(seed, 5)) {
	case 0:
		return ev_lab_created(file, ROOT, 0, NULL, 0);
	case 1:
		return ev_lab_created(file, TEST, root, NULL, test);
	case 2:
		return ev_lab_created(0, SUB, some_id(state, LAB, seed), NULL, 0);
	default:
		name = pool_name(below(seed, NAME_POOL));
		return ev_lab_created(0, SUB, some_id(state, LAB, seed), name, 0);
	}
}

static Pv__Event *random_include(const struct pv_state *state, uint64_t *seed)
{
	Pv__Member list[3] = { PV__MEMBER__INIT, PV__MEMBER__INIT, PV__MEMBER__INIT };
	size_t n = below(seed, 3) == 0 ? below(seed, 4) : 1;

	for (size_t i = 0; i < n; i++) {
		list[i].kind = some_kind(seed);
		list[i].id = some_id(state, list[i].kind, seed);
	}
	return ev_members_included(some_id(state, LAB, seed), n, list);
}

static Pv__Event *random_removal(const struct pv_state *state, uint64_t *seed)
{
	uint32_t lab = some_id(state, LAB, seed);
	struct pv_lab_view view;
	Pv__MemberKind kind = some_kind(seed);

	if (pv_state_lab(state, lab, &view)) {
		if (kind == VM && view.n_vms > 0)
			return ev_member_removed(lab, VM, view.vms[below(seed, (uint32_t)view.n_vms)]);
		if (kind == BRIDGE && view.n_bridges > 0)
			return ev_member_removed(lab, BRIDGE, view.bridges[below(seed, (uint32_t)view.n_bridges)]);
		if (kind == LAB && view.n_sub_labs > 0)
			return ev_member_removed(lab, LAB, view.sub_labs[below(seed, (uint32_t)view.n_sub_labs)]);
	}
	return ev_member_removed(lab, kind, below(seed, IDS));
}

static Pv__CallStarted__OpCase some_op(uint64_t *seed)
{
	uint32_t which = below(seed, 10);

	return which < 8 ? (Pv__CallStarted__OpCase)(PV__CALL_STARTED__OP_BOOT + (int)which)
	                 : (Pv__CallStarted__OpCase)(PV__CALL_STARTED__OP_SNAPSHOT + (int)which - 8);
}

/* Which calls are open is not asked for by the API, so look into the stored form. */
static Pv__Event *random_call_end(const struct pv_state *state, uint64_t *seed)
{
	struct pv_buf bytes = bytes_of(state);
	Pv__LabState *stored = pv__lab_state__unpack(NULL, bytes.len, bytes.data);
	uint64_t id = below(seed, 1000);
	Pv__CallStarted__OpCase op = some_op(seed);

	pv_buf_free(&bytes);
	if (stored->n_calls > 0) {
		static const char *const names[] = { "boot",  "shutdown", "pause",     "resume",
			                             "reset", "run",      "read_file", "write_file" };
		const Pv__CallState *call = stored->calls[below(seed, (uint32_t)stored->n_calls)];

		id = call->id;
		for (int i = 0; i < 8; i++) {
			if (strcmp(names[i], call->op) == 0)
				op = (Pv__CallStarted__OpCase)(PV__CALL_STARTED__OP_BOOT + i);
		}
		if (strcmp(call->op, "snapshot") == 0)
			op = PV__CALL_STARTED__OP_SNAPSHOT;
		else if (strcmp(call->op, "restore") == 0)
			op = PV__CALL_STARTED__OP_RESTORE;
	}
	pv__lab_state__free_unpacked(stored, NULL);
	if (below(seed, 3) > 0)
		return ev_call_done(id, op);
	return ev_call_error(id, (Pv__ErrorKind)below(seed, 5), "broken");
}

static Pv__Event *random_task(const struct pv_state *state, uint64_t *seed)
{
	uint32_t file = some_file(state, seed);
	struct pv_file_view view;
	uint32_t test = pv_state_file(state, file, &view) ? view.test : 0;

	uint32_t kind = 1 + below(seed, 3), id = below(seed, 300);

	if (below(seed, 2) == 0)
		return ev_task_ended(id, (Pv__Verdict)kind);
	return ev_task_started(file, (Pv__TaskKind)kind, below(seed, 2) ? test : 0, 0);
}

static Pv__Event *random_test(const struct pv_state *state, uint64_t *seed)
{
	static const Pv__Verdict verdicts[] = { PV__VERDICT__VERDICT_PASSED, PV__VERDICT__VERDICT_FAILED,
		                                PV__VERDICT__VERDICT_SKIPPED, PV__VERDICT__VERDICT_FLAKY };
	uint32_t file = some_file(state, seed);
	struct pv_file_view view;

	uint32_t attempt = 1 + below(seed, 3), which = below(seed, 4);

	if (pv_state_file(state, file, &view) && view.test != 0)
		return ev_test_ended(file, view.test, verdicts[which], NULL);
	if (which == 0)
		return ev_test_ended(file, 0, PV__VERDICT__VERDICT_SKIPPED, "s");
	return ev_test_started(file, which == 1 ? "t" : "u", attempt);
}

static Pv__Event *random_file(const struct pv_state *state, uint64_t *seed)
{
	uint32_t file = some_file(state, seed);

	switch (below(seed, 12)) {
	case 0:
		return ev_file_discovered("more.lua");
	case 1:
	case 2:
	case 3:
		return ev_file_dispatched(file);
	case 4:
		return ev_file_completed(file, PV__VERDICT__VERDICT_PASSED);
	case 5:
		return ev_notice("words");
	default:
		return random_lab(state, seed);
	}
}

/* Each draw is a statement of its own: the order of evaluation of arguments is the compiler's, and a seed should give the same run
 * everywhere. */
Pv__Event *random_proposal(const struct pv_state *state, uint64_t *seed)
{
	uint32_t choice = below(seed, 24);
	uint32_t lab = some_id(state, LAB, seed);
	uint32_t vm = some_id(state, VM, seed);
	const char *name = pool_name(below(seed, NAME_POOL));
	uint32_t ten = below(seed, 10);

	switch (choice) {
	case 0:
		return random_file(state, seed);
	case 1:
		return random_test(state, seed);
	case 2:
	case 3:
		return random_task(state, seed);
	case 4:
	case 5:
	case 6:
		return random_lab(state, seed);
	case 7:
		return ev_lab_closed(lab);
	case 8:
	case 9:
	case 10:
		return random_include(state, seed);
	case 11:
	case 12:
		return random_removal(state, seed);
	case 13:
	case 14:
	case 15:
		return ev_vm_declared(lab, name, ten == 0 ? "other" : "tiny");
	case 16:
		return ev_bridge_declared(lab, name);
	case 17:
	case 18:
	case 19:
		return ev_call_started(vm, some_op(seed), 0);
	case 20:
		return ev_vm_changed(vm, (Pv__VmChange)(ten % 6), "why");
	default:
		return random_call_end(state, seed);
	}
}
