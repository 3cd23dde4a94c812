#include "fake_script.h"

#include <stdlib.h>
#include <string.h>

#include "engine/script/script.h"
#include "proto/mem.h"

const struct fake_file *fake_files;
void (*fake_hanging)(void);
int fake_scripts_alive;
unsigned fake_resets;

struct pv_script {
	struct pv_engine *engine;
	const struct fake_file *file;
	bool running;
	pv_script_done_cb *done;
	void *arg;
	Pv__Verdict verdict;
	char *message;
	struct pv_deferred finish;
	Pv__Value metas[6], tags[6];
	Pv__ValueMap maps[6];
	Pv__ValueEntry entries[6], *entry_pointers[6];
};

static void finish(void *arg)
{
	struct pv_script *script = arg;
	char *message = script->message;

	script->running = false;
	script->message = NULL;
	script->done(script->arg, script->verdict, message);
	free(message);
}

static void end_with(struct pv_script *script, Pv__Verdict verdict, const char *message)
{
	script->verdict = verdict;
	free(script->message);
	script->message = message ? pv_xstrdup(message) : NULL;
	pv_engine_defer(script->engine, &script->finish);
}

struct pv_script *pv_script_create(const struct pv_script_config *config)
{
	struct pv_script *script = PV_NEW(struct pv_script);

	script->engine = config->engine;
	script->finish = (struct pv_deferred){ .run = finish, .arg = script };
	const char *slash = strrchr(config->path, '/');
	const char *name = slash ? slash + 1 : config->path;
	for (script->file = fake_files; strcmp(script->file->path, name) != 0; script->file++)
		PV_ASSERT(script->file[1].path != NULL);
	fake_scripts_alive++;
	return script;
}

static void begin(struct pv_script *script, pv_script_done_cb *done, void *arg)
{
	PV_ASSERT(!script->running);
	script->running = true;
	script->done = done;
	script->arg = arg;
}

void pv_script_start_chunk(struct pv_script *script, pv_script_done_cb *done, void *arg)
{
	const char *error = script->file->chunk_error;

	begin(script, done, arg);
	if (script->file->chunk_hangs && fake_hanging)
		fake_hanging();
	if (!script->file->chunk_hangs)
		end_with(script, error ? PV__VERDICT__VERDICT_FAILED : PV__VERDICT__VERDICT_PASSED, error);
}

bool pv_script_resets(const struct pv_script *script)
{
	return script->file->resets;
}

static void end_at_once(struct pv_script *script, const char *error, pv_script_done_cb *done, void *arg)
{
	begin(script, done, arg);
	end_with(script, error ? PV__VERDICT__VERDICT_FAILED : PV__VERDICT__VERDICT_PASSED, error);
}

void pv_script_start_baseline(struct pv_script *script, pv_script_done_cb *done, void *arg)
{
	fake_resets = 0;
	end_at_once(script, script->file->baseline_error, done, arg);
}

void pv_script_start_reset(struct pv_script *script, pv_script_done_cb *done, void *arg)
{
	fake_resets++;
	end_at_once(script, script->file->reset_error, done, arg);
}

void pv_script_remove_snapshots(struct pv_script *script)
{
	PV_ASSERT(!script->running);
}

size_t pv_script_test_count(const struct pv_script *script)
{
	size_t n = 0;

	while (script->file->tests[n].name)
		n++;
	return n;
}

void pv_script_test(const struct pv_script *script, size_t index, struct pv_script_test *out)
{
	const struct fake_test *test = &script->file->tests[index];
	struct pv_script *s = (struct pv_script *)script;

	pv__value__init(&s->metas[index]);
	pv__value__init(&s->tags[index]);
	pv__value_map__init(&s->maps[index]);
	pv__value_entry__init(&s->entries[index]);
	s->metas[index].kind_case = PV__VALUE__KIND_MAP;
	s->metas[index].map = &s->maps[index];
	if (test->tag) {
		s->tags[index].kind_case = PV__VALUE__KIND_TEXT;
		s->tags[index].text = (char *)test->tag;
		s->entries[index].key = (char *)"tags";
		s->entries[index].value = &s->tags[index];
		s->entry_pointers[index] = &s->entries[index];
		s->maps[index].n_entries = 1;
		s->maps[index].entries = &s->entry_pointers[index];
	}
	*out =
	    (struct pv_script_test){ .name = test->name, .meta = &s->metas[index], .skip_reason = test->skip_reason };
}

void pv_script_start_test(struct pv_script *script, size_t index, uint32_t test, uint32_t lab, pv_script_done_cb *done,
                          void *arg)
{
	const struct fake_test *fake = &script->file->tests[index];
	struct pv_lab_view view;

	/* The contract: the scope and the test exist before the body begins. */
	PV_ASSERT(pv_state_lab(pv_engine_state(script->engine), lab, &view));
	PV_ASSERT(view.kind == PV__LAB_KIND__LAB_KIND_TEST && test != 0);
	begin(script, done, arg);
	if (fake->hangs && fake_hanging)
		fake_hanging();
	if (!fake->hangs)
		end_with(script, fake->verdict, fake->message);
}

void pv_script_cancel(struct pv_script *script, Pv__Verdict verdict, const char *reason)
{
	if (script->running)
		end_with(script, verdict, reason);
}

void pv_script_prompt(struct pv_script *script, uint32_t task, const char *message)
{
	(void)script;
	(void)task;
	(void)message;
}

const char *pv_script_built(const struct pv_script *script)
{
	(void)script;
	return NULL;
}

bool pv_script_only_waits(const struct pv_script *script)
{
	return script->running && !script->finish.queued;
}

void pv_script_destroy(struct pv_script *script)
{
	if (!script)
		return;
	PV_ASSERT(!script->running);
	fake_scripts_alive--;
	free(script);
}
