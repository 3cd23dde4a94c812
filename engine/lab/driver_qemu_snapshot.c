/* Snapshots of VMs, and VMs that go on from one.
 *
 * A restored machine stands still until its first resume, and its agent is greeted then: by the restore itself, or, for one that stays paused, by the
 * resume that comes later, whose outcome waits for the agent's answer. A restore that fails, for whatever reason, leaves no machine. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/lab/driver_qemu_net.h"
#include "engine/lab/driver_qemu_template.h"
#include "proto/mem.h"
#include "vmctl/accel.h"
#include "vmctl/image.h"
#include "vmctl/job.h"
#include "vmctl/qemu_args.h"
#include "vmctl/snapshot_store.h"

/* ---- the shape of a VM ---- */

struct shape {
	Pvs__Shape message;
	char qemu_version[32];
	uint8_t kernel[32], initrd[32], agent[32];
	char *cmdline;
};

static void set_hash(protobuf_c_boolean *has, ProtobufCBinaryData *field, uint8_t hash[32])
{
	*has = 1;
	field->data = hash;
	field->len = 32;
}

/* The agent of an image that brings its own is part of its initrd. */
static enum pv_err hash_files(const struct qemu_driver *driver, const struct pv_profile *profile, struct shape *out,
                              struct pv_errmsg *msg)
{
	const char *agent = profile->agent_overlay != NULL ? profile->agent_overlay : driver->agent;
	enum pv_err err = pv_image_hash(profile->kernel, out->kernel, msg);

	set_hash(&out->message.has_kernel_sha256, &out->message.kernel_sha256, out->kernel);
	if (err == PV_OK)
		err = pv_image_hash(profile->initrd, out->initrd, msg);
	set_hash(&out->message.has_initrd_sha256, &out->message.initrd_sha256, out->initrd);
	if (err != PV_OK || !profile->inject_agent)
		return err;
	set_hash(&out->message.has_agent_sha256, &out->message.agent_sha256, out->agent);
	return pv_image_hash(agent, out->agent, msg);
}

/* Its strings are the profile's and its own; free the command line. */
static enum pv_err make_shape(const struct qemu_driver *driver, const struct pv_profile *profile,
                              const Pv__VmSpec *spec, bool kvm, struct shape *out, struct pv_errmsg *msg)
{
	struct pv_machine_config config = {
		.machine = profile->machine, .kvm = kvm, .memory_bytes = spec->memory_bytes, .cpus = spec->cpus
	};
	enum pv_err err;

	*out = (struct shape){ .message = PVS__SHAPE__INIT };
	err = pv_image_cmdline(spec->kernel_cmdline, profile->inject_agent, &out->cmdline, msg);
	if (err != PV_OK)
		return err;
	config.cmdline = out->cmdline;
	pv_machine_shape(&config, &out->message);
	err = hash_files(driver, profile, out, msg);
	if (err == PV_OK)
		err = pv_qemu_version(profile->qemu, out->qemu_version, msg);
	out->message.qemu_version = out->qemu_version;
	if (err != PV_OK)
		free(out->cmdline);
	return err;
}

static enum pv_err check_fits(const struct qemu_driver *driver, const struct pv_profile *profile,
                              const Pv__VmSpec *spec, bool kvm, const struct pv_snapshot *snapshot,
                              struct pv_errmsg *msg)
{
	const Pvs__Manifest *manifest = pv_snapshot_manifest(snapshot);
	const char *saved = manifest->profile != NULL ? manifest->profile : "";
	struct shape shape;
	enum pv_err err;

