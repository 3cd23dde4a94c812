/* The boot templates of a run: which there are, and who waits for them. */
#include "engine/lab/driver_qemu_template.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/mem.h"
#include "vmctl/hostfile.h"
#include "vmctl/keeper.h"

/* More guests than that which did not go on from a template are no accident. */
#define FAILURES_MAX 2u

/* ---- the table ---- */

struct qemu_templates *qemu_templates_new(struct qemu_driver *driver, const char *store_dir, unsigned max_spares)
{
	struct qemu_templates *all = PV_NEW(struct qemu_templates);
	struct pv_errmsg msg = { 0 };

	all->driver = driver;
	TAILQ_INIT(&all->spares);
	TAILQ_INIT(&all->sources);
	all->max_spares = max_spares;
	all->dir = pv_xasprintf("%s/templates", driver->run_dir);
	/* What a runner of this run that was killed has left. */
	pv_keeper_remove_spares(driver->socket_dir);
	if (pv_hostfile_remove_tree(all->dir, &msg) != PV_OK)
		pv_engine_notice(driver->engine, "%s", msg.text);
	if (store_dir != NULL && pv_store_open(store_dir, &all->store, &msg) != PV_OK)
		pv_engine_notice(driver->engine, "boot templates are not kept for later runs: %s", msg.text);
	return all;
}

void qemu_templates_tell(const struct qemu_templates *all, const char *fmt, ...)
{
	va_list ap;
	char *line;

	if (all->ending)
		return;
	va_start(ap, fmt);
	line = pv_xvasprintf(fmt, ap);
	va_end(ap);
	pv_engine_notice(all->driver->engine, "%s", line);
	free(line);
}

static void drop_snapshot(struct qemu_template *template)
{
	pv_store_unuse(template->use, false);
	template->use = NULL;
	pv_snapshot_close(template->own);
	template->own = NULL;
	qemu_identity_free(&template->identity);
}

void qemu_templates_free(struct qemu_templates *all)
{
	struct qemu_template *template, *next;

	if (all == NULL)
		return;
	all->ending = true;
	qemu_sources_free(all);
	HASH_ITER (hh, all->by_key, template, next) {
		PV_ASSERT(TAILQ_EMPTY(&template->waiting) && template->maker == NULL);
		qemu_template_finish_work(template);
		qemu_stock_finish(&template->stock);
		drop_snapshot(template);
		pv_store_unlock(template->lock);
		pv_engine_undefer(all->driver->engine, &template->wake);
		HASH_DELETE(hh, all->by_key, template);
		free(template);
	}
	pv_store_close(all->store);
	rmdir(all->dir);
	free(all->dir);
	free(all);
}

static struct qemu_template *find(struct qemu_templates *all, const char *key, const struct qemu_vm *vm)
{
	struct qemu_template *template;

	HASH_FIND_STR(all->by_key, key, template);
	if (template != NULL)
		return template;
	template = PV_NEW(struct qemu_template);
	template->all = all;
	snprintf(template->key, sizeof(template->key), "%s", key);
	qemu_stock_init(&template->stock, all, vm);
	TAILQ_INIT(&template->waiting);
	HASH_ADD_STR(all->by_key, key, template);
	return template;
}

struct pv_snapshot *qemu_template_snapshot(const struct qemu_template *template)
{
	PV_ASSERT(template->state == TEMPLATE_READY);
	return template->use != NULL ? pv_store_use_snapshot(template->use) : template->own;
}

/* ---- waiting ---- */

static void wait_is_over(struct qemu_call *call)
{
	char *why = pv_xasprintf(
	    "VM %s has waited for its boot template, which another VM makes, until the boot deadline of %g s",
	    call->vm->name, (double)call->vm->spec->wait_ms / 1000);

	qemu_vm_end(call->vm, PV__ERROR_KIND__ERROR_KIND_VM_DEAD, why);
	free(why);
}

static void add_waiting(struct qemu_vm *vm)
{
	vm->way = QEMU_WAITS;
	TAILQ_INSERT_TAIL(&vm->template->waiting, vm, template_link);
	if (vm->boot->timer == NULL)
		qemu_call_timer(vm->boot, qemu_boot_left_ms(vm), wait_is_over);
}

