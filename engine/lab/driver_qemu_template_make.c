/* How a boot template comes to be: from the store, or from the guest of a cold boot. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/lab/driver_qemu_template.h"
#include "proto/mem.h"
#include "vmctl/job.h"

/* Templates that no run has used for long make room. */
#define STORE_MAX (4ull << 30)

/* What a thread works on; it may touch nothing else. */
struct qemu_template_work {
	struct qemu_template *template;
	struct pv_job *job;
	struct pv_store *store;
	char *key;
	char *path;                    /* of the file that is loaded or installed */
	char uuid[37];                 /* of the maker */
	struct pv_snapshot *own;       /* to be searched */
	struct qemu_identity identity; /* found, or to be installed */
	struct pv_store_use *use;
	enum pv_err err;
	struct pv_errmsg msg;
};

static struct qemu_template_work *work_new(struct qemu_template *template, char *path)
{
	struct qemu_template_work *work = PV_NEW(struct qemu_template_work);

	PV_ASSERT(template->work == NULL);
	work->template = template;
	work->store = template->all->store;
	work->key = pv_xstrdup(template->key);
	work->path = path;
	template->work = work;
	return work;
}

static void start_job(struct qemu_template_work *work, const struct pv_job_ops *ops)
{
	struct event_base *base = pv_engine_base(work->template->all->driver->engine);
	struct pv_errmsg msg;

	if (pv_job_start(base, ops, work, &work->job, &msg) != PV_OK)
		PV_BUG("%s", msg.text);
}

static void work_free(struct qemu_template_work *work)
{
	work->template->work = NULL;
	qemu_identity_free(&work->identity);
	free(work->key);
	free(work->path);
	free(work);
}

static void useless(struct qemu_template *template, const char *why)
{
	qemu_templates_tell(template->all, "there is no boot template, VMs boot cold: %s", why);
	pv_snapshot_close(template->own);
	template->own = NULL;
	pv_store_unlock(template->lock);
	template->lock = NULL;
	qemu_template_set(template, TEMPLATE_USELESS);
}

/* ---- from the store ---- */

static void load(void *arg)
{
	struct qemu_template_work *work = arg;
	char *identity = pv_store_inputs_path(work->store, work->key);

	work->err = pv_store_use(work->store, work->path, &work->use, &work->msg);
	if (work->err == PV_OK && !pv_snapshot_manifest(pv_store_use_snapshot(work->use))->held)
		work->err = pv_err_set(&work->msg, PV_ERR_FOREIGN, "%s is no boot template", work->path);
	if (work->err == PV_OK)
		work->err = qemu_identity_load(identity, pv_store_use_snapshot(work->use), &work->identity, &work->msg);
	free(identity);
}

static void load_ended(struct qemu_template_work *work)
{
	struct qemu_template *template = work->template;
	struct qemu_templates *all = template->all;
	struct pv_errmsg msg = { 0 };

	if (work->err == PV_OK) {
		template->use = work->use;
		template->identity = work->identity;
		work->identity = (struct qemu_identity){ 0 };
		pv_store_touch(all->store, template->key, PV_STORE_VM);
		qemu_template_set(template, TEMPLATE_READY);
		return;
	}
	pv_store_unuse(work->use, false);
	if (work->err == PV_ERR_NOENT) { /* somebody has just removed it */
		qemu_template_set(template, TEMPLATE_UNKNOWN);
		return;
	}
	qemu_templates_tell(all, "a boot template is of no use and is made anew: %s", work->msg.text);
	if (pv_store_remove(all->store, template->key, &msg) == PV_OK)
		qemu_template_set(template, TEMPLATE_UNKNOWN);
	else
		useless(template, msg.text);
}

static void loaded(void *arg)
{
	load_ended(arg);
	work_free(arg);
}

static const struct pv_job_ops loading = { .work = load, .done = loaded };

/* ---- into the store ---- */

static void install(void *arg)
{
	struct qemu_template_work *work = arg;
	char *identity = qemu_identity_text(&work->identity);
	uint64_t bytes;

	work->err = pv_store_install(work->store, work->key, PV_STORE_VM, work->path, identity, &bytes, &work->msg);
	if (work->err == PV_OK)
		work->err = pv_store_evict(work->store, STORE_MAX, &work->msg);
	free(identity);
}