	if (strcmp(saved, profile->name) != 0)
		return pv_err_set(msg, PV_ERR_INVAL, "%s: profile: the snapshot has %s, the VM %s",
		                  pv_snapshot_path(snapshot), saved, profile->name);
	if (manifest->held)
		return pv_err_set(msg, PV_ERR_FOREIGN, "%s is a boot template", pv_snapshot_path(snapshot));
	err = make_shape(driver, profile, spec, kvm, &shape, msg);
	if (err != PV_OK)
		return err;
	/* The machine is made with the devices that the snapshot has. */
	shape.message.n_devices = manifest->shape->n_devices;
	shape.message.devices = manifest->shape->devices;
	err = pv_shape_fits(manifest->shape, &shape.message, msg);
	free(shape.cmdline);
	return err == PV_OK ? PV_OK : pv_err_wrap(msg, err, "%s", pv_snapshot_path(snapshot));
}

/* ---- what a file says ---- */

static bool would_use_kvm(const struct qemu_driver *driver, const struct pv_profile *profile)
{
	const char *wish = driver->accel != NULL ? driver->accel : profile->accel;
	struct pv_errmsg why;

	return strcmp(wish, "tcg") != 0 && pv_accel_kvm_works(&why);
}

enum pv_err qemu_look(void *self, const char *path, const char *profile_name, const Pv__VmSpec *spec,
                      struct pv_snapshot_facts *facts, struct pv_errmsg *msg)
{
	struct qemu_driver *driver = self;
	const struct pv_profile *profile;
	const Pvs__Manifest *manifest;
	struct pv_snapshot *snapshot;
	enum pv_err err = pv_snapshot_open(path, &snapshot, msg);

	if (err != PV_OK)
		return err;
	manifest = pv_snapshot_manifest(snapshot);
	profile = profile_name != NULL ? pv_engine_profile(driver->engine, profile_name) : NULL;
	if (profile != NULL)
		err = check_fits(driver, profile, spec, would_use_kvm(driver, profile), snapshot, msg);
	if (err == PV_OK) {
		size_t n = manifest->n_disks;

		facts->vm_name = pv_xstrdup(manifest->vm_name != NULL ? manifest->vm_name : "");
		facts->profile = pv_xstrdup(manifest->profile != NULL ? manifest->profile : "");
		if (manifest->has_spec)
			facts->spec = pv__vm_spec__unpack(NULL, manifest->spec.len, manifest->spec.data);
		if (facts->spec != NULL && n > 0)
			qemu_saved_disks(manifest, facts->spec);
	}
	pv_snapshot_close(snapshot);
	return err;
}

/* ---- saving ---- */

static void on_saved(void *arg, enum pv_err err, const struct pv_machine_snapshot_done *done,
                     const struct pv_errmsg *msg)
{
	struct qemu_call *call = arg;
	Pv__CallEnded ended = PV__CALL_ENDED__INIT;
	Pv__SnapshotResult result = PV__SNAPSHOT_RESULT__INIT;

	if (call->reported)
		return;
	if (err != PV_OK) {
		qemu_call_error(call, PV__ERROR_KIND__ERROR_KIND_FAILED, 0, msg->text);
		return;
	}
	result.has_file_bytes = result.has_stopped_ns = 1;
	result.file_bytes = done->file_bytes;
	result.stopped_ns = done->stopped_ns;
	ended.outcome_case = PV__CALL_ENDED__OUTCOME_SNAPSHOT;
	ended.snapshot = &result;
	qemu_call_report(call, &ended);
}

/* What lies in the directory of the run is not for later than the run. */
static bool is_of_run(const struct qemu_driver *driver, const char *path)
{
	size_t len = strlen(driver->run_dir);

	return strncmp(path, driver->run_dir, len) == 0 && path[len] == '/';
}

