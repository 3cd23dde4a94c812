/* QEMU processes that are started ahead, for the boot templates that the run is using: the start of a process is a third of what a boot from a template
 * takes. They are nobody's VM until a boot takes one, end by themselves when this process does, and go when the run ends. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/lab/driver_qemu_template.h"
#include "proto/mem.h"
#include "vmctl/hostfile.h"
#include "vmctl/keeper.h"

/* What the host must have left, that a process more does not matter. */
#define AVAILABLE_KIB (1u << 20)

struct qemu_spare {
	struct qemu_template *template;
	struct pv_machine_spare *machine;
	char *dir;
	char *socket_dir;
	char uuid[37];
	TAILQ_ENTRY(qemu_spare) link;
};

/* Its directories go, but for what a VM has taken out of them. */
static void spare_free(struct qemu_spare *spare)
{
	struct qemu_templates *all = spare->template->all;
	struct pv_errmsg msg;

	TAILQ_REMOVE(&all->spares, spare, link);
	all->n_spares--;
	spare->template->n_spares--;
	pv_machine_spare_destroy(spare->machine);
	pv_keeper_remove_sockets(spare->socket_dir);
	if (pv_hostfile_remove_tree(spare->dir, &msg) != PV_OK)
		qemu_templates_tell(all, "%s", msg.text);
	free(spare->dir);
	free(spare->socket_dir);
	free(spare);
}

void qemu_spares_drop(struct qemu_templates *all, const struct qemu_template *template)
{
	struct qemu_spare *spare = TAILQ_FIRST(&all->spares);

	while (spare != NULL) {
		struct qemu_spare *next = TAILQ_NEXT(spare, link);

		if (template == NULL || spare->template == template)
			spare_free(spare);
		spare = next;
	}
}

/* ---- starting one ---- */

static bool host_has_room(void)
{
	FILE *file = fopen("/proc/meminfo", "re");
	char line[128];
	unsigned long kib = 0;

	while (file != NULL && kib == 0 && fgets(line, sizeof(line), file) != NULL)
		(void)sscanf(line, "MemAvailable: %lu kB", &kib);
	if (file != NULL)
		fclose(file);
	return kib >= AVAILABLE_KIB;
}

static void fill_config(struct qemu_spare *spare, struct pv_machine_config *config)
{
	const struct qemu_recipe *recipe = &spare->template->recipe;

	*config = (struct pv_machine_config){
		.name = "spare",
		.dir = spare->dir,
		.socket_dir = spare->socket_dir,
		.qemu = recipe->profile->qemu,
		.machine = recipe->profile->machine,
		.kvm = recipe->kvm,
		.memory_bytes = recipe->memory_bytes,
		.cpus = recipe->cpus,
		.kernel = recipe->profile->kernel,
		.initrd = recipe->initrd,
		.cmdline = recipe->cmdline,
		.uuid = spare->uuid,
		.from = qemu_template_snapshot(spare->template),
	};
}

static enum pv_err start(struct qemu_spare *spare, struct pv_errmsg *msg)
{
	struct qemu_templates *all = spare->template->all;
	struct pv_machine_config config;
	struct qemu_patches patches;
	enum pv_err err = pv_hostfile_mkdirs(spare->dir, msg);

	if (err == PV_OK && mkdir(spare->socket_dir, 0700) != 0)
		err = pv_err_sys(msg, PV_ERR_IO, errno, "cannot create the directory %s", spare->socket_dir);
	if (err != PV_OK)
		return err;
	qemu_make_uuid(spare->uuid);
	fill_config(spare, &config);
	qemu_identity_patches(&spare->template->identity, spare->uuid, &patches);
	config.patches = patches.all;
	config.n_patches = patches.n;
	err = pv_machine_spare_start(pv_engine_base(all->driver->engine), &config, &spare->machine, msg);
	free(patches.all);
	return err;
}

/* A boot without it is slower, and that is all. */
static void start_one(struct qemu_template *template)
{
	struct qemu_templates *all = template->all;
	struct qemu_spare *spare = PV_NEW(struct qemu_spare);
	struct pv_errmsg msg;

	spare->template = template;
	spare->dir = pv_xasprintf("%s/spare%u", all->dir, ++all->last_spare);
	spare->socket_dir = pv_xasprintf("%s/s%u", all->driver->socket_dir, all->last_spare);
	TAILQ_INSERT_TAIL(&all->spares, spare, link);
	all->n_spares++;
	template->n_spares++;
	if (start(spare, &msg) != PV_OK)
		spare_free(spare);
}

static struct qemu_spare *oldest_of_others(const struct qemu_template *template)
{
	struct qemu_spare *spare;

	TAILQ_FOREACH (spare, &template->all->spares, link) {
		if (spare->template != template)
			return spare;
	}
	return NULL;
}

static void stock(void *arg)
{
	struct qemu_template *template = arg;
	struct qemu_templates *all = template->all;
	struct qemu_spare *old;

	if (template->state != TEMPLATE_READY || !host_has_room())
		return;
	if (template->n_spares < template->spares_wanted && all->n_spares >= all->max_spares &&
	    (old = oldest_of_others(template)) != NULL)
		spare_free(old);
	while (template->n_spares < template->spares_wanted && all->n_spares < all->max_spares) {
		unsigned before = template->n_spares;

		start_one(template);
		if (template->n_spares == before) /* it has failed */
			return;
	}
}

void qemu_spares_want(struct qemu_template *template)
{
	struct qemu_templates *all = template->all;

	if (template->spares_wanted < template->n_restoring)
		template->spares_wanted = template->n_restoring;
	if (template->spares_wanted == 0 || all->max_spares == 0)
		return;
	template->stock.run = stock;
	template->stock.arg = template;
	pv_engine_defer(all->driver->engine, &template->stock);
}

/* ---- taking one ---- */

static struct qemu_spare *ready_one(const struct qemu_template *template)
{
	struct qemu_spare *spare;

	TAILQ_FOREACH (spare, &template->all->spares, link) {
		if (spare->template == template && pv_machine_spare_is_ready(spare->machine))
			return spare;
	}
	return NULL;
}

bool qemu_spare_take(struct qemu_vm *vm, struct pv_machine_config *config, const Pva__Hello *hello)
{
	struct qemu_spare *spare = ready_one(vm->template);
	struct pv_errmsg msg;
	enum pv_err err;

	/* Its initrd is the template's. */
	if (spare == NULL || vm->spec->n_files > 0)
		return false;
	memcpy(vm->uuid, spare->uuid, sizeof(vm->uuid));
	err = pv_machine_start_spare(spare->machine, config, hello, &qemu_machine_handler, qemu_template_loaded, vm,
	                             &vm->machine, &msg);
	spare->machine = NULL;
	spare_free(spare);
	return err == PV_OK;
}
