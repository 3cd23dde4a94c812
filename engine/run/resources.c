#include "engine/run/resources.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/core/units.h"
#include "engine/lab/admission.h"
#include "proto/mem.h"

/* A wait inside a file, or what a VM was granted. */
struct hold {
	struct pv_pool_wait wait;             /* first; its file is the one that it counts for */
	uint32_t file;                        /* that asked: the same, or a builder for it */
	struct pv_admission_request *request; /* NULL: answered */
	uint32_t vm;
	bool started; /* its boot was proposed */
	bool told;    /* FileBlocked */
	LIST_ENTRY(hold) link;
};
LIST_HEAD(hold_list, hold);

struct file {
	struct pv_pool_wait wait; /* to be dispatched */
	Pv__BlockReason told;     /* of the last FileBlocked */
	uint64_t order;           /* of its dispatch, from 1; 0: not in flight */
	uint32_t calls;           /* open ones */
	uint32_t account;         /* of a builder: the file that asked for it; else 0 */
};

struct pv_resources {
	struct pv_resources_config config;
	struct pv_pool *pool;
	struct pv_engine_listener listener;
	struct file *files; /* by id */
	uint32_t n_files;   /* with the builders */
	uint64_t dispatched;
	struct hold_list waits;
	struct hold_list vms;
};

static const char *path_of(const struct pv_resources *resources, uint32_t file)
{
	struct pv_file_view view;

	return pv_state_file(pv_engine_state(resources->config.engine), file, &view) ? view.path : "?";
}

/* Builders come while the run goes on. */
static struct file *file_of(struct pv_resources *resources, uint32_t id)
{
	if (id > resources->n_files) {
		resources->files = pv_xrealloc(resources->files, ((size_t)id + 1) * sizeof(*resources->files));
		memset(&resources->files[resources->n_files + 1], 0,
		       (id - resources->n_files) * sizeof(*resources->files));
		resources->n_files = id;
	}
	return &resources->files[id];
}

/* Who pays for what the file takes. */
static uint32_t account_of(const struct pv_resources *resources, uint32_t file)
{
	while (file <= resources->n_files && resources->files[file].account)
		file = resources->files[file].account;
	return file;
}

static void add_amount(struct pv_buf *out, struct pv_amount amount)
{
	char size[32];

	pv_buf_addf(out, "%s and %" PRIu32 " vCPU", pv_format_size(amount.memory_bytes, size), amount.cpus);
}

/* ---- why a wait is hopeless ---- */

/* "; a.test.lua holds 306 MiB and 0 vCPU and waits for 1 GiB and 1 vCPU; ..." */
static void add_holders(const struct pv_resources *resources, struct pv_buf *out)
{
	for (uint32_t file = 1; file <= resources->config.n_files; file++) {
		const struct hold *hold;

		if (resources->files[file].order == 0)
			continue;
		pv_buf_addf(out, "; %s holds ", path_of(resources, file));
		add_amount(out, pv_pool_taken(resources->pool, file));
		LIST_FOREACH (hold, &resources->waits, link) {
			if (hold->wait.file != file)
				continue;
			pv_buf_addstr(out, " and waits for ");
			add_amount(out, hold->wait.amount);
		}
	}
}

static char *hopeless(const struct pv_resources *resources, struct pv_amount asked, const char *why)
{
	struct pv_buf text = { .data = NULL };

	add_amount(&text, asked);
	pv_buf_addf(&text, " %s: it has ", why);
	add_amount(&text, pv_pool_total(resources->pool));
	pv_buf_addstr(&text, " in all (--mem, --cpus)");
	add_holders(resources, &text);
	return pv_buf_steal(&text);
}

/* ---- the engine asks ---- */

static enum pv_err ask(void *self, struct pv_admission_request *request, struct pv_errmsg *msg)
{
	struct pv_resources *resources = self;
	struct hold *hold = PV_NEW(struct hold);

