/* Booting: image, accelerator, QEMU, until the agent answers; and what a machine tells from then on. */
#include <errno.h>
#include <inttypes.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/lab/driver_qemu_net.h"
#include "engine/lab/driver_qemu_template.h"
#include "proto/mem.h"
#include "vmctl/accel.h"
#include "vmctl/image.h"

/* ---- what is needed before QEMU can start ---- */

static void random_bytes(void *out, size_t len)
{
	if (getrandom(out, len, 0) != (ssize_t)len)
		PV_BUG("getrandom: %s", strerror(errno));
}

void qemu_make_uuid(char out[37])
{
	uint8_t b[16];

	random_bytes(b, sizeof(b));
	b[6] = (uint8_t)((b[6] & 0x0f) | 0x40); /* version 4, RFC 4122 */
	b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
	snprintf(out, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2],
	         b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

static enum pv_err make_dir(const char *path, struct pv_errmsg *msg)
{
	if (mkdir(path, 0700) == 0 || errno == EEXIST)
		return PV_OK;
	return pv_err_sys(msg, PV_ERR_IO, errno, "cannot create the directory %s", path);
}

static enum pv_err make_dirs(struct qemu_vm *vm, struct pv_errmsg *msg)
{
	char *vms = pv_xasprintf("%s/vms", vm->driver->run_dir);
	enum pv_err err = make_dir(vms, msg);

	free(vms);
	if (err == PV_OK)
		err = make_dir(vm->dir, msg);
	if (err == PV_OK)
		err = make_dir(vm->socket_dir, msg);
	return err;
}

/* KVM or TCG: the command line's word, else the profile's. */
static enum pv_err choose_accel(struct qemu_vm *vm, const struct pv_profile *profile, struct pv_errmsg *msg)
{
	struct qemu_driver *driver = vm->driver;
	const char *wish = driver->accel != NULL ? driver->accel : profile->accel;
	struct pv_errmsg why = { 0 };

	vm->kvm_optional = strcmp(wish, "auto") == 0;
	vm->kvm = strcmp(wish, "tcg") != 0;
	if (!vm->kvm || pv_accel_kvm_works(&why))
		return PV_OK;
	if (!vm->kvm_optional)
		return pv_err_set(msg, PV_ERR_UNSUPPORTED,
		                  "accelerator \"kvm\" is demanded but does not work here: %s; use \"auto\" or \"tcg\"",
		                  why.text);
	vm->kvm = false;
	if (!driver->told_no_kvm)
		pv_engine_notice(driver->engine, "KVM does not work here (%s): VMs run under TCG, slower", why.text);
	driver->told_no_kvm = true;
	return PV_OK;
}

/* The profile's initrd with the agent. The caller frees *path. */
static enum pv_err prepare_initrd(struct qemu_vm *vm, const struct pv_profile *profile, char **path,
                                  struct pv_errmsg *msg)
{
	struct pv_image_spec spec = {
		.initrd = profile->initrd,
		.inject_agent = profile->inject_agent,
		.agent = vm->driver->agent,
		.overlay = profile->agent_overlay,
		.modules = profile->modules,
		.cache_dir = vm->driver->cache_dir,
	};
	uint8_t sha256[32];

	return pv_image_prepare(&spec, path, sha256, msg);
}

/* The same with the files of the boot opts, if there are any. */
static enum pv_err add_files(struct qemu_vm *vm, char **path, struct pv_errmsg *msg)
{
	struct pv_image_file *files;
	enum pv_err err;

	if (vm->spec->n_files == 0) {
		*path = pv_xstrdup(vm->initrd);
		return PV_OK;
	}
	files = pv_xcalloc(vm->spec->n_files, sizeof(*files));
	for (size_t i = 0; i < vm->spec->n_files; i++) {
		const Pv__BootFile *file = vm->spec->files[i];
		struct pv_bytes content = qemu_payload_bytes(file->content);

		files[i] = (struct pv_image_file){ .path = file->path,
			                           .mode = file->has_mode ? file->mode : 0644,
			                           .data = content.data,
			                           .len = content.len };
	}
	*path = pv_xasprintf("%s/initrd", vm->dir);
	err = pv_image_with_files(vm->initrd, files, vm->spec->n_files, *path, msg);
	free(files);
	if (err != PV_OK) {
		free(*path);
		*path = NULL;
	}
	return err;
}

/* ---- start ---- */

/* Bytes for the guest's pool: the host's, or with a seed always the same. */
static void fill_entropy(const Pv__VmSpec *spec, uint8_t entropy[QEMU_ENTROPY_BYTES])
{
	char text[64];

	random_bytes(entropy, QEMU_ENTROPY_BYTES);
	if (!spec->has_rng_seed)
		return;
	snprintf(text, sizeof(text), "provium guest entropy %" PRIu64, spec->rng_seed);
	SHA256((const uint8_t *)text, strlen(text), entropy);
}

static int64_t realtime_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void qemu_fill_hello(struct qemu_vm *vm, Pva__Hello *hello, uint8_t *entropy, bool first)
{
	bool asked = vm->spec->has_initial_time_ns;

	pva__hello__init(hello);
	hello->hostname = vm->name;
	if (first && (asked || vm->way == QEMU_RESTORES)) {
		hello->has_realtime_ns = 1;
		hello->realtime_ns = asked ? vm->spec->initial_time_ns : realtime_ns();
		/* That of a template goes with the host's time by itself. */
		hello->has_set_rtc = hello->set_rtc = asked && vm->way == QEMU_RESTORES;
	}
	fill_entropy(vm->spec, entropy);
	hello->has_entropy = 1;
	hello->entropy.data = entropy;
	hello->entropy.len = QEMU_ENTROPY_BYTES;
}

const struct pv_profile *qemu_vm_profile(const struct qemu_vm *vm)
{
	const struct pv_profile *profile;
	struct pv_vm_view view;

	PV_ASSERT(pv_state_vm(pv_engine_state(vm->driver->engine), vm->id, &view));
	profile = pv_engine_profile(vm->driver->engine, view.profile);
	PV_ASSERT(profile != NULL);
	return profile;
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t qemu_boot_left_ms(const struct qemu_vm *vm)
{
	uint64_t gone = now_ms() - vm->began_ms;

	return gone < vm->spec->wait_ms ? vm->spec->wait_ms - gone : 1;
}

/* Of a boot from a template: if nothing comes of it there is time left for a cold one. */
static uint64_t deadline_gone_ms(const struct qemu_vm *vm)
{
	uint64_t left = qemu_boot_left_ms(vm);

	return vm->spec->wait_ms - (vm->way == QEMU_RESTORES ? (left + 1) / 2 : left);
}

void qemu_boot_config(const struct qemu_vm *vm, const struct pv_profile *profile, struct pv_machine_config *config)
{
	bool restores = vm->way == QEMU_RESTORES, makes = vm->way == QEMU_MAKES;

	*config = (struct pv_machine_config){
		.name = vm->name,
		.dir = vm->dir,
		.socket_dir = vm->socket_dir,
		.qemu = profile->qemu,
		.machine = profile->machine,
		.kvm = vm->kvm,
		.memory_bytes = vm->spec->memory_bytes,
		.cpus = vm->spec->cpus,
		.kernel = profile->kernel,
		.initrd = vm->initrd,
		.cmdline = vm->cmdline,
		.uuid = vm->uuid,
		/* A template's battery clock is to be the host's. */
		.has_rtc = vm->spec->has_initial_time_ns && !restores && !makes,
		.rtc_s = vm->spec->initial_time_ns / 1000000000,
		.has_rng_seed = vm->spec->has_rng_seed,
		.rng_seed = vm->spec->rng_seed,
		.boot_deadline_ms = vm->spec->wait_ms,
		.boot_gone_ms = deadline_gone_ms(vm),
		.keeper_vm = vm->id,
		.hold = makes || (restores && qemu_template_prepares(vm)),
		.from = restores ? qemu_template_snapshot(vm->template) : NULL,
	};
}

static void ignore_resumed(void *arg, enum pv_err err, const struct pv_errmsg *msg)
{
	(void)arg; /* its failure is the machine's */
	(void)err;
	(void)msg;
}

static enum pv_err start_qemu(struct qemu_vm *vm, struct pv_machine_config *config, struct pv_errmsg *msg)
{
	struct event_base *base = pv_engine_base(vm->driver->engine);
	uint8_t entropy[QEMU_ENTROPY_BYTES];
	struct qemu_patches patches;
	Pva__Hello hello;
	enum pv_err err = PV_OK;

	qemu_fill_hello(vm, &hello, entropy, true);
	if (vm->way == QEMU_RESTORES) {
		qemu_identity_patches(&vm->template->identity, vm->uuid, &patches);
		config->patches = patches.all;
		config->n_patches = patches.n;
		vm->warm = qemu_spare_take(&vm->template->stock, vm, config, &hello, qemu_template_loaded);
		if (!vm->warm)
			err = pv_machine_start_from(base, config, &hello, &qemu_machine_handler, qemu_template_loaded,
			                            vm, &vm->machine, msg);
		free(patches.all);
		if (err == PV_OK)
			pv_machine_resume(vm->machine, ignore_resumed, NULL);
		return err;
	}
	err = pv_machine_start(base, config, &hello, &qemu_machine_handler, vm, &vm->machine, msg);
	if (err == PV_OK && vm->way == QEMU_COLD) {
		qemu_fill_hello(vm, &hello, entropy, false);
		pv_machine_set_hello(vm->machine, &hello);
	}
	return err;
}

static enum pv_err start_machine(struct qemu_vm *vm, struct pv_errmsg *msg)
{
	struct pv_machine_config config;
	struct pv_machine_nic *nics = NULL;
	struct pv_machine_disk *disks = NULL;
	char *initrd = NULL;
	size_t n_nics = 0;
	enum pv_err err = PV_OK;

	vm->saving = vm->loaded = vm->released = vm->warm = false;
	qemu_boot_config(vm, qemu_vm_profile(vm), &config);
	/* The template's guest came without the files, but after a reset they are to be there again. */
	if (vm->way != QEMU_MAKES) {
		err = add_files(vm, &initrd, msg);
		config.initrd = initrd;
	}
	if (err == PV_OK) {
		qemu_make_uuid(vm->uuid);
		config.keeper = qemu_keeper(vm->driver);
		/* A template has none: they are plugged in when its guest goes on. */
		nics = qemu_nics_for_start(vm, vm->way == QEMU_COLD, &n_nics);
		config.nics = nics;
		config.n_nics = n_nics;
		disks = qemu_disks_for_start(vm, vm->spec->disks, vm->spec->n_disks);
		config.disks = disks;
		config.n_disks = vm->spec->n_disks;
		err = start_qemu(vm, &config, msg);
	}
	qemu_disks_free(disks, config.n_disks);
	free(nics);
	free(initrd);
	return err;
}

void qemu_boot_go_on(struct qemu_vm *vm)
{
	struct pv_errmsg msg = { 0 };

	PV_ASSERT(vm->boot != NULL && vm->machine == NULL);
	qemu_template_leave(vm, false);
	if (qemu_template_begin(vm))
		return;
	qemu_call_stop_timer(vm->boot);
	if (start_machine(vm, &msg) != PV_OK)
		qemu_vm_end(vm, PV__ERROR_KIND__ERROR_KIND_VM_DEAD, msg.text);
	else
		qemu_console_poll(vm);
}

enum pv_err qemu_boot_prepare(struct qemu_vm *vm, struct pv_errmsg *msg)
{
	const struct pv_profile *profile = qemu_vm_profile(vm);
	enum pv_err err = choose_accel(vm, profile, msg);

	vm->began_ms = now_ms();
	if (err == PV_OK)
		err = make_dirs(vm, msg);
	if (err == PV_OK)
		err = prepare_initrd(vm, profile, &vm->initrd, msg);
	if (err == PV_OK)
		err = pv_image_cmdline(vm->spec->kernel_cmdline, profile->inject_agent, &vm->cmdline, msg);
	return err;
}

void qemu_boot(struct qemu_call *call, const Pv__BootCall *boot)
{
	struct qemu_vm *vm = call->vm;
	struct pv_errmsg msg = { 0 };
	enum pv_err err;
	size_t len = pv__vm_spec__get_packed_size(boot->spec);
	uint8_t *bytes = pv_xmalloc(len);

	pv__vm_spec__pack(boot->spec, bytes);
	vm->spec = pv__vm_spec__unpack(NULL, len, bytes);
	free(bytes);
	qemu_forget_boot_id(vm);
	vm->boot = call;
	err = qemu_boot_prepare(vm, &msg);
	if (err == PV_OK && vm->spec->n_disks > 0) {
		qemu_disks_prepare(vm);
		return;
	}
	if (err == PV_OK && qemu_template_begin(vm))
		return;
	if (err == PV_OK)
		err = start_machine(vm, &msg);
	if (err != PV_OK) {
		qemu_boot_forget(vm);
		rmdir(vm->socket_dir);
		qemu_call_refuse(call, PV__ERROR_KIND__ERROR_KIND_VM_DEAD, "%s", msg.text);
		return;
	}
	qemu_console_poll(vm);
}

void qemu_boot_forget(struct qemu_vm *vm)
{
	pv_guest_op_settle(vm->file_op);
	vm->file_op = NULL;
	qemu_template_leave(vm, false);
	free(vm->initrd);
	free(vm->cmdline);
	vm->initrd = vm->cmdline = NULL;
}

/* ---- what the machine tells ---- */

void qemu_report_boot(struct qemu_vm *vm, const Pva__HelloReply *hello)
{
	Pv__CallEnded ended = PV__CALL_ENDED__INIT;
	Pv__BootResult result = PV__BOOT_RESULT__INIT;
	uint8_t entropy[QEMU_ENTROPY_BYTES];
	Pva__Hello again;

	qemu_fill_hello(vm, &again, entropy, false);
	pv_machine_set_hello(vm->machine, &again);
	result.accel = (char *)(vm->kvm ? "kvm" : "tcg");
	result.has_from_template = 1;
	result.from_template = vm->way == QEMU_RESTORES;
	result.has_warm = result.warm = vm->warm;
	vm->warm_next = vm->spec->n_files == 0; /* which would have taken one */
	result.has_qemu_pid = 1;
	result.qemu_pid = (uint32_t)pv_machine_pid(vm->machine);
	result.has_qemu_start_ticks = 1;
	result.qemu_start_ticks = pv_machine_start_ticks(vm->machine);
	result.uuid = vm->uuid;
	result.agent_version = hello->agent_version;
	result.kernel_release = hello->kernel_release;
	result.boot_id = hello->boot_id;
	result.has_memory_bytes = 1;
	result.memory_bytes = vm->spec->memory_bytes;
	result.has_cpus = 1;
	result.cpus = vm->spec->cpus;
	result.has_console_start = 1;
	result.console_start = pv_machine_console_start(vm->machine);
	free(vm->guest_boot_id);
	vm->guest_boot_id = hello->boot_id != NULL ? pv_xstrdup(hello->boot_id) : NULL;
	ended.outcome_case = PV__CALL_ENDED__OUTCOME_BOOT;
	ended.boot = &result;
	qemu_template_leave(vm, false);
	qemu_call_report(vm->boot, &ended);
}

static bool reset_in_flight(const struct qemu_vm *vm)
{
	const struct qemu_call *call;

	TAILQ_FOREACH (call, &vm->calls, link)
		if (!call->reported && call->kind == PV__CALL_STARTED__OP_RESET)
			return true;
	return false;
}

static void on_ready(void *arg, const Pva__HelloReply *hello, bool again)
{
	struct qemu_vm *vm = arg;

	if (vm->boot != NULL && hello->held) {
		qemu_template_held(vm, hello);
		return;
	}
	if (vm->boot != NULL) {
		if (!qemu_template_unheld(vm))
			qemu_nics_booted(vm, hello);
		return;
	}
	qemu_nics_guest_is_new(vm, true);
	if (qemu_restored(vm, hello)) {
		vm->taken_over = false;
		return;
	}
	qemu_nics_update(vm);
	free(vm->guest_boot_id);
	vm->guest_boot_id = hello->boot_id != NULL ? pv_xstrdup(hello->boot_id) : NULL;
	if (vm->taken_over && !qemu_taken_over(vm, hello->boot_id)) {
		qemu_save_late(vm);
		return;
	}
	qemu_note_boot_id(vm, hello->boot_id);
	if (again && !reset_in_flight(vm))
		pv_engine_vm_changed(vm->driver->engine, vm->id, PV__VM_CHANGE__VM_CHANGE_REBOOTED,
		                     "the guest rebooted");
	qemu_save_late(vm);
}

void qemu_guest_reset(struct qemu_vm *vm)
{
	struct qemu_call *call;

	TAILQ_FOREACH (call, &vm->calls, link) {
		if (call->op == NULL && !qemu_waits_for_object(call))
			continue;
		pv_guest_op_settle(call->op);
		call->op = NULL;
		qemu_call_stop_timer(call);
		if (!call->reported)
			qemu_call_error(call, PV__ERROR_KIND__ERROR_KIND_CANCELED, 0, "the guest was reset meanwhile");
	}
	qemu_objects_end(vm);
}

static void on_reset(void *arg)
{
	qemu_nics_guest_is_new(arg, false);
	qemu_guest_reset(arg);
}

/* Was the machine's end the outcome of a lifecycle call? Then the state follows from that. */
static bool lifecycle_open(const struct qemu_vm *vm)
{
	struct pv_vm_view view;

	return pv_state_vm(pv_engine_state(vm->driver->engine), vm->id, &view) && view.in_flight != PV_VM_OP_NONE;
}

static void end_unasked(struct qemu_vm *vm, Pv__VmChange change, const char *reason)
{
	bool told = lifecycle_open(vm);

	if (vm->restore != NULL) { /* the VM stays as it was */
		qemu_vm_end(vm, PV__ERROR_KIND__ERROR_KIND_FAILED, reason);
		return;
	}
	/* Guest operations fail without a word on the state: the change that follows tells it. */
	if (told) {
		qemu_vm_end(vm, PV__ERROR_KIND__ERROR_KIND_VM_DEAD, reason);
		return;
	}
	qemu_vm_end(vm, PV__ERROR_KIND__ERROR_KIND_FAILED, reason);
	pv_engine_vm_changed(vm->driver->engine, vm->id, change, reason);
}

static void on_powered_off(void *arg)
{
	end_unasked(arg, PV__VM_CHANGE__VM_CHANGE_POWERED_OFF, "the guest powered itself off");
}

/* KVM broke down under a guest that was booting: TCG takes over if it may. True if it did. */
static bool retry_under_tcg(struct qemu_vm *vm)
{
	if (vm->boot == NULL || !vm->kvm || !vm->kvm_optional)
		return false;
	pv_engine_notice(vm->driver->engine, "KVM failed under VM %s (KVM internal error): trying again under TCG",
	                 vm->name);
	pv_machine_destroy(vm->machine);
	vm->machine = NULL;
	vm->kvm = false;
	qemu_boot_go_on(vm);
	return true;
}

static void on_failed(void *arg, enum pv_err err, const struct pv_errmsg *msg, bool kvm_failure)
{
	struct qemu_vm *vm = arg;
	struct pv_errmsg text = *msg;

	if (vm->attaching) { /* which was told */
		qemu_vm_end(vm, PV__ERROR_KIND__ERROR_KIND_FAILED, text.text);
		return;
	}
	if (kvm_failure && retry_under_tcg(vm))
		return;
	if (vm->boot != NULL && qemu_template_retry(vm, err, text.text))
		return;
	if (vm->boot != NULL) /* those that wait do not try the same, one after the other */
		qemu_template_leave(vm, true);
	end_unasked(vm, PV__VM_CHANGE__VM_CHANGE_LOST, text.text);
}

const struct pv_machine_handler qemu_machine_handler = {
	.ready = on_ready,
	.reset = on_reset,
	.powered_off = on_powered_off,
	.failed = on_failed,
};
