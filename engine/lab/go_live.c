/* From a retraced record back to the world. */
#include "engine/lab/engine_internal.h"

void pv_engine_end_retrace(struct pv_engine *engine)
{
	pv_retrace_destroy(engine);
	pv_state_end_any_order(engine->state);
	engine->held = true;
}

void pv_engine_attach(struct pv_engine *engine, uint32_t vm, const Pv__VmSpec *spec, const Pv__BootResult *result)
{
	struct pv_vm_view view;

	PV_ASSERT(engine->held && engine->driver->attach != NULL);
	PV_ASSERT(pv_state_vm(engine->state, vm, &view));
	engine->attaching++;
	engine->driver->attach(engine->driver_self, vm, spec, result, view.state == PV__VM_STATE__VM_STATE_PAUSED);
}

void pv_engine_vm_attached(struct pv_engine *engine, uint32_t vm, enum pv_err err, const struct pv_errmsg *msg)
{
	PV_ASSERT(engine->attaching > 0);
	engine->attaching--;
	pv_engine_wake(engine); /* whoever waits for it looks first */
	if (err)
		pv_engine_vm_changed(engine, vm, PV__VM_CHANGE__VM_CHANGE_LOST, msg->text);
}

bool pv_engine_is_attaching(const struct pv_engine *engine)
{
	return engine->attaching > 0;
}

void pv_engine_go_live(struct pv_engine *engine)
{
	engine->held = false;
	pv_engine_start_open_calls(engine);
	pv_engine_run_timers(engine);
	pv_engine_ask_admits(engine);
	if (engine->driver->go != NULL)
		pv_engine_defer(engine, &engine->go);
}
