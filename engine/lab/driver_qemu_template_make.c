/* How a boot template comes to be: from the store, or from the guest of a cold boot. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/lab/driver_qemu_template.h"
#include "engine/lab/job.h"
#include "proto/mem.h"

/* Templates that no run has used for long make room. */
#define STORE_MAX (4ull << 30)

/* What a thread works on; it may touch nothing else. */
struct qemu_template_work {
	struct qemu_template *template;
	struct pv_job *job;
	struct pv_store *store;
	char *path; /* of the file that is loaded or installed */
	struct pv_store_use *use;
	enum pv_err err;
	struct pv_errmsg msg;
};

static void start_work(struct qemu_template *template, bool lazy, const char *path, void (*work)(void *arg),
                       void (*done)(void *arg))
{
	struct qemu_template_work *it = PV_NEW(struct qemu_template_work);

	PV_ASSERT(template->work == NULL);
	it->template = template;
	it->store = template->all->store;
	it->path = pv_xstrdup(path);
	template->work = it;
	it->job = pv_job_start(pv_engine_base(template->all->driver->engine), lazy, work, done, it);
}

static void work_free(struct qemu_template_work *work)
{
	work->template->work = NULL;
	free(work->path);
	free(work);
}

/* ---- from the store ---- */

static void load(void *arg)
{
	struct qemu_template_work *work = arg;

	work->err = pv_store_use(work->store, work->path, &work->use, &work->msg);
}

static void loaded(void *arg)
{
	struct qemu_template_work *work = arg;
	struct qemu_template *template = work->template;
	struct qemu_templates *all = template->all;
	struct pv_errmsg msg = work->msg;
	enum pv_err err = work->err;

	template->use = work->use;
	work_free(work);
	if (err == PV_OK && !pv_snapshot_manifest(pv_store_use_snapshot(template->use))->held)
		err = pv_err_set(&msg, PV_ERR_FOREIGN, "%s is no boot template",
		                 pv_snapshot_path(pv_store_use_snapshot(template->use)));
	if (err == PV_OK) {
		pv_store_touch(all->store, template->key, PV_STORE_VM);
		qemu_template_set(template, TEMPLATE_READY);
		return;
	}
	pv_store_unuse(template->use, false);
	template->use = NULL;
	/* PV_ERR_NOENT: somebody has just removed it. */
	if (err != PV_ERR_NOENT)
		pv_engine_notice(all->driver->engine, "a boot template is of no use and is made anew: %s", msg.text);
	if (err != PV_ERR_NOENT && pv_store_remove(all->store, template->key, &msg) != PV_OK) {
		pv_engine_notice(all->driver->engine, "it cannot be removed: %s", msg.text);
		qemu_template_set(template, TEMPLATE_USELESS);
		return;
	}
	qemu_template_set(template, TEMPLATE_UNKNOWN);
}

/* ---- into the store ---- */

static void install(void *arg)
{
	struct qemu_template_work *work = arg;
	uint64_t bytes;

	work->err =
	    pv_store_install(work->store, work->template->key, PV_STORE_VM, work->path, NULL, &bytes, &work->msg);
	if (work->err == PV_OK)
		work->err = pv_store_evict(work->store, STORE_MAX, &work->msg);
}

static void install_ended(struct qemu_template_work *work)
{
	struct qemu_template *template = work->template;

	if (work->err != PV_OK)
		pv_engine_notice(template->all->driver->engine, "a boot template is not kept for later runs: %s",
		                 work->msg.text);
	unlink(work->path); /* it stays open */
	pv_store_unlock(template->lock);
	template->lock = NULL;
	work_free(work);
}

static void installed(void *arg)
{
	install_ended(arg);
}

void qemu_template_finish_work(struct qemu_template *template)
{
	struct qemu_template_work *work = template->work;

	if (work == NULL)
		return;
	pv_job_join(work->job);
	if (template->state != TEMPLATE_LOADING) {
		install_ended(work);
		return;
	}
	pv_store_unuse(work->use, true);
	work_free(work);
}

/* ---- who makes it ---- */

void qemu_template_find(struct qemu_template *template, struct qemu_vm *vm)
{
	struct qemu_templates *all = template->all;
	struct pv_errmsg msg = { 0 };
	char *path;

	if (all->store != NULL && pv_store_look(all->store, template->key, PV_STORE_VM, &msg) != PV_ERR_NOENT) {
		path = pv_store_path(all->store, template->key, PV_STORE_VM);
		template->state = TEMPLATE_LOADING; /* what is damaged is found there */
		start_work(template, false, path, load, loaded);
		free(path);
		return;
	}
	/* Somebody else makes it: the next boot may find it. */
	if (all->store != NULL &&
	    pv_store_lock(all->store, template->key, PV_STORE_VM, vm->name, &template->lock, NULL, &msg) == PV_ERR_BUSY)
		return;
	template->maker = vm;
	template->state = TEMPLATE_MAKING;
	vm->way = QEMU_MAKES;
}

/* ---- from the maker's guest ---- */

static char *own_path(const struct qemu_template *template)
{
	return pv_xasprintf("%s/%s.snap", template->all->dir, template->key);
}

/* It is used from now on; the store gets its copy in a while. */
static void take(struct qemu_template *template)
{
	char *path = own_path(template);

	if (template->all->store != NULL)
		start_work(template, true, path, install, installed);
	else
		unlink(path);
	free(path);
	qemu_template_set(template, TEMPLATE_READY);
}

/* The maker's guest goes on; but if it was to be another one than the template's, the VM goes on from the template. */
static void go_on(struct qemu_vm *vm)
{
	if (!qemu_template_prepares(vm)) {
		vm->way = QEMU_COLD;
		qemu_template_release(vm);
		return;
	}
	pv_machine_destroy(vm->machine);
	vm->machine = NULL;
	qemu_boot_go_on(vm);
}

static void saved(void *arg, enum pv_err err, const struct pv_machine_snapshot_done *done, const struct pv_errmsg *why)
{
	struct qemu_vm *vm = arg;
	struct qemu_template *template = vm->template;
	struct pv_errmsg msg = { 0 };
	char *path = own_path(template);

	(void)done;
	if (err == PV_OK)
		err = pv_snapshot_open(path, &template->own, &msg);
	else
		msg = *why;
	template->maker = NULL;
	if (err == PV_OK) {
		take(template);
	} else {
		unlink(path);
		pv_engine_notice(vm->driver->engine, "no boot template is made of VM %s: %s", vm->name, msg.text);
		pv_store_unlock(template->lock);
		template->lock = NULL;
		qemu_template_set(template, TEMPLATE_USELESS);
	}
	free(path);
	go_on(vm);
}

void qemu_template_save(struct qemu_vm *vm)
{
	const struct pv_profile *profile = qemu_vm_profile(vm);
	Pvs__Manifest manifest = PVS__MANIFEST__INIT;
	Pvs__Shape shape = PVS__SHAPE__INIT;
	char *path = own_path(vm->template);
	struct pv_machine_snapshot what = { .path = path, .manifest = &manifest, .with_console = true };
	struct pv_machine_config config;

	if (mkdir(vm->template->all->dir, 0700) != 0 && errno != EEXIST)
		pv_engine_notice(vm->driver->engine, "cannot create the directory %s", vm->template->all->dir);
	qemu_boot_config(vm, profile, &config);
	pv_machine_shape(&config, &shape);
	manifest.shape = &shape;
	manifest.vm_name = vm->name;
	manifest.profile = profile->name;
	manifest.has_held = 1;
	manifest.held = 1;
	pv_machine_snapshot(vm->machine, &what, saved, vm);
	free(path);
}