static void save(struct qemu_call *call, const struct shape *shape, const struct qemu_saving *disks, const char *path,
                 bool paused)
{
	struct qemu_vm *vm = call->vm;
	Pvs__Manifest manifest = PVS__MANIFEST__INIT;
	struct pv_machine_snapshot what = { .path = path,
		                            .manifest = &manifest,
		                            .disk_paths = (const char *const *)disks->paths,
		                            .durable = !is_of_run(vm->driver, path),
		                            .stay_paused = paused,
		                            .with_console = true };
	Pv__VmSpec spec = *vm->spec;
	uint8_t *packed;

	spec.n_files = 0; /* they are in the guest */
	spec.files = NULL;
	spec.n_disks = spec.n_saved_disks = 0; /* the manifest has them */
	packed = pv_xmalloc(pv__vm_spec__get_packed_size(&spec) + 1);
	manifest.shape = (Pvs__Shape *)&shape->message;
	manifest.vm_name = vm->name;
	manifest.profile = qemu_vm_profile(vm)->name;
	manifest.has_spec = 1;
	manifest.spec.len = pv__vm_spec__pack(&spec, packed);
	manifest.spec.data = packed;
	manifest.boot_id = vm->guest_boot_id;
	manifest.n_disks = disks->n;
	manifest.disks = disks->list;
	pv_machine_snapshot(vm->machine, &what, on_saved, call);
	free(packed);
}

static void save_with_devices(struct qemu_call *call, struct shape *shape, const char *path, bool paused)
{
	size_t n_nics;
	Pvs__Device *nics = qemu_nics_as_devices(call->vm, &n_nics), **list;
	struct qemu_saving disks;

	qemu_disks_for_saving(call->vm, &disks);
	list = pv_xcalloc(n_nics + disks.n + 1, sizeof(*list));
	for (size_t i = 0; i < n_nics; i++)
		list[i] = &nics[i];
	for (size_t i = 0; i < disks.n; i++)
		list[n_nics + i] = &disks.devices[i];
	shape->message.n_devices = n_nics + disks.n;
	shape->message.devices = list;
	save(call, shape, &disks, path, paused);
	qemu_saving_free(&disks);
	free(list);
	free(nics);
}

static void save_now(struct qemu_call *call, const char *path, bool paused)
{
	struct qemu_vm *vm = call->vm;
	struct pv_errmsg msg;
	struct shape shape;

	if (make_shape(vm->driver, qemu_vm_profile(vm), vm->spec, vm->kvm, &shape, &msg) != PV_OK) {
		qemu_call_refuse(call, PV__ERROR_KIND__ERROR_KIND_FAILED, "%s", msg.text);
		return;
	}
	save_with_devices(call, &shape, path, paused);
	free(shape.cmdline);
}

/* A VM of another runner that runs, or is about to, and whose agent has not answered yet: to the machine it is a guest that boots. */
static bool is_met_anew(const struct qemu_vm *vm)
{
	struct pv_vm_view view;

	return vm->taken_over && pv_state_vm(pv_engine_state(vm->driver->engine), vm->id, &view) &&
	       view.state == PV__VM_STATE__VM_STATE_BOOTED;
}

void qemu_save_late(struct qemu_vm *vm)
{
	struct qemu_call *call = vm->save;

	if (call == NULL || is_met_anew(vm) || !qemu_nics_are_settled(vm))
		return;
	vm->save = NULL;
	if (!call->reported)
		save_now(call, vm->save_path, vm->save_paused);
}

/* What a runner that was killed had written of the same file: it has another name until it is whole. */
static void remove_cut(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *dir_path = pv_xasprintf("%.*s", slash != NULL ? (int)(slash - path) + 1 : 0, path);
	char *prefix = pv_xasprintf("%s.tmp-", slash != NULL ? slash + 1 : path);
	DIR *dir = opendir(dir_path);
	struct dirent *entry;

	while (dir != NULL && (entry = readdir(dir)) != NULL)
		if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0)
			(void)unlinkat(dirfd(dir), entry->d_name, 0);
	if (dir != NULL)
		closedir(dir);
	free(prefix);
	free(dir_path);
}

void qemu_snapshot(struct qemu_call *call, const Pv__SnapshotCall *snapshot)
{
	char *path = pv_xasprintf("%.*s", (int)snapshot->path.len, (const char *)snapshot->path.data);

	if (call->again)
		remove_cut(path);
	call->vm->save = call;
	free(call->vm->save_path);
	call->vm->save_path = path;
	call->vm->save_paused = snapshot->paused;
	qemu_save_late(call->vm);
}

