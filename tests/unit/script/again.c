#include "again.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/lab/input.h"
#include "script_fixture.h"

static struct {
	Pv__ScriptInput **items;
	size_t n;
	size_t next, limit; /* while going again */
	size_t stop_at;     /* while recording */
	bool recording;
} record;

enum pv_err __real_pv_engine_input(struct pv_engine *engine, Pv__Event *event, pv_input_cb *take, void *arg,
                                   Pv__ScriptInput **out, struct pv_errmsg *msg);
enum pv_err __wrap_pv_engine_input(struct pv_engine *engine, Pv__Event *event, pv_input_cb *take, void *arg,
                                   Pv__ScriptInput **out, struct pv_errmsg *msg);
bool __wrap_pv_engine_is_again(const struct pv_engine *engine, uint32_t file);

static Pv__ScriptInput *copy(const Pv__ScriptInput *input)
{
	size_t len = pv__script_input__get_packed_size(input);
	uint8_t *bytes = pv_xmalloc(len + 1);
	Pv__ScriptInput *result;

	pv__script_input__pack(input, bytes);
	result = pv__script_input__unpack(NULL, len, bytes);
	free(bytes);
	assert_non_null(result);
	return result;
}

/* Name and arguments as bytes. */
static void pack_question(const Pv__ScriptInput *input, struct pv_buf *out)
{
	Pv__ScriptInput question = PV__SCRIPT_INPUT__INIT;

	question.name = input->name;
	question.n_args = input->n_args;
	question.args = input->args;
	pv_buf_reserve(out, pv__script_input__get_packed_size(&question));
	out->len = pv__script_input__pack(&question, out->data);
}

static void check_question(const Pv__ScriptInput *asked, const Pv__ScriptInput *recorded)
{
	struct pv_buf a = { 0 }, b = { 0 };
	bool same;

	pack_question(asked, &a);
	pack_question(recorded, &b);
	same = a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
	pv_buf_free(&a);
	pv_buf_free(&b);
	if (!same)
		fail_msg("input %zu: %s was asked, %s is recorded, or the arguments differ", record.next, asked->name,
		         recorded->name);
}

enum pv_err __wrap_pv_engine_input(struct pv_engine *engine, Pv__Event *event, pv_input_cb *take, void *arg,
                                   Pv__ScriptInput **out, struct pv_errmsg *msg)
{
	enum pv_err err;

	if (record.next < record.limit) {
		check_question(event->script_input, record.items[record.next]);
		*out = copy(record.items[record.next++]);
		return PV_OK;
	}
	if (record.recording && record.n == record.stop_at)
		return pv_err_set(msg, PV_ERR_IO, "interrupted");
	err = __real_pv_engine_input(engine, event, take, arg, out, msg);
	if (err == PV_OK && record.recording) {
		record.items = pv_xrealloc(record.items, (record.n + 1) * sizeof(Pv__ScriptInput *));
		record.items[record.n++] = copy(*out);
	}
	return err;
}

bool __wrap_pv_engine_is_again(const struct pv_engine *engine, uint32_t file)
{
	(void)engine;
	(void)file;
	return record.next < record.limit;
}

void forget_inputs(void)
{
	for (size_t i = 0; i < record.n; i++)
		pv__script_input__free_unpacked(record.items[i], NULL);
	free(record.items);
	memset(&record, 0, sizeof(record));
}

size_t input_count(void)
{
	return record.n;
}

const Pv__ScriptInput *input_at(size_t i)
{
	assert_true(i < record.n);
	return record.items[i];
}

static char *run(const char *body, bool passes)
{
	char *source = pv_xasprintf("test('it', function(t) %s\nend)", body);
	struct fixture *f = fixture_create(source);
	char *log;

	free(source);
	fixture_run_chunk(f);
	fixture_run_test(f, 0);
	if (passes && f->outcome.verdict != PASSED)
		fail_msg("%s", f->outcome.message);
	log = pv_xstrdup(pv_buf_str(&f->log));
	fixture_destroy(f);
	return log;
}

char *run_live(const char *body)
{
	char *log;

	forget_inputs();
	record.recording = true;
	record.stop_at = SIZE_MAX;
	log = run(body, true);
	record.recording = false;
	return log;
}

void run_interrupted(const char *body, size_t n)
{
	forget_inputs();
	record.recording = true;
	record.stop_at = n;
	free(run(body, false));
	record.recording = false;
	assert_int_equal(record.n, n);
}

char *run_again(const char *body, size_t n)
{
	char *log;

	assert_true(n <= record.n);
	record.next = 0;
	record.limit = n;
	log = run(body, true);
	if (record.next != n)
		fail_msg("%zu of the %zu recorded inputs were asked for", record.next, n);
	record.next = record.limit = 0;
	return log;
}

void expect_same(const char *body)
{
	char *live = run_live(body);
	char *again = run_again(body, input_count());

	assert_string_equal(again, live);
	free(live);
	free(again);
}
