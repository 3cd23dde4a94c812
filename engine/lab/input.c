#include "engine/lab/input.h"

#include "engine/lab/engine_internal.h"
#include "proto/copy.h"

enum pv_err pv_engine_input(struct pv_engine *engine, Pv__Event *event, pv_input_cb *take, void *arg,
                            Pv__ScriptInput **out, struct pv_errmsg *msg)
{
	struct pv_track *track = pv_track(engine, event->file);
	Pv__Event *recorded = NULL;
	enum pv_err err;

	pv_retrace_catch_up(track, event);
	err = pv_decide(engine->state, event, msg);
	if (err != PV_OK)
		return err;
	if (pv_retrace_is_on(track)) {
		err = pv_retrace_propose(track, event, &recorded, msg);
		if (err != PV_OK)
			return err;
		*out = recorded->script_input;
		recorded->body_case = PV__EVENT__BODY__NOT_SET;
		pv__event__free_unpacked(recorded, NULL);
		return PV_OK;
	}
	take(arg, event->script_input);
	err = pv_engine_record(engine, event, msg);
	if (err == PV_OK)
		*out = pv_message_copy(&event->script_input->base);
	return err;
}

bool pv_engine_is_again(const struct pv_engine *engine, uint32_t file)
{
	enum pv_retrace_at at = pv_engine_retrace_at(engine, file);

	return at != PV_RETRACE_LIVE && at != PV_RETRACE_AT_END && !pv_retrace_is_rehearsal(engine);
}