/* ---- a thread makes the file mappable, if it is not ---- */

struct qemu_restore_work {
	struct qemu_driver *driver;
	struct qemu_vm *vm; /* NULL: nobody waits for it any more */
	struct pv_job *job;
	char *path;
	struct qemu_saved_files files;
	struct pv_store_use *use;
	enum pv_err err;
	struct pv_errmsg msg;
	LIST_ENTRY(qemu_restore_work) link;
};

static void work_free(struct qemu_restore_work *work)
{
	LIST_REMOVE(work, link);
	pv_store_unuse(work->use, true);
	qemu_saved_files_free(&work->files);
	free(work->path);
	free(work);
}

static void open_file(void *arg)
{
	struct qemu_restore_work *work = arg;

	work->err = pv_store_use(work->driver->snapshots, work->path, &work->use, &work->msg);
	if (work->err == PV_OK)
		work->err = qemu_saved_files_make(&work->files, pv_store_use_snapshot(work->use), &work->msg);
}

/* Hot copies of what is packed lie in the cache of fixtures, wherever the file is. */
static enum pv_err open_store(struct qemu_driver *driver, struct pv_errmsg *msg)
{
	if (driver->snapshots != NULL)
		return PV_OK;
	if (driver->snapshot_dir == NULL)
		return pv_err_set(msg, PV_ERR_UNSUPPORTED, "this run has no cache of snapshots");
	return pv_store_open(driver->snapshot_dir, &driver->snapshots, msg);
}

void qemu_restores_end(struct qemu_driver *driver)
{
	struct qemu_restore_work *work;

	while ((work = LIST_FIRST(&driver->restores)) != NULL) {
		pv_job_join(work->job);
		work_free(work);
	}
	if (driver->snapshots != NULL)
		pv_store_cool(driver->snapshots);
	pv_store_close(driver->snapshots);
	driver->snapshots = NULL;
}

/* ---- restoring ---- */

static void report(struct qemu_vm *vm, const Pva__HelloReply *hello, bool paused)
{
	Pv__CallEnded ended = PV__CALL_ENDED__INIT;
	Pv__BootResult result = PV__BOOT_RESULT__INIT;

	result.accel = (char *)(vm->kvm ? "kvm" : "tcg");
	result.has_from_template = 1;
	result.has_qemu_pid = result.has_qemu_start_ticks = 1;
	result.qemu_pid = (uint32_t)pv_machine_pid(vm->machine);
	result.qemu_start_ticks = pv_machine_start_ticks(vm->machine);
	result.uuid = vm->uuid;
	if (hello != NULL) {
		result.agent_version = hello->agent_version;
		result.kernel_release = hello->kernel_release;
	}
	result.boot_id = vm->guest_boot_id;
	result.has_memory_bytes = result.has_cpus = 1;
	result.memory_bytes = vm->spec->memory_bytes;
	result.cpus = vm->spec->cpus;
	result.has_console_start = 1;
	result.console_start = pv_machine_console_start(vm->machine);
	result.has_paused = paused;
	result.paused = paused;
	result.has_warm = result.warm = vm->warm;
	if (vm->stock != NULL)
		qemu_stock_leave(vm->stock, true);
	vm->stock = NULL;
	ended.outcome_case = PV__CALL_ENDED__OUTCOME_BOOT;
	ended.boot = &result;
	qemu_call_report(vm->restore, &ended);
	vm->restore = NULL;
}

void qemu_report_restored(struct qemu_vm *vm, const Pva__HelloReply *hello)
{
	report(vm, hello, false);
}

