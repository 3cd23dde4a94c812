#include "tools/provium/recorded_flags.h"

#include <stdlib.h>

#include "proto/mem.h"
#include "tools/provium/verb.h"

static Pv__Event *first_event(struct pv_journal *journal, struct pv_errmsg *msg)
{
	struct pv_journal_cursor *cursor;
	struct pv_record record;
	Pv__Event *event = NULL;

	if (pv_journal_cursor_open(journal, 1, &cursor, msg) != PV_OK)
		return NULL;
	if (pv_journal_cursor_next(cursor, &record, msg) == PV_OK) {
		event = record.seq > 0 ? pv_record_decode(&record) : NULL;
		if (!event || event->body_case != PV__EVENT__BODY_RUN_STARTED) {
			if (event)
				pv__event__free_unpacked(event, NULL);
			event = NULL;
			(void)pv_err_set(msg, PV_ERR_CORRUPT, "the journal does not begin with the start of a run");
		}
	}
	pv_journal_cursor_close(cursor);
	return event;
}

bool pv_recorded_flags_load(struct pv_journal *journal, struct pv_recorded_flags *out)
{
	struct pv_errmsg msg = { .text = "" };

	*out = (struct pv_recorded_flags){ .started = first_event(journal, &msg) };
	if (!out->started) {
		pv_run_say("%s", msg.text);
		return false;
	}
	const Pv__RunStarted *started = out->started->run_started;
	out->argv = pv_xcalloc(started->n_argv + 3, sizeof(*out->argv));
	for (size_t i = 0; i < started->n_argv; i++)
		out->argv[i] = started->argv[i];
	if (started->n_argv < 2) { /* a run that was not started from a command line */
		out->argv[0] = (char *)"provium";
		out->argv[1] = (char *)"run";
	}
	out->flags = pv_run_flags_parse(out->argv);
	if (!out->flags)
		pv_run_say("the command line of the recorded run is not one of this version");
	return out->flags != NULL;
}

void pv_recorded_flags_free(struct pv_recorded_flags *recorded)
{
	pv_run_flags_free(recorded->flags);
	free(recorded->argv);
	if (recorded->started)
		pv__event__free_unpacked(recorded->started, NULL);
}