static void remove_waiting(struct qemu_vm *vm)
{
	TAILQ_REMOVE(&vm->template->waiting, vm, template_link);
	vm->way = QEMU_COLD;
}

/* Boots of those that wait, in their order; one that is to wait again comes behind the last. */
static void wake_all(void *arg)
{
	struct qemu_template *template = arg;
	struct qemu_vm *last = TAILQ_LAST(&template->waiting, qemu_vm_list);
	bool cold = template->wake_cold;
	struct qemu_vm *vm;

	template->wake_cold = false;
	while (last != NULL && (vm = TAILQ_FIRST(&template->waiting)) != NULL) {
		bool is_last = vm == last;

		remove_waiting(vm);
		if (cold)
			vm->spec->template_ = 0;
		qemu_boot_go_on(vm);
		if (is_last)
			break;
	}
}

static void wake(struct qemu_template *template)
{
	template->wake.run = wake_all;
	template->wake.arg = template;
	pv_engine_defer(template->all->driver->engine, &template->wake);
}

void qemu_template_set(struct qemu_template *template, enum qemu_template_state state)
{
	template->state = state;
	if (state == TEMPLATE_READY) {
		template->stock.snapshot = qemu_template_snapshot(template);
		template->stock.identity = &template->identity;
	}
	if (!template->all->ending && state != TEMPLATE_LOADING && state != TEMPLATE_MAKING)
		wake(template);
}

/* ---- a boot ---- */

static void choose_way(struct qemu_vm *vm)
{
	struct qemu_template *template = vm->template;

	if (template->state == TEMPLATE_UNKNOWN)
		qemu_template_find(template, vm);
	switch (template->state) {
	case TEMPLATE_READY:
		vm->way = QEMU_RESTORES;
		qemu_stock_enter(&template->stock);
		break;
	case TEMPLATE_LOADING:
		add_waiting(vm);
		break;
	case TEMPLATE_MAKING:
		if (template->maker != vm)
			add_waiting(vm);
		break;
	default:
		vm->way = QEMU_COLD;
		break;
	}
}

bool qemu_template_begin(struct qemu_vm *vm)
{
	struct qemu_driver *driver = vm->driver;
	struct pv_errmsg msg = { 0 };
	char key[65];

	vm->way = QEMU_COLD;
	vm->template = NULL;
	if (driver->templates == NULL || !qemu_template_serves(vm->spec))
		return false;
	/* What cannot be read is told by the start that follows. */
	if (qemu_template_key(vm, qemu_vm_profile(vm), key, &msg) != PV_OK)
		return false;
	vm->template = find(driver->templates, key, vm);
	choose_way(vm);
	if (vm->way == QEMU_COLD)
		vm->template = NULL;
	return vm->way == QEMU_WAITS;
}

void qemu_template_leave(struct qemu_vm *vm, bool cold)
{
	struct qemu_template *template = vm->template;

	if (template == NULL)
		return;
	if (vm->way == QEMU_WAITS)
		remove_waiting(vm);
	if (vm->way == QEMU_RESTORES)
		qemu_stock_leave(&template->stock, vm->warm_next);
	vm->warm_next = false;
	if (template->maker == vm) {
		template->maker = NULL;
		pv_store_unlock(template->lock);
		template->lock = NULL;
		template->wake_cold = cold;
		qemu_template_set(template, TEMPLATE_UNKNOWN);
	}
	vm->way = QEMU_COLD;
	vm->template = NULL;
}

void qemu_template_spoilt(struct qemu_template *template, const char *vm, const char *why)
{
	struct qemu_templates *all = template->all;
	struct pv_errmsg msg = { 0 };

	qemu_templates_tell(all, "the boot template of VM %s is of no use and is made anew: %s", vm, why);
	if (template->state != TEMPLATE_READY) /* another VM has told before */
		return;
	qemu_template_finish_work(template);
	template->stock.snapshot = NULL;
	qemu_spares_drop(&template->stock);
	pv_store_unuse(template->use, false);
	template->use = NULL;
	drop_snapshot(template);
	if (all->store != NULL && pv_store_remove(all->store, template->key, &msg) != PV_OK)
		qemu_templates_tell(all, "it cannot be removed: %s", msg.text);
	template->failures++;
	qemu_template_set(template, template->failures < FAILURES_MAX ? TEMPLATE_UNKNOWN : TEMPLATE_USELESS);
}
