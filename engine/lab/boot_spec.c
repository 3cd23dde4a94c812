/* The options of one boot: the profile's, under those staged at declaration, under those of the call. */
#include <stdlib.h>
#include <string.h>

#include "engine/lab/engine_internal.h"
#include "journal/journal.h"
#include "proto/mem.h"

#define DEFAULT_WAIT_MS 60000u

static void add_packed(struct pv_buf *out, const Pv__VmSpec *spec)
{
	size_t len;

	if (spec == NULL)
		return;
	len = pv__vm_spec__get_packed_size(spec);
	pv_buf_reserve(out, len);
	pv__vm_spec__pack(spec, out->data + out->len);
	out->len += len;
	out->data[out->len] = 0;
}

/* Encoded messages one behind the other decode as their merger: the last scalar wins, lists are joined. */
static Pv__VmSpec *merge(const struct pv_profile *profile, const Pv__VmSpec *const *layers, size_t n)
{
	Pv__VmSpec base = PV__VM_SPEC__INIT;
	struct pv_buf bytes = { 0 };
	Pv__VmSpec *merged;

	base.has_memory_bytes = 1;
	base.memory_bytes = profile->memory_bytes;
	base.has_cpus = 1;
	base.cpus = profile->cpus;
	base.kernel_cmdline = profile->cmdline;
	base.has_wait_ms = 1;
	base.wait_ms = DEFAULT_WAIT_MS;
	base.has_template_ = 1;
	base.template_ = 1;
	add_packed(&bytes, &base);
	for (size_t i = 0; i < n; i++)
		add_packed(&bytes, layers[i]);
	merged = pv__vm_spec__unpack(NULL, bytes.len, bytes.data);
	pv_buf_free(&bytes);
	PV_ASSERT(merged != NULL);
	return merged;
}

/* Of several files with one path the last stays. */
static void drop_replaced_files(Pv__VmSpec *spec)
{
	size_t kept = 0;

	for (size_t i = 0; i < spec->n_files; i++) {
		bool replaced = false;

		for (size_t j = i + 1; j < spec->n_files && !replaced; j++)
			replaced = strcmp(spec->files[i]->path, spec->files[j]->path) == 0;
		if (replaced)
			pv__boot_file__free_unpacked(spec->files[i], NULL);
		else
			spec->files[kept++] = spec->files[i];
	}
	spec->n_files = kept;
}

static void drop_files(Pv__VmSpec *spec)
{
	while (spec->n_files > 0)
		pv__boot_file__free_unpacked(spec->files[--spec->n_files], NULL);
}

/* The VM's own are added when the boot is decided. */
static void drop_disks(bool all, Pv__VmSpec *spec)
{
	size_t kept = 0;

	for (size_t i = 0; i < spec->n_disks; i++) {
		if (all || !spec->disks[i]->this_boot)
			pv__disk__free_unpacked(spec->disks[i], NULL);
		else
			spec->disks[kept++] = spec->disks[i];
	}
	spec->n_disks = kept;
}

static enum pv_err read_back(struct pv_engine *engine, Pv__BootFile *file, struct pv_errmsg *msg)
{
	Pv__Payload *content = file->content;
	void *data;
	size_t len;
	enum pv_err err;

	if (content == NULL || content->kind_case != PV__PAYLOAD__KIND_BLOB)
		return PV_OK;
	err = pv_journal_blob_get(engine->config.journal, content->blob->sha256.data, &data, &len, msg);
	if (err != PV_OK)
		return pv_err_wrap(msg, err, "content of the boot file %s", file->path);
	pv__blob__free_unpacked(content->blob, NULL);
	content->kind_case = PV__PAYLOAD__KIND_DATA;
	content->data.data = data;
	content->data.len = len;
	return PV_OK;
}

enum pv_err pv_engine_resolve_spec(struct pv_engine *engine, uint32_t vm, Pv__CallStarted__OpCase op,
                                   const Pv__VmSpec *now, Pv__VmSpec **out, struct pv_errmsg *msg)
{
	bool restore = op == PV__CALL_STARTED__OP_RESTORE;
	const struct pv_profile *profile;
	struct pv_vm_view view;
	Pv__VmSpec *spec;

	if (!pv_state_vm(engine->state, vm, &view))
		return pv_err_set(msg, PV_ERR_NOENT, "the VM is gone: its scope has ended");
	profile = pv_engine_profile(engine, view.profile);
	if (profile == NULL)
		return pv_err_set(msg, PV_ERR_NOENT, "unknown profile \"%s\"", view.profile);
	const Pv__VmSpec *const layers[] = { view.spec, restore ? view.last_spec : NULL, now };
	spec = merge(profile, layers, sizeof(layers) / sizeof(layers[0]));
	if (restore)
		drop_files(spec);
	drop_disks(restore, spec);
	drop_replaced_files(spec);
	for (size_t i = 0; i < spec->n_files; i++) {
		enum pv_err err = read_back(engine, spec->files[i], msg);

		if (err != PV_OK) {
			pv__vm_spec__free_unpacked(spec, NULL);
			return err;
		}
	}
	*out = spec;
	return PV_OK;
}