	hold->wait.want = request->vm != 0 ? PV_POOL_VM : PV_POOL_CLAIM;
	hold->wait.file = account_of(resources, request->file);
	hold->file = request->file;
	hold->wait.amount = request->amount;
	hold->wait.arg = hold;
	hold->request = request;
	hold->vm = request->vm;
	if (!pv_pool_could_ever_fit(resources->pool, &hold->wait)) {
		char *text =
		    hopeless(resources, request->amount, "is more than the resource pool can ever give this file");

		free(hold);
		enum pv_err err = pv_err_set(msg, PV_ERR_BUSY, "%s", text);
		free(text);
		return err;
	}
	request->slot = hold;
	LIST_INSERT_HEAD(&resources->waits, hold, link);
	pv_pool_queue(resources->pool, &hold->wait);
	resources->config.changed(resources->config.arg);
	return PV_OK;
}

static void withdraw(void *self, struct pv_admission_request *request)
{
	struct pv_resources *resources = self;
	struct hold *hold = request->slot;

	pv_pool_withdraw(resources->pool, &hold->wait);
	LIST_REMOVE(hold, link);
	free(hold);
	resources->config.changed(resources->config.arg);
}

static void end_vm(struct pv_resources *resources, struct hold *hold)
{
	pv_pool_vm_ended(resources->pool, hold->wait.file, hold->wait.amount);
	LIST_REMOVE(hold, link);
	free(hold);
	resources->config.changed(resources->config.arg);
}

static void give_back(void *self, uint32_t vm)
{
	struct pv_resources *resources = self;
	struct hold *hold;

	LIST_FOREACH (hold, &resources->vms, link) {
		if (hold->vm != vm || hold->started)
			continue;
		end_vm(resources, hold);
		return;
	}
}

/* ---- the engine tells ---- */

static bool has_ended(const struct pv_resources *resources, const struct hold *hold)
{
	struct pv_vm_view vm;

	if (!hold->started)
		return false;
	if (!pv_state_vm(pv_engine_state(resources->config.engine), hold->vm, &vm))
		return true;
	return vm.in_flight == PV_VM_OP_NONE && vm.state != PV__VM_STATE__VM_STATE_BOOTED &&
	       vm.state != PV__VM_STATE__VM_STATE_PAUSED;
}

static void end_vms(struct pv_resources *resources)
{
	struct hold *hold, *next;

	for (hold = LIST_FIRST(&resources->vms); hold; hold = next) {
		next = LIST_NEXT(hold, link);
		if (has_ended(resources, hold))
			end_vm(resources, hold);
	}
}

static void call_started(struct pv_resources *resources, const Pv__Event *event)
{
	const Pv__CallStarted *call = event->call_started;
	struct hold *hold;

	file_of(resources, event->file)->calls++;
	LIST_FOREACH (hold, &resources->vms, link) {
		if (hold->vm == call->vm && pv_call_brings_up(call->op_case))
			hold->started = true;
	}
}

static void file_completed(struct pv_resources *resources, uint32_t file)
{
	end_vms(resources);
	if (!file_of(resources, file)->account)
		pv_pool_file_ended(resources->pool, file);
	resources->files[file] = (struct file){ .order = 0 };
	resources->config.changed(resources->config.arg);
}

static void on_event(void *arg, uint64_t seq, const Pv__Event *event)
{
	struct pv_resources *resources = arg;

	(void)seq;
	if (event->file == 0)
		return;
	switch (event->body_case) {
	case PV__EVENT__BODY_CALL_STARTED:
		call_started(resources, event);
		return;
	case PV__EVENT__BODY_CALL_ENDED:
		file_of(resources, event->file)->calls--;
		end_vms(resources);
		break;
	case PV__EVENT__BODY_VM_CHANGED:
	case PV__EVENT__BODY_LAB_CLOSED:
		end_vms(resources);
		break;
	case PV__EVENT__BODY_FILE_COMPLETED:
		file_completed(resources, event->file);
		return;
	case PV__EVENT__BODY_TASK_ENDED:
		break;
	default:
		return;
	}
	/* A file that has nothing else to do any more may make the waits of all hopeless. */
	if (!LIST_EMPTY(&resources->waits))
		resources->config.changed(resources->config.arg);
}

/* ---- birth and death ---- */

