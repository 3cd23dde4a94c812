/* The events of the run itself: what it starts from, and what it came to. */
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "engine/replay/fold.h"
#include "engine/run/run_internal.h"
#include "proto/mem.h"
#include "vmctl/image.h"
#include "vmctl/qemu_args.h"

static bool propose(struct pv_run *run, Pv__Event *event)
{
	struct pv_errmsg msg = { .text = "" };

	if (pv_engine_propose(run->engine, event, &msg) == PV_OK)
		return true;
	if (!pv_engine_failed(run->engine))
		PV_BUG("an event of the run was refused: %s", msg.text);
	return false;
}

/* ---- RunStarted ---- */

static void set_hash(protobuf_c_boolean *has, ProtobufCBinaryData *out, const char *path)
{
	uint8_t hash[32];

	/* What cannot be read is told by preflight, or by the boot that needs it. */
	if (pv_image_hash(path, hash, NULL) != PV_OK)
		return;
	*has = 1;
	out->len = sizeof(hash);
	out->data = pv_xmemdup(hash, sizeof(hash));
}

bool pv_run_same_hash(const char *path, const ProtobufCBinaryData *recorded)
{
	uint8_t hash[32];

	if (recorded->len != sizeof(hash))
		return true;
	return pv_image_hash(path, hash, NULL) == PV_OK && memcmp(hash, recorded->data, sizeof(hash)) == 0;
}

static char *qemu_version(const char *qemu)
{
	char version[32];

	return pv_qemu_version(qemu, version, NULL) == PV_OK ? pv_xstrdup(version) : NULL;
}

static Pv__Profile *profile_message(const struct pv_config *config, size_t index, Pv__Profile *const *earlier)
{
	const struct pv_profile *profile = &config->profiles[index];
	Pv__Profile *message = PV_NEW(Pv__Profile);

	pv__profile__init(message);
	message->name = profile->name;
	message->kernel_path = profile->kernel;
	message->initrd_path = profile->initrd;
	message->cmdline = profile->cmdline;
	message->has_memory_bytes = message->has_cpus = 1;
	message->memory_bytes = profile->memory_bytes;
	message->cpus = profile->cpus;
	message->machine = profile->machine;
	message->has_no_net = message->no_net = !profile->net;
	set_hash(&message->has_kernel_sha256, &message->kernel_sha256, profile->kernel);
	set_hash(&message->has_initrd_sha256, &message->initrd_sha256, profile->initrd);
	for (size_t i = 0; i < index; i++) { /* the version is asked once a binary */
		if (strcmp(config->profiles[i].qemu, profile->qemu) == 0) {
			message->qemu_version = earlier[i]->qemu_version ? pv_xstrdup(earlier[i]->qemu_version) : NULL;
			return message;
		}
	}
	message->qemu_version = qemu_version(profile->qemu);
	return message;
}

static Pv__Profile **profile_messages(const struct pv_config *config)
{
	Pv__Profile **messages = pv_xcalloc(config->n_profiles + 1, sizeof(*messages));

	for (size_t i = 0; i < config->n_profiles; i++)
		messages[i] = profile_message(config, i, messages);
	return messages;
}

/* Frees what profile_message() allocated; the other fields belong to the configuration. */
static void free_profiles(Pv__Profile **messages, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(messages[i]->kernel_sha256.data);
		free(messages[i]->initrd_sha256.data);
		free(messages[i]->qemu_version);
		free(messages[i]);
	}
	free(messages);
}

void pv_run_host_boot_id(char out[64])
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, out, 63);

	if (fd >= 0)
		close(fd);
	out[n > 0 ? n : 0] = '\0';
	out[strcspn(out, "\n")] = '\0';
}

static uint64_t monotonic_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static size_t count_argv(char *const *argv)
{
	size_t n = 0;

	while (argv && argv[n])
		n++;
	return n;
}

