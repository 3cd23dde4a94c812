/* The lab graph through Lua against a model: seeded random operations in a file and in the scopes of its tests. After each step the
 * answer, the members of a lab and a lookup are compared; afterwards the journal is folded again and must give the bytes of the live
 * state at random points and at the end. PV_SEED repeats one seed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/replay/fold.h"
#include "journal/journal.h"
#include "lab_model.h"
#include "script_fixture.h"

#define SEEDS      4
#define TESTS      16
#define STEPS      160 /* a test, and the chunk */
#define POINTS_MAX 512

static const char prelude[] =
    "local H, known = {}, {}\n"
    "local function S(n, fn, want, handle)\n"
    "  local ok, r = pcall(fn)\n"
    "  if want then\n"
    "    if ok then error(n .. ': passed, but wanted: ' .. want, 0) end\n"
    "    if not tostring(r):find(want, 1, true) then error(n .. ': wanted ' .. want .. ', got ' .. tostring(r), 0) end\n"
    "    return\n"
    "  end\n"
    "  if not ok then error(n .. ': ' .. tostring(r), 0) end\n"
    "  if handle == nil then if r ~= nil then error(n .. ': wanted nothing', 0) end return end\n"
    "  if H[handle] == nil then\n"
    "    if known[r] then error(n .. ': object ' .. known[r] .. ' instead of a new one', 0) end\n"
    "    H[handle], known[r] = r, handle\n"
    "  end\n"
    "  if H[handle] ~= r then error(n .. ': another object than ' .. handle, 0) end\n"
    "end\n"
    "local function M(n, lab, want)\n"
    "  local a, b = {}, {}\n"
    "  for _, m in ipairs(lab:members()) do a[#a + 1] = m.kind .. ':' .. m.name end\n"
    "  for _, x in ipairs(lab:vm_names()) do b[#b + 1] = 'vm:' .. x end\n"
    "  for _, x in ipairs(lab:bridge_names()) do b[#b + 1] = 'bridge:' .. x end\n"
    "  for _, x in ipairs(lab:sub_lab_names()) do b[#b + 1] = 'sub_lab:' .. x end\n"
    "  a, b = table.concat(a, ' '), table.concat(b, ' ')\n"
    "  if a ~= want or b ~= want then error(n .. ': members\\n' .. a .. '\\n' .. b .. '\\nwanted\\n' .. want, 0) end\n"
    "end\n";

/* ---- the generator ---- */

struct generator {
	struct model model;
	struct pv_buf lua;
	uint64_t seed;
	int step;
	unsigned n_refused;
};

static unsigned below(struct generator *g, unsigned limit)
{
	g->seed ^= g->seed >> 12;
	g->seed ^= g->seed << 25;
	g->seed ^= g->seed >> 27;
	return (unsigned)((g->seed * UINT64_C(0x2545F4914F6CDD1D)) >> 33) % limit;
}

static const char *a_name(struct generator *g)
{
	static const char *const names[] = { "a", "b", "c", "d", "e", "f", "g-1", "h.2", "i", "j", "k", "l" };
	unsigned n = below(g, 40);

	return n == 0 ? "pack" : n == 1 ? "lab_fixture" : names[below(g, sizeof(names) / sizeof(names[0]))];
}

/* One that Lua has a handle of: no scope. Mostly alive; NO_OBJECT if there is none. */
static int an_object(struct generator *g, bool lab_only)
{
	int dead = NO_OBJECT;

	for (int attempt = 0; attempt < 60; attempt++) {
		int at = (int)below(g, (unsigned)g->model.n);
		const struct object *object = &g->model.objects[at];

		if (object->is_scope || (lab_only && object->kind != LAB))
			continue;
		if (object->alive)
			return at;
		dead = at;
		if (below(g, 20) == 0)
			return dead;
	}
	return dead;
}

static int a_lab(struct generator *g)
{
	int lab = below(g, 3) > 0 ? an_object(g, true) : NO_OBJECT;

	return lab == NO_OBJECT ? g->model.scope : lab;
}

static void put_object(struct generator *g, int object)
{
	if (g->model.objects[object].is_scope)
		pv_buf_addstr(&g->lua, "provium");
	else
		pv_buf_addf(&g->lua, "H[%d]", object);
}

static void begin(struct generator *g, int lab)
{
	pv_buf_addf(&g->lua, "S(%d, function() return ", ++g->step);
	put_object(g, lab);
}

static void finish_step(struct generator *g, struct answer answer)
{
	pv_buf_addstr(&g->lua, " end, ");
	if (answer.error != NULL) {
		pv_buf_addf(&g->lua, "'%s')\n", answer.error);
		g->n_refused++;
	} else if (answer.object != NO_OBJECT) {
		pv_buf_addf(&g->lua, "nil, %d)\n", answer.object);
	} else {
		pv_buf_addstr(&g->lua, "nil)\n");
	}
}