static void install_ended(struct qemu_template_work *work)
{
	struct qemu_template *template = work->template;

	if (work->err != PV_OK)
		qemu_templates_tell(template->all, "a boot template is not kept for later runs: %s", work->msg.text);
	unlink(work->path); /* it stays open */
	pv_store_unlock(template->lock);
	template->lock = NULL;
}

static void installed(void *arg)
{
	install_ended(arg);
	work_free(arg);
}

static const struct pv_job_ops installing = { .work = install, .done = installed, .lazy = true };

/* ---- what was just made ---- */

static void search(void *arg)
{
	struct qemu_template_work *work = arg;

	work->err = qemu_identity_find(work->own, work->uuid, &work->identity, &work->msg);
}

/* It is used from now on. False: there is nothing to install. */
static bool search_ended(struct qemu_template_work *work)
{
	struct qemu_template *template = work->template;
	struct qemu_identity *identity = &work->identity;

	if (work->err != PV_OK) {
		unlink(work->path);
		useless(template, work->msg.text);
		return false;
	}
	template->identity.saved_ns = identity->saved_ns;
	template->identity.n = identity->n;
	template->identity.places = pv_xmemdup(identity->places, identity->n * sizeof(*identity->places));
	qemu_template_set(template, TEMPLATE_READY);
	if (work->store == NULL)
		unlink(work->path);
	return work->store != NULL;
}

static void searched(void *arg)
{
	struct qemu_template_work *work = arg;

	work->job = NULL;
	if (search_ended(work))
		start_job(work, &installing);
	else
		work_free(work);
}

static const struct pv_job_ops searching = { .work = search, .done = searched };

void qemu_template_finish_work(struct qemu_template *template)
{
	struct qemu_template_work *work = template->work;

	if (work == NULL)
		return;
	pv_job_join(work->job);
	if (template->state == TEMPLATE_READY) {
		install_ended(work);
	} else if (work->own == NULL) {
		load_ended(work);
	} else if (search_ended(work)) {
		install(work);
		install_ended(work);
	}
	work_free(work);
}

/* ---- who makes it ---- */

/* What is damaged counts, too: the load finds it. */
static bool is_stored(const struct qemu_template *template)
{
	struct pv_errmsg msg = { 0 };

	return template->all->store != NULL &&
	       pv_store_look(template->all->store, template->key, PV_STORE_VM, &msg) != PV_ERR_NOENT;
}

void qemu_template_find(struct qemu_template *template, struct qemu_vm *vm)
{
	struct qemu_templates *all = template->all;
	struct pv_errmsg msg = { 0 };
	bool stored = is_stored(template);

	/* Somebody else makes it: the next boot may find it. */
	if (!stored && all->store != NULL &&
	    pv_store_lock(all->store, template->key, PV_STORE_VM, vm->name, &template->lock, NULL, &msg) == PV_ERR_BUSY)
		return;
	if (!stored && is_stored(template)) { /* who had the lock until now has made it */
		pv_store_unlock(template->lock);
		template->lock = NULL;
		stored = true;
	}
	if (stored) {
		template->state = TEMPLATE_LOADING;
		start_job(work_new(template, pv_store_path(all->store, template->key, PV_STORE_VM)), &loading);
		return;
	}
	template->maker = vm;
	template->state = TEMPLATE_MAKING;
	vm->way = QEMU_MAKES;
}

/* ---- from the maker's guest ---- */

static char *own_path(const struct qemu_template *template)
{
	return pv_xasprintf("%s/%s.snap", template->all->dir, template->key);
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
	struct qemu_template_work *work;
	struct pv_errmsg msg = { 0 };
	char *path = own_path(template);

	(void)done;
	template->maker = NULL;
	if (err == PV_OK)
		err = pv_snapshot_open(path, &template->own, &msg);
	else
		msg = *why;
	if (err == PV_OK) {
		work = work_new(template, path);
		work->own = template->own;
		memcpy(work->uuid, vm->uuid, sizeof(work->uuid));
		template->state = TEMPLATE_LOADING;
		start_job(work, &searching);
	} else {
		unlink(path);
		free(path);
		useless(template, msg.text);
	}
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
