/* Taking over a machine whose owner has died: process, sockets, logs; then QEMU is asked who it is. */
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "proto/mem.h"
#include "vmctl/agent.h"
#include "vmctl/keeper.h"
#include "vmctl/keeper_wire.h"
#include "vmctl/machine_internal.h"
#include "vmctl/process.h"
#include "vmctl/qmp.h"

/* ---- what QEMU says ---- */

static void on_looked_at(void *arg, enum pv_err err, struct json_object *ret, const struct pv_errmsg *msg)
{
	struct pv_machine *machine = arg;
	const char *status = ret ? pv_keeper_text(ret, "status") : "";

	if (err == PV_ERR_LOST)
		return; /* the end of the connection tells more */
	if (err) {
		pv_machine_fail(machine, err, false, "VM %s cannot be taken over: %s", machine->name, msg->text);
		return;
	}
	if (strcmp(status, "paused") != 0) {
		pv_machine_fail(machine, PV_ERR_LOST, false, "VM %s cannot be taken over: QEMU calls its state \"%s\"",
		                machine->name, status);
		return;
	}
	pv_machine_enter(machine);
	pv_machine_set_paused(machine, true);
	pv_machine_op_finish(machine->attach_op, PV_OK, NULL);
	if (!machine->destroyed)
		pv_machine_qmp_usable(machine);
	pv_machine_leave(machine);
}

/* The answer that counts is that of query-status behind it. */
static void on_stopped(void *arg, enum pv_err err, struct json_object *ret, const struct pv_errmsg *msg)
{
	(void)arg;
	(void)err;
	(void)ret;
	(void)msg;
}

/* Whoever it is, nobody asked us to touch it. */
static void leave_alone(struct pv_machine *machine)
{
	pv_process_abandon(machine->process);
	machine->process = NULL;
	for (int i = 0; i < PV_MACHINE_SOCKETS; i++) {
		free(machine->sockets[i]);
		machine->sockets[i] = NULL;
	}
}

static void on_uuid(void *arg, enum pv_err err, struct json_object *ret, const struct pv_errmsg *msg)
{
	struct pv_machine *machine = arg;
	const char *uuid = ret ? pv_keeper_text(ret, "UUID") : "";

	if (err == PV_ERR_LOST)
		return;
	if (!err && strcasecmp(uuid, machine->uuid) == 0) {
		pv_qmp_execute(machine->qmp, "stop", NULL, 0, on_stopped, NULL);
		pv_qmp_execute(machine->qmp, "query-status", NULL, 0, on_looked_at, machine);
		return;
	}
	leave_alone(machine);
	pv_machine_fail(
	    machine, PV_ERR_FOREIGN, false,
	    "VM %s cannot be taken over: the QEMU behind its socket is another machine (UUID %s instead of %s)",
	    machine->name, err ? msg->text : uuid, machine->uuid);
}

void pv_machine_look(struct pv_machine *machine)
{
	pv_qmp_execute(machine->qmp, "query-uuid", NULL, 0, on_uuid, machine);
}

/* ---- reaching it ---- */

static enum pv_err connect_to(struct pv_machine *machine, const char *dir, int clients[2], struct pv_errmsg *msg)
{
	enum pv_err err = PV_OK;

	for (int i = 0; i < PV_MACHINE_SOCKETS; i++)
		machine->sockets[i] = pv_xasprintf("%s/%s", dir, pv_machine_socket_names[i]);
	/* QEMU takes the next client when it has seen the end of the one before; until then we wait in its backlog. */
	for (int i = PV_MACHINE_QMP; i <= PV_MACHINE_AGENT && !err; i++)
		err = pv_keeper_connect(machine->sockets[i], &clients[i], msg);
	return err;
}

static enum pv_err reach(struct pv_machine *machine, const struct pv_machine_attach *config, int clients[2],
                         struct pv_errmsg *msg)
{
	enum pv_err err = pv_process_attach(machine->base, config->pid, config->start_ticks, pv_machine_on_exit,
	                                    machine, &machine->process, msg);

	if (!err)
		err = connect_to(machine, config->socket_dir, clients, msg);
	if (!err)
		err = pv_machine_open_logs(machine, config->dir, config->console_start, msg);
	return err;
}

enum pv_err pv_machine_attach(struct event_base *base, const struct pv_machine_attach *config, const Pva__Hello *hello,
                              const struct pv_machine_handler *handler, pv_machine_cb *attached, void *arg,
                              struct pv_machine **out, struct pv_errmsg *msg)
{
	struct pv_machine *machine =
	    pv_machine_new(base, handler, arg, config->name, config->kvm, config->boot_deadline_ms);
	int clients[2] = { -1, -1 };
	enum pv_err err = reach(machine, config, clients, msg);

	if (clients[PV_MACHINE_QMP] >= 0)
		machine->qmp = pv_qmp_create(base, clients[PV_MACHINE_QMP], &pv_machine_qmp_handler, machine);
	if (clients[PV_MACHINE_AGENT] >= 0)
		machine->agent = pv_agent_create(base, clients[PV_MACHINE_AGENT], &pv_machine_agent_handler, machine);
	if (err) {
		leave_alone(machine);
		pv_machine_destroy(machine);
		return pv_err_wrap(msg, err, "VM %s cannot be taken over", config->name);
	}
	machine->uuid = pv_xstrdup(config->uuid);
	machine->keeper = config->keeper;
	machine->keeper_vm = config->keeper_vm;
	machine->was_ready = true;
	machine->attach_op = pv_machine_op_new(machine, attached, arg);
	pv_machine_set_hello(machine, hello);
	pv_agent_hello(machine->agent, machine->hello);
	machine->hello->has_restored = 0; /* holds for this conversation */
	machine->hello->restored = 0;
	pv_machine_arm(machine);
	pv_machine_set_paused(machine, true); /* as it soon will be: the clock of its boot does not run */
	*out = machine;
	return PV_OK;
}