struct pv_resources *pv_resources_create(const struct pv_resources_config *config)
{
	struct pv_resources *resources = PV_NEW(struct pv_resources);
	struct pv_admission admission = {
		.ask = ask,
		.withdraw = withdraw,
		.give_back = give_back,
		.self = resources,
	};

	resources->config = *config;
	resources->pool = pv_pool_create(config->total, config->n_files);
	resources->files = pv_xcalloc((size_t)config->n_files + 1, sizeof(*resources->files));
	resources->n_files = config->n_files;
	resources->listener = (struct pv_engine_listener){ .event = on_event, .arg = resources };
	LIST_INIT(&resources->waits);
	LIST_INIT(&resources->vms);
	pv_engine_listen(config->engine, &resources->listener);
	pv_engine_set_admission(config->engine, &admission);
	return resources;
}

void pv_resources_destroy(struct pv_resources *resources)
{
	struct hold *hold;

	if (!resources)
		return;
	pv_resources_drop_files(resources);
	PV_ASSERT(LIST_EMPTY(&resources->waits));
	while ((hold = LIST_FIRST(&resources->vms))) {
		LIST_REMOVE(hold, link);
		free(hold);
	}
	pv_pool_destroy(resources->pool);
	free(resources->files);
	free(resources);
}

/* ---- files ---- */

void pv_resources_add_file(struct pv_resources *resources, uint32_t file, struct pv_amount claim)
{
	struct pv_pool_wait *wait = &resources->files[file].wait;

	*wait = (struct pv_pool_wait){ .want = PV_POOL_FILE, .file = file, .amount = claim };
	/* The call of a claim that can never fit raises, so the file must get that far. */
	if (!pv_pool_could_ever_fit(resources->pool, wait))
		wait->amount = (struct pv_amount){ 0 };
	pv_pool_queue(resources->pool, wait);
}

void pv_resources_has_file(struct pv_resources *resources, uint32_t file, struct pv_amount reserved)
{
	struct pv_amount claim = { 0 };
	struct pv_file_view view;

	PV_ASSERT(pv_state_file(pv_engine_state(resources->config.engine), file, &view));
	if (view.has_claim)
		claim = view.claim;
	else if (reserved.memory_bytes > PV_POOL_FILE_OVERHEAD || reserved.cpus > 0)
		claim = (struct pv_amount){ reserved.memory_bytes - PV_POOL_FILE_OVERHEAD, reserved.cpus };
	pv_pool_has(resources->pool, file, claim);
	resources->files[file].order = ++resources->dispatched;
	resources->files[file].calls = pv_engine_open_calls(resources->config.engine, file);
}

void pv_resources_has_vm(struct pv_resources *resources, uint32_t file, uint32_t vm, struct pv_amount amount)
{
	struct hold *hold = PV_NEW(struct hold);

	hold->wait = (struct pv_pool_wait){ .want = PV_POOL_VM, .file = file, .amount = amount };
	hold->file = file;
	hold->vm = vm;
	hold->started = true;
	LIST_INSERT_HEAD(&resources->vms, hold, link);
	pv_pool_has_vm(resources->pool, file, amount);
}

/* The VMs that are up go with it, whether the other file has room or not. */
void pv_resources_account(struct pv_resources *resources, uint32_t builder, uint32_t file)
{
	uint32_t to = account_of(resources, file);
	struct hold *hold;

	file_of(resources, builder)->account = file;
	LIST_FOREACH (hold, &resources->vms, link) {
		if (account_of(resources, hold->file) != to || hold->wait.file == to)
			continue;
		pv_pool_vm_ended(resources->pool, hold->wait.file, hold->wait.amount);
		pv_pool_has_vm(resources->pool, to, hold->wait.amount);
		hold->wait.file = to;
	}
	LIST_FOREACH (hold, &resources->waits, link) {
		if (account_of(resources, hold->file) != to || hold->wait.file == to)
			continue;
		pv_pool_withdraw(resources->pool, &hold->wait);
		hold->wait.file = to;
		pv_pool_queue(resources->pool, &hold->wait);
	}
}

