/* QEMU processes that are started ahead, for the boot templates and snapshots that the run is using: the start of a process is a third of what a boot from a template
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
	struct qemu_stock *stock;
	struct pv_machine_spare *machine;
	char *dir;
	char *socket_dir;
	char uuid[37];
	TAILQ_ENTRY(qemu_spare) link;
};

/* Its directories go, but for what a VM has taken out of them. */
static void spare_free(struct qemu_spare *spare)
{
	struct qemu_templates *all = spare->stock->all;
	struct pv_errmsg msg;

	TAILQ_REMOVE(&all->spares, spare, link);
	all->n_spares--;
	spare->stock->n_spares--;
	pv_machine_spare_destroy(spare->machine);
	pv_keeper_remove_sockets(spare->socket_dir);
	if (pv_hostfile_remove_tree(spare->dir, &msg) != PV_OK)
		qemu_templates_tell(all, "%s", msg.text);
	free(spare->dir);
	free(spare->socket_dir);
	free(spare);
}

void qemu_spares_drop(struct qemu_stock *stock)
{
	struct qemu_spare *spare = TAILQ_FIRST(&stock->all->spares);

	while (spare != NULL) {
		struct qemu_spare *next = TAILQ_NEXT(spare, link);

		if (spare->stock == stock)
			spare_free(spare);
		spare = next;
	}
}

/* ---- the stock ---- */

void qemu_stock_init(struct qemu_stock *stock, struct qemu_templates *all, const struct qemu_vm *vm)
{
	*stock = (struct qemu_stock){
		.all = all,
		.recipe = { .profile = qemu_vm_profile(vm),
		            .initrd = pv_xstrdup(vm->initrd),
		            .cmdline = pv_xstrdup(vm->cmdline),
		            .kvm = vm->kvm,
		            .memory_bytes = vm->spec->memory_bytes,
		            .cpus = vm->spec->cpus },
	};
}

void qemu_stock_finish(struct qemu_stock *stock)
{
	qemu_spares_drop(stock);
	pv_engine_undefer(stock->all->driver->engine, &stock->refill);
	free(stock->recipe.initrd);
	free(stock->recipe.cmdline);
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
	const struct qemu_recipe *recipe = &spare->stock->recipe;

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
		.from = spare->stock->snapshot,
	};
}

static enum pv_err start(struct qemu_spare *spare, struct pv_errmsg *msg)
{
	struct qemu_templates *all = spare->stock->all;
	struct pv_machine_config config;
	struct qemu_patches patches = { .all = NULL };
	enum pv_err err = pv_hostfile_mkdirs(spare->dir, msg);

	if (err == PV_OK && mkdir(spare->socket_dir, 0700) != 0)
		err = pv_err_sys(msg, PV_ERR_IO, errno, "cannot create the directory %s", spare->socket_dir);
	if (err != PV_OK)
		return err;
	qemu_make_uuid(spare->uuid);
	fill_config(spare, &config);
	if (spare->stock->identity != NULL)
		qemu_identity_patches(spare->stock->identity, spare->uuid, &patches);
	config.patches = patches.all;
	config.n_patches = patches.n;
	err = pv_machine_spare_start(pv_engine_base(all->driver->engine), &config, &spare->machine, msg);
	free(patches.all);
	return err;
}

/* A guest without it is slower, and that is all. */
static bool start_one(struct qemu_stock *stock)
{
	struct qemu_templates *all = stock->all;
	struct qemu_spare *spare = PV_NEW(struct qemu_spare);
	struct pv_errmsg msg;
	bool good;

	spare->stock = stock;
	spare->dir = pv_xasprintf("%s/spare%u", all->dir, ++all->last_spare);
	spare->socket_dir = pv_xasprintf("%s/s%u", all->driver->socket_dir, all->last_spare);
	TAILQ_INSERT_TAIL(&all->spares, spare, link);
	all->n_spares++;
	stock->n_spares++;
	good = start(spare, &msg) == PV_OK;
	if (!good)
		spare_free(spare);
	return good;
}

static struct qemu_spare *oldest_of_others(const struct qemu_stock *stock)
{
	struct qemu_spare *spare;

	TAILQ_FOREACH (spare, &stock->all->spares, link) {
		if (spare->stock != stock)
			return spare;
	}
	return NULL;
}

static void refill(void *arg)
{
	struct qemu_stock *stock = arg;
	struct qemu_templates *all = stock->all;
	struct qemu_spare *old;

	if (stock->snapshot == NULL || !host_has_room())
		return;
	if (stock->n_spares < stock->spares_wanted && all->n_spares >= all->max_spares &&
	    (old = oldest_of_others(stock)) != NULL)
		spare_free(old);
	while (stock->n_spares < stock->spares_wanted && all->n_spares < all->max_spares && start_one(stock))
		;
}

void qemu_stock_enter(struct qemu_stock *stock)
{
	stock->n_restoring++;
}

void qemu_stock_leave(struct qemu_stock *stock, bool well)
{
	if (well && stock->spares_wanted < stock->n_restoring)
		stock->spares_wanted = stock->n_restoring;
	stock->n_restoring--;
	if (!well || stock->all->max_spares == 0)
		return;
	stock->refill.run = refill;
	stock->refill.arg = stock;
	pv_engine_defer(stock->all->driver->engine, &stock->refill);
}

/* ---- taking one ---- */

bool qemu_spare_take(struct qemu_stock *stock, struct qemu_vm *vm, const struct pv_machine_config *config,
                     const Pva__Hello *hello, pv_machine_cb *loaded)
{
	struct qemu_spare *spare;
	struct pv_errmsg msg;
	enum pv_err err;

	TAILQ_FOREACH (spare, &stock->all->spares, link) {
		if (spare->stock == stock && pv_machine_spare_is_ready(spare->machine))
			break;
	}
	/* What else its command line has. */
	if (spare == NULL || vm->spec->n_files > 0 || config->has_rng_seed || config->n_nics > 0)
		return false;
	memcpy(vm->uuid, spare->uuid, sizeof(vm->uuid));
	err = pv_machine_start_spare(spare->machine, config, hello, &qemu_machine_handler, loaded, vm, &vm->machine,
	                             &msg);
	spare->machine = NULL;
	spare_free(spare);
	return err == PV_OK;
}