static void put_include(struct generator *g, int lab)
{
	int objects[4], n = below(g, 2) == 0 ? 1 : 1 + (int)below(g, 4);
	bool array = n > 1 || below(g, 4) == 0;

	for (int i = 0; i < n; i++) {
		objects[i] = an_object(g, below(g, 4) == 0);
		if (objects[i] == NO_OBJECT)
			objects[i] = an_object(g, false);
		if (objects[i] == NO_OBJECT)
			return;
	}
	begin(g, lab);
	pv_buf_addstr(&g->lua, array ? ":include({" : ":include(");
	for (int i = 0; i < n; i++) {
		pv_buf_addstr(&g->lua, i > 0 ? ", " : "");
		put_object(g, objects[i]);
	}
	pv_buf_addstr(&g->lua, array ? "})" : ")");
	finish_step(g, model_include(&g->model, lab, objects, n));
}

static void put_remove(struct generator *g, int lab)
{
	const struct object *holder = &g->model.objects[lab];
	enum kind kind = (enum kind)below(g, KINDS);
	int object = holder->n_members[kind] > 0 && below(g, 3) > 0
	                 ? holder->members[kind][below(g, (unsigned)holder->n_members[kind])]
	                 : an_object(g, false);
	const char *name = a_name(g);

	begin(g, lab);
	if (object == NO_OBJECT || below(g, 2) == 0) {
		pv_buf_addf(&g->lua, ":remove('%s')", name);
		finish_step(g, model_remove_name(&g->model, lab, name));
		return;
	}
	pv_buf_addstr(&g->lua, ":remove(");
	put_object(g, object);
	pv_buf_addstr(&g->lua, ")");
	finish_step(g, model_remove(&g->model, lab, object));
}

static void put_lab(struct generator *g, int lab)
{
	char made_up[24];
	const char *name = a_name(g);

	if (below(g, 12) == 0) {
		snprintf(made_up, sizeof(made_up), "__lab_%d", g->model.next_anonymous + (int)below(g, 3));
		name = made_up;
	}
	begin(g, lab);
	if (below(g, 3) == 0) {
		pv_buf_addstr(&g->lua, ":lab()");
		name = NULL;
	} else {
		pv_buf_addf(&g->lua, ":lab('%s')", name);
	}
	finish_step(g, model_make_lab(&g->model, lab, name));
}

static void put_vm(struct generator *g, int lab)
{
	const char *name = a_name(g);
	bool known = below(g, 12) > 0;

	begin(g, lab);
	pv_buf_addf(&g->lua, ":vm('%s', '%s')", name, known ? "default" : "nope");
	finish_step(g, model_make_vm(&g->model, lab, name, known));
}

static void put_lookup(struct generator *g, int lab)
{
	const char *name = a_name(g);

	begin(g, lab);
	if (below(g, 3) == 0) {
		pv_buf_addf(&g->lua, ":vm('%s')", name);
		finish_step(g, model_find_vm(&g->model, lab, name));
		return;
	}
	if (strcmp(name, "pack") == 0 || strcmp(name, "lab_fixture") == 0)
		name = "a"; /* a function of the lab */
	pv_buf_addf(&g->lua, "['%s']", name);
	finish_step(g, model_dot(&g->model, lab, name));
}

static void put_members(struct generator *g, int lab)
{
	static const char *const kinds[KINDS] = { "vm", "bridge", "sub_lab" };
	const struct object *holder = &g->model.objects[lab];
	const char *separator = "";

	if (!holder->alive)
		return;
	pv_buf_addf(&g->lua, "M(%d, ", g->step);
	put_object(g, lab);
	pv_buf_addstr(&g->lua, ", '");
	for (int kind = 0; kind < KINDS; kind++) {
		for (int i = 0; i < holder->n_members[kind]; i++) {
			pv_buf_addf(&g->lua, "%s%s:%s", separator, kinds[kind],
			            g->model.objects[holder->members[kind][i]].name);
			separator = " ";
		}
	}
	pv_buf_addstr(&g->lua, "')\n");
}

static void put_step(struct generator *g)
{
	static void (*const operations[])(struct generator * g, int lab) = { put_vm,      put_vm,      put_lab,
		                                                             put_include, put_include, put_remove,
		                                                             put_remove };
	unsigned n = below(g, 8);
	int lab = a_lab(g);
	const char *name = a_name(g);

	if (n < 7) {
		operations[n](g, lab);
	} else {
		begin(g, lab);
		pv_buf_addf(&g->lua, ":bridge('%s')", name);
		finish_step(g, model_bridge(&g->model, lab, name));
	}
	put_members(g, lab);
	put_lookup(g, a_lab(g));
	put_lookup(g, lab);
}