void pv_resources_drop_files(struct pv_resources *resources)
{
	struct pv_pool_wait *wait;

	while ((wait = pv_pool_first_file(resources->pool)))
		pv_pool_withdraw(resources->pool, wait);
}

bool pv_resources_has_files(const struct pv_resources *resources)
{
	return pv_pool_first_file(resources->pool) != NULL;
}

struct pv_amount pv_resources_reserved(const struct pv_resources *resources, uint32_t file)
{
	return pv_pool_taken(resources->pool, file);
}

/* ---- who is next ---- */

static void grant(struct pv_resources *resources, struct hold *hold)
{
	struct pv_admission_request *request = hold->request;

	LIST_REMOVE(hold, link);
	if (hold->vm == 0) {
		free(hold);
	} else {
		hold->request = NULL;
		LIST_INSERT_HEAD(&resources->vms, hold, link);
	}
	pv_engine_admission_answer(resources->config.engine, request, NULL);
}

uint32_t pv_resources_next(struct pv_resources *resources, enum pv_dispatch dispatch)
{
	struct pv_pool_wait *wait;

	while ((wait = pv_pool_next(resources->pool, dispatch == PV_DISPATCH_OPEN))) {
		if (wait->want == PV_POOL_FILE) {
			resources->files[wait->file].order = ++resources->dispatched;
			return wait->file;
		}
		grant(resources, wait->arg);
	}
	return 0;
}

/* ---- who waits ---- */

static void propose(struct pv_resources *resources, Pv__Event *event)
{
	struct pv_errmsg msg = { .text = "" };

	if (pv_engine_propose(resources->config.engine, event, &msg) != PV_OK &&
	    !pv_engine_failed(resources->config.engine))
		PV_BUG("an event of the resource pool was refused: %s", msg.text);
}

static Pv__Amount message_of(struct pv_amount amount)
{
	Pv__Amount message = PV__AMOUNT__INIT;

	message.has_memory_bytes = message.has_cpus = 1;
	message.memory_bytes = amount.memory_bytes;
	message.cpus = amount.cpus;
	return message;
}

static void tell_blocked(struct pv_resources *resources, uint32_t file, struct pv_amount amount, Pv__BlockReason reason)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__FileBlocked blocked = PV__FILE_BLOCKED__INIT;
	Pv__Amount waiting_for = message_of(amount);

	event.has_file = 1;
	event.file = file;
	blocked.has_id = blocked.has_reason = 1;
	blocked.id = file;
	blocked.reason = reason;
	blocked.waiting_for = &waiting_for;
	event.body_case = PV__EVENT__BODY_FILE_BLOCKED;
	event.file_blocked = &blocked;
	propose(resources, &event);
}

static Pv__BlockReason reason_of(enum pv_dispatch dispatch)
{
	switch (dispatch) {
	case PV_DISPATCH_JOBS:
		return PV__BLOCK_REASON__BLOCK_REASON_JOBS_LIMIT;
	case PV_DISPATCH_PSI:
		return PV__BLOCK_REASON__BLOCK_REASON_PSI_PRESSURE;
	default:
		return PV__BLOCK_REASON__BLOCK_REASON_POOL_FULL;
	}
}

/* The file at the head of the line, and those that others were let past. */
static void tell_files(struct pv_resources *resources, enum pv_dispatch dispatch)
{
	const struct pv_pool_wait *wait = pv_pool_first_file(resources->pool);
	Pv__BlockReason reason = reason_of(dispatch);

	for (bool head = true; wait && (head || wait->passes > 0); wait = TAILQ_NEXT(wait, link), head = false) {
		struct file *file = &resources->files[wait->file];

		if (file->told == reason)
			continue;
		file->told = reason;
		tell_blocked(resources, wait->file, pv_pool_missing(resources->pool, wait), reason);
	}
}

static void tell_waits(struct pv_resources *resources)
{
	struct hold *hold;

	LIST_FOREACH (hold, &resources->waits, link) {
		if (hold->told)
			continue;
		hold->told = true;
		tell_blocked(resources, hold->wait.file, hold->wait.amount, reason_of(PV_DISPATCH_OPEN));
	}
}

/* ---- waits without end ---- */