static bool propose_run_started(struct pv_run *run)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__RunStarted started = PV__RUN_STARTED__INIT;
	struct utsname host;
	char cwd[PATH_MAX], boot[64];

	uname(&host);
	pv_run_host_boot_id(boot);
	char *kernel = pv_xasprintf("%s %s %s", host.sysname, host.release, host.machine);
	started.run_id = run->place.id;
	started.provium_version = (char *)PV_VERSION;
	started.has_seed = 1;
	started.seed = run->seed;
	started.n_argv = count_argv(run->options->argv);
	started.argv = (char **)run->options->argv;
	started.cwd = getcwd(cwd, sizeof(cwd));
	started.hostname = host.nodename;
	started.kernel = kernel;
	started.has_mono_origin_ns = 1;
	started.mono_origin_ns = monotonic_ns() - pv_engine_mono_ns(run->engine);
	started.host_boot_id = boot;
	started.profiles = profile_messages(&run->config);
	started.n_profiles = run->config.n_profiles;
	started.roots = run->found.roots;
	started.n_roots = run->found.n_roots;
	started.socket_dir = run->place.socket_dir;
	event.body_case = PV__EVENT__BODY_RUN_STARTED;
	event.run_started = &started;
	bool ok = propose(run, &event);
	free_profiles(started.profiles, started.n_profiles);
	free(kernel);
	return ok;
}

static bool propose_discovered(struct pv_run *run, size_t index)
{
	struct pv_found_file *file = &run->found.files[index];
	Pv__Event event = PV__EVENT__INIT;
	Pv__FileDiscovered discovered = PV__FILE_DISCOVERED__INIT;

	discovered.has_id = 1;
	discovered.id = (uint32_t)(index + 1);
	discovered.path = file->root_path;
	discovered.shown_path = file->shown_path;
	discovered.real_path = file->path;
	discovered.has_sha256 = 1;
	discovered.sha256.len = sizeof(file->sha256);
	discovered.sha256.data = file->sha256;
	const struct pv_scan *scan = &run->scans[index];
	Pv__Amount claim = PV__AMOUNT__INIT;
	discovered.n_fixture_refs = scan->n_fixtures;
	discovered.fixture_refs = scan->fixtures;
	if (scan->has_claim) {
		claim.has_memory_bytes = claim.has_cpus = 1;
		claim.memory_bytes = scan->claim.memory_bytes;
		claim.cpus = scan->claim.cpus;
		discovered.declared_claim = &claim;
	}
	event.body_case = PV__EVENT__BODY_FILE_DISCOVERED;
	event.file_discovered = &discovered;
	return propose(run, &event);
}

bool pv_run_propose_start(struct pv_run *run)
{
	bool ok = propose_run_started(run);

	for (size_t i = 0; ok && i < run->found.n; i++)
		ok = propose_discovered(run, i);
	return ok;
}

/* ---- RunEnded ---- */

static Pv__Verdict verdict_of(const struct pv_run *run, const struct pv_results_sum *sum)
{
	if (run->interrupted)
		return PV__VERDICT__VERDICT_INTERRUPTED;
	if (!sum->clean)
		return PV__VERDICT__VERDICT_FAILED;
	return PV__VERDICT__VERDICT_PASSED;
}

bool pv_run_propose_end(struct pv_run *run)
{
	struct pv_results_sum sum = pv_results_sum(run->results);
	Pv__Event event = PV__EVENT__INIT;
	Pv__RunEnded ended = PV__RUN_ENDED__INIT;
	uint8_t hash[32];

	pv_fold_hash(pv_engine_state(run->engine), hash);
	ended.has_verdict = ended.has_files = ended.has_passed = ended.has_failed = ended.has_skipped =
	    ended.has_flaky = ended.has_state_sha256 = 1;
	ended.verdict = verdict_of(run, &sum);
	ended.files = sum.files;
	ended.passed = sum.passed;
	ended.failed = sum.failed;
	ended.skipped = sum.skipped;
	ended.flaky = sum.flaky;
	ended.state_sha256.len = sizeof(hash);
	ended.state_sha256.data = hash;
	event.body_case = PV__EVENT__BODY_RUN_ENDED;
	event.run_ended = &ended;
	return propose(run, &event);
}
