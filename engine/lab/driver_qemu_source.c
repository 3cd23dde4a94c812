/* Snapshots that VMs are restored from, kept open so that processes can be started ahead for them. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/lab/driver_qemu_template.h"
#include "proto/mem.h"

#define SOURCES_MAX 3u

static bool same_file(const struct pv_snapshot *a, const struct pv_snapshot *b)
{
	struct stat x, y;

	return fstat(pv_snapshot_fd(a), &x) == 0 && fstat(pv_snapshot_fd(b), &y) == 0 && x.st_dev == y.st_dev &&
	       x.st_ino == y.st_ino;
}

static bool fits(const struct qemu_recipe *recipe, const struct qemu_vm *vm)
{
	return recipe->profile == qemu_vm_profile(vm) && recipe->kvm == vm->kvm &&
	       recipe->memory_bytes == vm->spec->memory_bytes && recipe->cpus == vm->spec->cpus &&
	       strcmp(recipe->initrd, vm->initrd) == 0 && strcmp(recipe->cmdline, vm->cmdline) == 0;
}

static void source_free(struct qemu_templates *all, struct qemu_source *source)
{
	TAILQ_REMOVE(&all->sources, source, link);
	qemu_stock_finish(&source->stock);
	pv_store_unuse(source->use, true);
	free(source);
}

void qemu_sources_free(struct qemu_templates *all)
{
	struct qemu_source *source;

	while ((source = TAILQ_FIRST(&all->sources)) != NULL)
		source_free(all, source);
}

/* Those behind the first few, but for what is at work. */
static void drop_old(struct qemu_templates *all)
{
	struct qemu_source *source = TAILQ_FIRST(&all->sources);
	unsigned n = 0;

	while (source != NULL) {
		struct qemu_source *next = TAILQ_NEXT(source, link);

		if (++n > SOURCES_MAX && source->stock.n_restoring == 0)
			source_free(all, source);
		source = next;
	}
}

struct qemu_stock *qemu_source_stock(const struct qemu_vm *vm, struct pv_store_use **use)
{
	struct qemu_templates *all = vm->driver->templates;
	struct qemu_source *source;

	if (all == NULL || all->max_spares == 0 || vm->spec->has_rng_seed)
		return NULL;
	TAILQ_FOREACH (source, &all->sources, link) {
		if (same_file(source->stock.snapshot, pv_store_use_snapshot(*use)) && fits(&source->stock.recipe, vm))
			break;
	}
	if (source == NULL) {
		source = PV_NEW(struct qemu_source);
		qemu_stock_init(&source->stock, all, vm);
		source->use = *use;
		source->stock.snapshot = pv_store_use_snapshot(*use);
		*use = NULL;
	} else {
		TAILQ_REMOVE(&all->sources, source, link);
	}
	TAILQ_INSERT_HEAD(&all->sources, source, link);
	drop_old(all);
	return &source->stock;
}