static void generate(struct generator *g, uint64_t seed)
{
	*g = (struct generator){ .seed = seed * UINT64_C(0x9E3779B97F4A7C15) + 1 };
	model_init(&g->model);
	pv_buf_addstr(&g->lua, prelude);
	for (int test = 0; test <= TESTS; test++) {
		if (test > 0) {
			model_open_scope(&g->model);
			pv_buf_addf(&g->lua, "test('%d', function()\n", test);
		}
		for (int i = 0; i < STEPS; i++)
			put_step(g);
		if (test == 0)
			continue;
		pv_buf_addstr(&g->lua, "end)\n");
		model_close_scope(&g->model);
	}
}

/* ---- the run ---- */

struct point {
	uint64_t seq;
	struct pv_buf bytes;
};

struct points {
	struct fixture *f;
	struct pv_engine_listener listener;
	struct generator *g;
	struct point at[POINTS_MAX + 1]; /* the last one: the end */
	size_t n, compared;
};

static void on_event(void *arg, uint64_t seq, const Pv__Event *event)
{
	struct points *points = arg;

	(void)event;
	if (points->n == POINTS_MAX || below(points->g, 40) > 0)
		return;
	points->at[points->n].seq = seq;
	pv_state_serialise(pv_engine_state(points->f->engine), &points->at[points->n].bytes);
	points->n++;
}

static void compare(struct points *points, uint64_t seq, const struct pv_state *state)
{
	const struct point *point = &points->at[points->compared];
	struct pv_buf bytes = { 0 };

	if (points->compared == points->n || point->seq != seq)
		return;
	pv_state_serialise(state, &bytes);
	if (bytes.len != point->bytes.len || memcmp(bytes.data, point->bytes.data, bytes.len) != 0)
		fail_msg("the fold differs from the live state after event %llu", (unsigned long long)seq);
	pv_buf_free(&bytes);
	points->compared++;
}

static bool on_fold(void *arg, uint64_t seq, const Pv__Event *event, const struct pv_state *before)
{
	(void)event;
	compare(arg, seq - 1, before);
	return true;
}

static void refold(struct points *points)
{
	struct pv_journal *journal = points->f->journal;
	struct pv_state *state = pv_state_create();
	struct pv_errmsg msg = { .text = "" };

	assert_int_equal(pv_journal_commit(journal, &msg), PV_OK);
	points->at[points->n].seq = pv_journal_last_seq(journal);
	pv_state_serialise(pv_engine_state(points->f->engine), &points->at[points->n++].bytes);
	if (pv_fold_walk(journal, 0, state, on_fold, points, NULL, &msg) != PV_OK)
		fail_msg("the journal does not fold: %s", msg.text);
	compare(points, pv_journal_last_seq(journal), state);
	assert_int_equal(points->compared, points->n);
	pv_state_destroy(state);
	for (size_t i = 0; i < points->n; i++)
		pv_buf_free(&points->at[i].bytes);
}

static void run_seed(uint64_t seed)
{
	struct generator g;
	struct points *points = PV_NEW(struct points);
	struct fixture *f;

	generate(&g, seed);
	f = fixture_create(pv_buf_str(&g.lua));
	points->f = f;
	points->g = &g;
	points->listener = (struct pv_engine_listener){ .event = on_event, .arg = points };
	pv_engine_listen(f->engine, &points->listener);
	fixture_start_chunk(f);
	fixture_finish(f);
	for (size_t i = 0; f->outcome.verdict == PASSED && i < TESTS; i++) {
		fixture_run_test(f, i);
		pv_state_check(pv_engine_state(f->engine));
	}
	if (f->outcome.verdict != PASSED)
		fail_msg("PV_SEED=%llu: %s", (unsigned long long)seed, f->outcome.message);
	printf("seed %llu: %d steps, %u refused, %d objects, folded again at %zu points\n", (unsigned long long)seed,
	       g.step, g.n_refused, g.model.n, points->n + 1);
	refold(points);
	pv_engine_unlisten(f->engine, &points->listener);
	fixture_destroy(f);
	free(points);
	model_free(&g.model);
	pv_buf_free(&g.lua);
}

static void test_lab__equals_the_model(void **state)
{
	const char *only = getenv("PV_SEED");

	(void)state;
	if (only != NULL) {
		run_seed(strtoull(only, NULL, 10));
		return;
	}
	for (uint64_t seed = 1; seed <= SEEDS; seed++)
		run_seed(seed);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_lab__equals_the_model) };

	return cmocka_run_group_tests_name("script lab property", tests, NULL, NULL);
}
