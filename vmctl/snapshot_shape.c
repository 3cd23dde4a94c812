/* Whether a machine can go on from a snapshot, and if not, in what it differs. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "vmctl/snapshot_internal.h"

#define HASH_SHOWN 6 /* bytes of a hash that a message shows */

static const char *word(const char *text)
{
	return text && *text ? text : "(unknown)";
}

static enum pv_err differs(struct pv_errmsg *msg, const char *what, const char *saved, const char *now)
{
	return pv_err_set(msg, PV_ERR_INVAL, "%s: the snapshot has %s, the VM %s", what, saved, now);
}

static enum pv_err compare_words(const char *what, const char *saved, const char *now, struct pv_errmsg *msg)
{
	return !strcmp(word(saved), word(now)) ? PV_OK : differs(msg, what, word(saved), word(now));
}

static char *memory_text(uint64_t bytes)
{
	return bytes % (1 << 20) == 0 ? pv_xasprintf("%" PRIu64 "M", bytes >> 20)
	                              : pv_xasprintf("%" PRIu64 " bytes", bytes);
}

static enum pv_err compare_sizes(const Pvs__Shape *saved, const Pvs__Shape *shape, struct pv_errmsg *msg)
{
	char *had, *has;
	enum pv_err err;

	if (saved->memory_bytes != shape->memory_bytes) {
		had = memory_text(saved->memory_bytes);
		has = memory_text(shape->memory_bytes);
		err = differs(msg, "memory", had, has);
		free(had);
		free(has);
		return err;
	}
	if (saved->cpus != shape->cpus)
		return pv_err_set(msg, PV_ERR_INVAL, "cpus: the snapshot has %" PRIu32 ", the VM %" PRIu32, saved->cpus,
		                  shape->cpus);
	return PV_OK;
}

static char *hash_text(const ProtobufCBinaryData *hash)
{
	struct pv_buf text = { 0 };

	if (hash->len == 0)
		return pv_xstrdup("none");
	pv_buf_addstr(&text, "SHA-256 ");
	for (size_t i = 0; i < hash->len && i < HASH_SHOWN; i++)
		pv_buf_addf(&text, "%02x", hash->data[i]);
	return pv_buf_steal(&text);
}

static enum pv_err compare_hashes(const char *what, const ProtobufCBinaryData *saved, const ProtobufCBinaryData *now,
                                  struct pv_errmsg *msg)
{
	char *had, *has;
	enum pv_err err;

	if (saved->len == now->len && (saved->len == 0 || !memcmp(saved->data, now->data, saved->len)))
		return PV_OK;
	had = hash_text(saved);
	has = hash_text(now);
	err = differs(msg, what, had, has);
	free(had);
	free(has);
	return err;
}

/* ---- devices ---- */

static const Pvs__Device *find_device(const Pvs__Shape *shape, const char *id)
{
	for (size_t i = 0; i < shape->n_devices; i++)
		if (!strcmp(word(shape->devices[i]->id), word(id)))
			return shape->devices[i];
	return NULL;
}

static enum pv_err compare_device(const Pvs__Device *saved, const Pvs__Device *now, struct pv_errmsg *msg)
{
	char *what = pv_xasprintf("device '%s'", word(saved->id));
	enum pv_err err = compare_words(what, saved->driver, now->driver, msg);

	if (!err && saved->addr != now->addr)
		err = pv_err_set(msg, PV_ERR_INVAL,
		                 "%s: the snapshot has it at PCI address 0x%" PRIx32 ", the VM at 0x%" PRIx32, what,
		                 saved->addr, now->addr);
	if (!err && strcmp(saved->detail ? saved->detail : "", now->detail ? now->detail : "") != 0)
		err = compare_words(what, saved->detail, now->detail, msg);
	free(what);
	return err;
}

static enum pv_err compare_devices(const Pvs__Shape *saved, const Pvs__Shape *shape, struct pv_errmsg *msg)
{
	enum pv_err err = PV_OK;

	for (size_t i = 0; !err && i < saved->n_devices; i++) {
		const Pvs__Device *was = saved->devices[i], *is = find_device(shape, was->id);

		if (!is)
			return pv_err_set(msg, PV_ERR_INVAL, "device '%s' (%s): the snapshot has it, the VM has not",
			                  word(was->id), word(was->driver));
		err = compare_device(was, is, msg);
	}
	for (size_t i = 0; !err && i < shape->n_devices; i++)
		if (!find_device(saved, shape->devices[i]->id))
			err = pv_err_set(msg, PV_ERR_INVAL, "device '%s' (%s): the VM has it, the snapshot has not",
			                 word(shape->devices[i]->id), word(shape->devices[i]->driver));
	return err;
}

/* What a user has chosen comes first, what follows from it (the command line names the machine's console, say) behind it. */
enum pv_err pv_shape_fits(const Pvs__Shape *saved, const Pvs__Shape *shape, struct pv_errmsg *msg)
{
	enum pv_err err = compare_sizes(saved, shape, msg);

	if (!err)
		err = compare_words("machine type", saved->machine, shape->machine, msg);
	if (!err)
		err = compare_words("accelerator", saved->accel, shape->accel, msg);
	if (!err)
		err = compare_words("QEMU version", saved->qemu_version, shape->qemu_version, msg);
	if (!err)
		err = compare_hashes("kernel", &saved->kernel_sha256, &shape->kernel_sha256, msg);
	if (!err)
		err = compare_hashes("initrd", &saved->initrd_sha256, &shape->initrd_sha256, msg);
	if (!err)
		err = compare_hashes("provium's agent", &saved->agent_sha256, &shape->agent_sha256, msg);
	if (!err)
		err = compare_words("kernel command line", saved->cmdline, shape->cmdline, msg);
	return err ? err : compare_devices(saved, shape, msg);
}
