/* LabCreated, LabClosed. */
#include <stdio.h>
#include <string.h>

#include "engine/core/state_internal.h"

/* ---- created ---- */

static enum pv_err check_scope_name(const char *name, struct pv_errmsg *msg)
{
	if (name != NULL && strcmp(name, PV_ROOT_NAME) == 0)
		return PV_OK;
	return pv_err_set(msg, PV_ERR_INVAL, "the lab of a file and that of a test are named \"" PV_ROOT_NAME "\"");
}

static enum pv_err check_root(const struct pv_state *state, const Pv__Event *event, const char *name,
                              struct pv_errmsg *msg)
{
	struct pv_file *file;
	enum pv_err err = pv_check_running_file(state, event, &file, msg);

	if (err != PV_OK)
		return err;
	if (event->lab_created->parent != 0)
		return pv_err_set(msg, PV_ERR_INVAL, "the lab of a file has no parent");
	if (file->root != NULL)
		return pv_err_set(msg, PV_ERR_EXISTS, "the file %s has its lab already", file->path);
	return check_scope_name(name, msg);
}

static enum pv_err check_test(const struct pv_state *state, const Pv__Event *event, const char *name,
                              struct pv_errmsg *msg)
{
	const Pv__LabCreated *body = event->lab_created;
	struct pv_file *file;
	enum pv_err err = pv_check_running_file(state, event, &file, msg);

	if (err != PV_OK)
		return err;
	if (file->root == NULL || body->parent != file->root->res.id)
		return pv_err_set(msg, PV_ERR_INVAL, "the parent of a test's lab is the lab of its file, not lab %u",
		                  body->parent);
	if (file->test == 0 || body->test != file->test)
		return pv_err_set(msg, PV_ERR_STATE, "a lab for test %u of %s: that test is not running", body->test,
		                  file->path);
	if (file->test_lab != NULL)
		return pv_err_set(msg, PV_ERR_EXISTS, "the file %s has the lab of a test open already", file->path);
	return check_scope_name(name, msg);
}

static enum pv_err check_sub(const struct pv_state *state, const Pv__Event *event, const char *name,
                             struct pv_errmsg *msg)
{
	const Pv__LabCreated *body = event->lab_created;
	struct pv_lab *parent = pv_lab_find(state, body->parent);
	enum pv_err err;

	if (parent == NULL)
		return pv_err_set(msg, PV_ERR_NOENT, "a lab cannot be created in lab %u: that is closed", body->parent);
	err = pv_check_file(event, parent->res.file, msg);
	if (err == PV_OK)
		err = pv_name_check(PV__MEMBER_KIND__MEMBER_KIND_LAB, name, msg);
	return err == PV_OK ? pv_name_is_free(state, parent, PV__MEMBER_KIND__MEMBER_KIND_LAB, name, msg) : err;
}

static enum pv_err check_created(const struct pv_state *state, const Pv__Event *event, uint32_t id, const char *name,
                                 struct pv_errmsg *msg)
{
	enum pv_err err = pv_check_new_id(state, "lab", id, state->next_lab, UINT32_MAX, msg);

	if (err != PV_OK)
		return err;
	switch (event->lab_created->kind) {
	case PV__LAB_KIND__LAB_KIND_ROOT:
		return check_root(state, event, name, msg);
	case PV__LAB_KIND__LAB_KIND_TEST:
		return check_test(state, event, name, msg);
	case PV__LAB_KIND__LAB_KIND_SUB:
		return check_sub(state, event, name, msg);
	default:
		return pv_err_set(msg, PV_ERR_INVAL, "a lab of kind %d is not known", (int)event->lab_created->kind);
	}
}

/* The name that a lab gets if its proposal gives none, written into `out`. */
static const char *default_name(const struct pv_state *state, const Pv__LabCreated *body, char out[PV_NAME_MAX + 1])
{
	const struct pv_lab *parent;

	if (body->kind != PV__LAB_KIND__LAB_KIND_SUB)
		return PV_ROOT_NAME;
	parent = pv_lab_find(state, body->parent);
	/* With an unknown parent the lab is refused, whatever its name. The counter stops one short of its end. */
	snprintf(out, PV_NAME_MAX + 1, "__lab_%u",
	         parent != NULL ? pv_file_find(state, parent->res.file)->next_anonymous : 0);
	return out;
}

static enum pv_err decide_created(const struct pv_state *state, Pv__Event *proposal, struct pv_errmsg *msg)
{
	Pv__LabCreated *body = proposal->lab_created;
	uint32_t id = body->id != 0 ? body->id : state->next_lab;
	char buf[PV_NAME_MAX + 1];
	bool named = body->name != NULL && body->name[0] != '\0';
	const char *name = named ? body->name : default_name(state, body, buf);
	enum pv_err err = check_created(state, proposal, id, name, msg);