/* ---- snapshots ---- */

void pv_snapshot_facts_free(struct pv_snapshot_facts *facts)
{
	free(facts->vm_name);
	free(facts->profile);
	if (facts->spec != NULL)
		pv__vm_spec__free_unpacked(facts->spec, NULL);
	*facts = (struct pv_snapshot_facts){ .spec = NULL };
}

static enum pv_err look(struct pv_engine *engine, const char *path, const char *profile, const Pv__VmSpec *spec,
                        struct pv_snapshot_facts *facts, struct pv_errmsg *msg)
{
	if (engine->driver->look == NULL)
		return pv_err_set(msg, PV_ERR_UNSUPPORTED, "there are no snapshots here");
	return engine->driver->look(engine->driver_self, path, profile, spec, facts, msg);
}

enum pv_err pv_engine_look_at_snapshot(struct pv_engine *engine, const char *path, struct pv_snapshot_facts *facts,
                                       struct pv_errmsg *msg)
{
	*facts = (struct pv_snapshot_facts){ .spec = NULL };
	return look(engine, path, NULL, NULL, facts, msg);
}

void pv_engine_add_saved_disks(struct pv_engine *engine, Pv__Event *proposal)
{
	const struct pv_track *track = proposal->has_file ? pv_track(engine, proposal->file) : NULL;
	struct pv_snapshot_facts facts;
	const Pv__RestoreCall *restore;
	struct pv_errmsg msg;
	char *path;

	if (proposal->body_case != PV__EVENT__BODY_CALL_STARTED ||
	    proposal->call_started->op_case != PV__CALL_STARTED__OP_RESTORE ||
	    (track != NULL && pv_retrace_is_on(track)))
		return;
	restore = proposal->call_started->restore;
	if (restore->spec == NULL || restore->spec->n_saved_disks > 0)
		return;
	path = pv_xasprintf("%.*s", (int)restore->path.len, (const char *)restore->path.data);
	if (pv_engine_look_at_snapshot(engine, path, &facts, &msg) == PV_OK && facts.spec != NULL) {
		restore->spec->saved_disks = facts.spec->saved_disks;
		restore->spec->n_saved_disks = facts.spec->n_saved_disks;
		facts.spec->saved_disks = NULL;
		facts.spec->n_saved_disks = 0;
	}
	pv_snapshot_facts_free(&facts);
	free(path);
}

/* Takes over `spec`. */
static enum pv_err check(struct pv_engine *engine, const char *profile, Pv__VmSpec *spec, const char *path,
                         struct pv_errmsg *msg)
{
	struct pv_snapshot_facts facts = { .spec = NULL };
	enum pv_err err = look(engine, path, profile, spec, &facts, msg);

	pv_snapshot_facts_free(&facts);
	pv__vm_spec__free_unpacked(spec, NULL);
	return err;
}

enum pv_err pv_engine_check_restore(struct pv_engine *engine, uint32_t vm, const char *path, struct pv_errmsg *msg)
{
	struct pv_vm_view view;
	Pv__VmSpec *spec;
	enum pv_err err = pv_engine_resolve_spec(engine, vm, PV__CALL_STARTED__OP_RESTORE, NULL, &spec, msg);

	if (err != PV_OK)
		return err;
	PV_ASSERT(pv_state_vm(engine->state, vm, &view));
	return check(engine, view.profile, spec, path, msg);
}

enum pv_err pv_engine_check_restore_of(struct pv_engine *engine, const char *profile_name, const Pv__VmSpec *staged,
                                       const char *path, struct pv_errmsg *msg)
{
	const struct pv_profile *profile = pv_engine_profile(engine, profile_name);
	Pv__VmSpec *spec;

	if (profile == NULL)
		return pv_err_set(msg, PV_ERR_NOENT, "unknown profile \"%s\"", profile_name);
	spec = merge(profile, &staged, 1);
	drop_files(spec);
	drop_disks(true, spec);
	return check(engine, profile_name, spec, path, msg);
}