void qemu_fill_restored_hello(struct qemu_vm *vm, Pva__Hello *hello, uint8_t *entropy)
{
	struct timespec now;

	qemu_fill_hello(vm, hello, entropy, true);
	hello->has_restored = hello->restored = 1;
	hello->has_set_rtc = hello->set_rtc = vm->spec->has_initial_time_ns;
	if (hello->has_realtime_ns)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	hello->has_realtime_ns = 1;
	hello->realtime_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void ignore_resumed(void *arg, enum pv_err err, const struct pv_errmsg *msg)
{
	(void)arg; /* its failure is the machine's */
	(void)err;
	(void)msg;
}

/* The first resume of the machine: the agent's clock and randomness are those of this moment. */
static void greet(struct qemu_vm *vm)
{
	uint8_t entropy[QEMU_ENTROPY_BYTES];
	Pva__Hello hello;

	qemu_fill_restored_hello(vm, &hello, entropy);
	pv_machine_set_hello(vm->machine, &hello);
	pv_machine_resume(vm->machine, ignore_resumed, NULL);
}

static void set_boot_id(struct qemu_vm *vm, const char *boot_id)
{
	free(vm->guest_boot_id);
	vm->guest_boot_id = pv_xstrdup(boot_id != NULL ? boot_id : "");
}

/* A pv_machine_cb: the state is in place. A failure comes through the machine's handler as well. */
static void on_loaded(void *arg, enum pv_err err, const struct pv_errmsg *msg)
{
	struct qemu_vm *vm = arg;

	(void)msg;
	if (err != PV_OK || vm->restore == NULL)
		return;
	if (!vm->restore->stays_paused) {
		greet(vm);
		return;
	}
	vm->ungreeted = true;
	report(vm, NULL, true);
}

static enum pv_err start(struct qemu_vm *vm, const struct qemu_restore_work *work, struct pv_store_use **use,
                         struct pv_errmsg *msg)
{
	const struct pv_profile *profile = qemu_vm_profile(vm);
	struct pv_snapshot *snapshot = pv_store_use_snapshot(*use);
	const Pvs__Shape *shape = pv_snapshot_manifest(snapshot)->shape;
	struct pv_machine_config config;
	struct pv_machine_nic *nics;
	uint8_t entropy[QEMU_ENTROPY_BYTES];
	Pva__Hello hello;
	enum pv_err err = check_fits(vm->driver, profile, vm->spec, vm->kvm, snapshot, msg);

	if (err == PV_OK)
		err = qemu_check_declared_disks(vm, snapshot, msg);
	if (err != PV_OK)
		return err;
	qemu_boot_config(vm, profile, &config);
	config.has_rtc = false; /* the guest's goes on, or is set by the hello */
	config.keeper = qemu_keeper(vm->driver);
	config.from = snapshot;
	nics = qemu_nics_for_restore(vm, shape->devices, shape->n_devices, &config.n_nics);
	config.nics = nics;
	config.disks = work->files.disks;
	config.n_disks = work->files.n;
	qemu_make_uuid(vm->uuid);
	set_boot_id(vm, pv_snapshot_manifest(snapshot)->boot_id);
	qemu_fill_restored_hello(vm, &hello, entropy);
	vm->stock = config.n_nics + config.n_disks == 0 ? qemu_source_stock(vm, use) : NULL;
	if (vm->stock != NULL)
		qemu_stock_enter(vm->stock);
	vm->warm = vm->stock != NULL && qemu_spare_take(vm->stock, vm, &config, &hello, on_loaded);
	if (!vm->warm)
		err = pv_machine_start_from(pv_engine_base(vm->driver->engine), &config, &hello, &qemu_machine_handler,
		                            on_loaded, vm, &vm->machine, msg);
	free(nics);
	return err;
}

static void opened(void *arg)
{
	struct qemu_restore_work *work = arg;
	struct qemu_vm *vm = work->vm;
	struct pv_errmsg msg = work->msg;
	enum pv_err err = work->err;

	if (vm != NULL) {
		vm->restore_work = NULL;
		if (err == PV_OK)
			err = start(vm, work, &work->use, &msg);
	}
	/* QEMU has the file by now. */
	work_free(work);
	if (vm != NULL && err != PV_OK)
		qemu_vm_end(vm, PV__ERROR_KIND__ERROR_KIND_FAILED, msg.text);
	else if (vm != NULL)
		qemu_console_poll(vm);
}

static const struct pv_job_ops opening = { .work = open_file, .done = opened };

static void copy_spec(struct qemu_vm *vm, const Pv__VmSpec *spec)
{
	size_t len = pv__vm_spec__get_packed_size(spec);
	uint8_t *bytes = pv_xmalloc(len + 1);

	pv__vm_spec__pack(spec, bytes);
	vm->spec = pv__vm_spec__unpack(NULL, len, bytes);
	free(bytes);
}

void qemu_restore(struct qemu_call *call, const Pv__RestoreCall *restore)
{
	struct qemu_vm *vm = call->vm;
	struct qemu_restore_work *work;
	struct pv_errmsg msg;
	enum pv_err err;

	copy_spec(vm, restore->spec);
	call->stays_paused = restore->stay_paused;
	vm->restore = call;
	vm->ungreeted = false;
	qemu_forget_boot_id(vm);
	err = qemu_boot_prepare(vm, &msg);
	if (err == PV_OK)
		err = open_store(vm->driver, &msg);
	if (err != PV_OK) {
		rmdir(vm->socket_dir);
		qemu_call_refuse(call, PV__ERROR_KIND__ERROR_KIND_FAILED, "%s", msg.text);
		return;
	}
	work = PV_NEW(struct qemu_restore_work);
	work->driver = vm->driver;
	work->vm = vm;
	work->path = pv_xasprintf("%.*s", (int)restore->path.len, (const char *)restore->path.data);
	qemu_saved_files_init(vm, &work->files);
	LIST_INSERT_HEAD(&vm->driver->restores, work, link);
	vm->restore_work = work;
	err = pv_job_start(pv_engine_base(vm->driver->engine), &opening, work, &work->job, &msg);
	if (err != PV_OK) {
		vm->restore_work = NULL;
		work_free(work);
		rmdir(vm->socket_dir);
		qemu_call_refuse(call, PV__ERROR_KIND__ERROR_KIND_FAILED, "%s", msg.text);
	}
}

void qemu_restore_forget(struct qemu_vm *vm)
{
	if (vm->restore_work != NULL)
		vm->restore_work->vm = NULL;
	vm->restore_work = NULL;
	if (vm->stock != NULL)
		qemu_stock_leave(vm->stock, false);
	vm->stock = NULL;
	vm->restore = NULL;
	vm->greeting = NULL;
	vm->ungreeted = false;
}

/* ---- the guest answers ---- */

void qemu_resume(struct qemu_call *call)
{
	struct qemu_vm *vm = call->vm;

	if (!vm->ungreeted) {
		pv_machine_resume(vm->machine, qemu_lifecycle_done, call);
		return;
	}
	vm->greeting = call;
	greet(vm);
}

bool qemu_restored(struct qemu_vm *vm, const Pva__HelloReply *hello)
{
	struct qemu_call *greeting = vm->greeting;
	uint8_t entropy[QEMU_ENTROPY_BYTES];
	Pva__Hello next;

	if (vm->restore == NULL && greeting == NULL)
		return false;
	vm->greeting = NULL;
	vm->ungreeted = false;
	qemu_fill_hello(vm, &next, entropy, false);
	pv_machine_set_hello(vm->machine, &next);
	set_boot_id(vm, hello->boot_id);
	qemu_note_boot_id(vm, hello->boot_id);
	if (vm->restore != NULL) {
		qemu_nics_booted(vm, hello);
		return true;
	}
	qemu_nics_update(vm);
	if (!greeting->reported)
		qemu_nics_reset_done(vm, greeting);
	return true;
}