	if (err != PV_OK)
		return err;
	body->has_id = 1;
	body->id = id;
	if (!named)
		body->name = pv_xstrdup(name);
	return PV_OK;
}

/* Keeps the counter above every name of its form, also above one that a script chose itself. */
static void count_anonymous(struct pv_file *file, const char *name)
{
	uint32_t n;

	if (pv_name_is_anonymous(name, &n) && n >= file->next_anonymous)
		file->next_anonymous = n + 1;
}

static enum pv_err apply_created(struct pv_state *state, const Pv__Event *event, struct pv_errmsg *msg)
{
	const Pv__LabCreated *body = event->lab_created;
	enum pv_err err = check_created(state, event, body->id, body->name, msg);
	struct pv_lab *parent, *lab;
	struct pv_file *file;

	if (err != PV_OK)
		return err;
	parent = pv_lab_find(state, body->parent);
	file = pv_file_find(state, parent != NULL ? parent->res.file : event->file);
	lab = pv_lab_add(state, body->id, file->id, body->kind, body->name, parent);
	state->next_lab += body->id == state->next_lab;
	if (body->kind == PV__LAB_KIND__LAB_KIND_ROOT) {
		file->root = lab;
	} else if (body->kind == PV__LAB_KIND__LAB_KIND_TEST) {
		file->test_lab = lab;
	} else {
		pv_member_add(state, parent, &lab->res);
		count_anonymous(file, body->name);
	}
	return PV_OK;
}

/* ---- closed ---- */

static enum pv_err check_vms(const struct pv_lab *lab, const struct pv_closing *closing, struct pv_errmsg *msg)
{
	for (size_t i = 0; i < closing->vms.len / sizeof(struct pv_vm *); i++) {
		const struct pv_vm *vm = ((struct pv_vm **)(void *)closing->vms.data)[i];

		if (vm->in_flight != PV_VM_OP_NONE)
			return pv_err_set(msg, PV_ERR_STATE,
			                  "the lab \"%s\" cannot close: a %s of the VM \"%s\" is in flight",
			                  lab->res.name, pv_vm_op_name(vm->in_flight), vm->res.name);
		if (vm->state == PV__VM_STATE__VM_STATE_BOOTED || vm->state == PV__VM_STATE__VM_STATE_PAUSED)
			return pv_err_set(
			    msg, PV_ERR_STATE,
			    "the lab \"%s\" cannot close: its VM \"%s\" is %s and must be shut down first",
			    lab->res.name, vm->res.name, pv_vm_state_name(vm->state));
	}
	return PV_OK;
}

/* On success `closing` holds what goes. */
static enum pv_err check_closed(const struct pv_state *state, const Pv__Event *event, struct pv_closing *closing,
                                struct pv_errmsg *msg)
{
	struct pv_lab *lab = pv_lab_find(state, event->lab_closed->id);
	enum pv_err err;

	if (lab == NULL)
		return pv_err_set(msg, PV_ERR_NOENT, "lab %u cannot close: it is not open", event->lab_closed->id);
	err = pv_check_file(event, lab->res.file, msg);
	if (err != PV_OK)
		return err;
	pv_closing_collect(closing, lab);
	err = check_vms(lab, closing, msg);
	if (err != PV_OK)
		pv_closing_finish(closing);
	return err;
}

static enum pv_err decide_closed(const struct pv_state *state, Pv__Event *proposal, struct pv_errmsg *msg)
{
	struct pv_closing closing = { 0 };
	enum pv_err err = check_closed(state, proposal, &closing, msg);

	if (err == PV_OK)
		pv_closing_finish(&closing);
	return err;
}

static enum pv_err apply_closed(struct pv_state *state, const Pv__Event *event, struct pv_errmsg *msg)
{
	struct pv_closing closing = { 0 };
	enum pv_err err = check_closed(state, event, &closing, msg);
	struct pv_file *file;

	if (err != PV_OK)
		return err;
	file = pv_file_find(state, pv_lab_find(state, event->lab_closed->id)->res.file);
	if (file->root != NULL && file->root->marked)
		file->root = NULL;
	if (file->test_lab != NULL && file->test_lab->marked)
		file->test_lab = NULL;
	pv_closing_carry_out(state, &closing);
	return PV_OK;
}

const struct pv_event_rule pv_rule_lab_created = { decide_created, apply_created };
const struct pv_event_rule pv_rule_lab_closed = { decide_closed, apply_closed };