/* The oldest wait that `file` itself has, or that counts for it. */
static struct hold *oldest_wait(const struct pv_resources *resources, uint32_t file, bool on_account)
{
	struct hold *hold, *found = NULL;

	LIST_FOREACH (hold, &resources->waits, link) {
		if ((on_account ? hold->wait.file : hold->file) == file)
			found = hold; /* new ones stand in front */
	}
	return found;
}

/* Nothing moves the file, or builder, but the pool: it waits for that, or for a builder that does. */
static bool is_stuck(const struct pv_resources *resources, uint32_t id)
{
	const struct pv_resources_config *config = &resources->config;
	bool waits = oldest_wait(resources, id, false) != NULL;
	uint32_t builder;
	size_t n = 0;

	if (!config->only_waits(config->arg, id))
		return false;
	for (; config->fixture_wait && config->fixture_wait(config->arg, id, n, &builder); n++) {
		if (!builder || !is_stuck(resources, builder))
			return false;
		waits = true;
	}
	/* A call that is none of a fixture is at work. */
	return waits && id <= resources->n_files && resources->files[id].calls == n;
}

/* The file dispatched last if all files in flight wait for the pool and nothing else can move them; 0 otherwise. */
static uint32_t youngest_of_stuck(const struct pv_resources *resources)
{
	uint32_t youngest = 0;

	for (uint32_t id = 1; id <= resources->n_files; id++) {
		const struct file *file = &resources->files[id];

		if (file->order == 0)
			continue;
		if (!is_stuck(resources, id))
			return 0;
		if (youngest == 0 || file->order > resources->files[youngest].order)
			youngest = id;
	}
	return youngest;
}

#define NEVER_FREE "can never come free: every file in flight holds some of the resource pool and waits"

static void refuse_wait(struct pv_resources *resources, struct hold *hold)
{
	struct pv_admission_request *request = hold->request;
	char *text = hopeless(resources, hold->wait.amount, NEVER_FREE);

	pv_pool_withdraw(resources->pool, &hold->wait);
	LIST_REMOVE(hold, link);
	free(hold);
	pv_engine_admission_answer(resources->config.engine, request, text);
	free(text);
}

static void refuse_fixture(struct pv_resources *resources, uint32_t file)
{
	struct pv_buf text = { .data = NULL };

	pv_buf_addstr(&text, "the build that it waits for can never end: every file in flight holds some of the "
	                     "resource pool, of ");
	add_amount(&text, pv_pool_total(resources->pool));
	pv_buf_addstr(&text, " in all (--mem, --cpus), and waits");
	add_holders(resources, &text);
	(void)resources->config.refuse_fixture(resources->config.arg, file, pv_buf_str(&text));
	pv_buf_free(&text);
}

static void refuse_if_stuck(struct pv_resources *resources)
{
	uint32_t file = LIST_EMPTY(&resources->waits) ? 0 : youngest_of_stuck(resources);
	struct hold *hold;

	if (file == 0)
		return;
	hold = oldest_wait(resources, file, true);
	if (hold)
		refuse_wait(resources, hold);
	else
		refuse_fixture(resources, file);
	resources->config.changed(resources->config.arg);
}

void pv_resources_settle(struct pv_resources *resources, enum pv_dispatch dispatch)
{
	if (pv_engine_failed(resources->config.engine))
		return;
	tell_files(resources, dispatch);
	tell_waits(resources);
	refuse_if_stuck(resources);
}

void pv_resources_tell_state(struct pv_resources *resources)
{
	struct pv_amount total = pv_pool_total(resources->pool), in_use = pv_pool_used(resources->pool);
	Pv__Event event = PV__EVENT__INIT;
	Pv__PoolState state = PV__POOL_STATE__INIT;
	Pv__Amount used = message_of(in_use);
	Pv__Amount available = message_of((struct pv_amount){ .memory_bytes = total.memory_bytes - in_use.memory_bytes,
	                                                      .cpus = total.cpus - in_use.cpus });

	state.used = &used;
	state.available = &available;
	event.body_case = PV__EVENT__BODY_POOL_STATE;
	event.pool_state = &state;
	propose(resources, &event);
}
