/* What provium adds to an image: its agent and the drivers that reach it. */
#include <stdlib.h>
#include <string.h>

#include "vmctl/image_internal.h"

#define MODULES_DIR "lib/provium/modules"

/* Without these the agent's port does not appear. */
static const char *const port_drivers[] = { "virtio_pci", "virtio_console", NULL };
/* Loaded after them, so that what a kernel lacks is missed only by tests that use it. pvpanic tells the host of a panic at once; Linux
 * 6.1 has a driver each for the ISA and the PCI device. */
static const char *const other_drivers[] = { "virtio_net",  "virtio_blk",   "virtio_rng",
	                                     "pvpanic_pci", "pvpanic_mmio", NULL };

enum pv_err pv_image_want_drivers(struct pv_modules *modules, struct pv_errmsg *msg)
{
	for (const char *const *name = port_drivers; *name; name++) {
		enum pv_err err = pv_modules_want(modules, *name, msg);

		if (err == PV_ERR_NOENT)
			return pv_err_wrap(
			    msg, err,
			    "module directory %s lacks a driver for the agent's port; give the directory of the "
			    "kernel that is booted (with modules.builtin if the driver is built in)",
			    modules->dir);
		if (err)
			return err;
	}
	for (const char *const *name = other_drivers; *name; name++) {
		enum pv_err err = pv_modules_want(modules, *name, msg);

		if (err && err != PV_ERR_NOENT)
			return err;
	}
	if (msg)
		msg->text[0] = '\0';
	return PV_OK;
}

static void add_modules(struct pv_modules *modules, struct pv_cpio *out)
{
	struct pv_module *module;
	struct pv_buf list = { 0 };

	STAILQ_FOREACH (module, &modules->wanted, next) {
		char *path = pv_xasprintf(MODULES_DIR "/%s.ko", module->name);

		pv_cpio_add_file(out, path, 0644, module->ko.data, module->ko.len);
		pv_buf_addf(&list, "/%s\n", path);
		free(path);
	}
	pv_cpio_add_file(out, "lib/provium/modules.list", 0644, list.data, list.len);
	pv_buf_free(&list);
}

enum pv_err pv_image_overlay(const struct pv_image_spec *spec, struct pv_modules *modules, struct pv_cpio *out,
                             struct pv_errmsg *msg)
{
	enum pv_err err;

	/* The kernel opens /dev/console for init before anything is mounted; without it init has no output. */
	pv_cpio_add_node(out, "dev/console", S_IFCHR | 0600, 5, 1);
	if (!spec->overlay) {
		err = pv_cpio_add_host_file(out, "sbin/provium-agent", 0755, spec->agent, msg);
		if (err)
			return pv_err_wrap(msg, err, "cannot pack the agent");
	}
	if (modules)
		add_modules(modules, out);
	pv_cpio_finish(out);
	return PV_OK;
}

size_t pv_image_padding(uint64_t offset)
{
	return (size_t)(-offset & 3);
}
