#include "engine/run/preflight.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "engine/core/units.h"
#include "engine/run/dirs.h"
#include "proto/mem.h"
#include "vmctl/accel.h"
#include "vmctl/qemu_args.h"

#define DISK_FREE_MIN (1ull << 30)
#define FILES_BASE    64u /* descriptors of the runner itself */
#define FILES_A_JOB   64u /* and of a file in flight: a few VMs with sockets and pipes */
#define ACCEL_KVM     "kvm"
#define ACCEL_AUTO    "auto"

struct checker {
	const struct pv_preflight *preflight;
	bool failed;
};

static void tell(struct checker *checker, enum pv_check_level level, const char *check, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static void tell(struct checker *checker, enum pv_check_level level, const char *check, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	char *text = pv_xvasprintf(fmt, ap);
	va_end(ap);
	checker->preflight->report(checker->preflight->arg, level, check, text);
	checker->failed |= level == PV_CHECK_FAIL;
	free(text);
}

/* ---- QEMU and accelerator ---- */

static bool qemu_seen_before(const struct pv_config *config, size_t index)
{
	for (size_t i = 0; i < index; i++) {
		if (strcmp(config->profiles[i].qemu, config->profiles[index].qemu) == 0)
			return true;
	}
	return false;
}

static void check_qemu(struct checker *checker)
{
	const struct pv_config *config = checker->preflight->config;

	for (size_t i = 0; i < config->n_profiles; i++) {
		const char *qemu = config->profiles[i].qemu;
		struct pv_errmsg msg = { .text = "" };
		char version[32];
		if (qemu_seen_before(config, i))
			continue;
		if (pv_qemu_version(qemu, version, &msg) != PV_OK)
			tell(checker, PV_CHECK_FAIL, "QEMU", "%s", msg.text);
		else
			tell(checker, PV_CHECK_OK, "QEMU", "%s is version %s", qemu, version);
	}
}

static bool some_profile_wants(const struct pv_preflight *preflight, const char *accel)
{
	if (preflight->accel)
		return strcmp(preflight->accel, accel) == 0;
	for (size_t i = 0; i < preflight->config->n_profiles; i++) {
		if (strcmp(preflight->config->profiles[i].accel, accel) == 0)
			return true;
	}
	return false;
}

static void check_accel(struct checker *checker)
{
	bool demanded = some_profile_wants(checker->preflight, ACCEL_KVM);
	bool automatic = some_profile_wants(checker->preflight, ACCEL_AUTO) && checker->preflight->probe_auto;
	struct pv_errmsg why = { .text = "" };

	if (!demanded && !automatic) {
		tell(checker, PV_CHECK_OK, "accelerator", "KVM is not demanded");
		return;
	}
	if (pv_accel_kvm_works(&why))
		tell(checker, PV_CHECK_OK, "accelerator", "KVM runs guests");
	else if (demanded)
		tell(checker, PV_CHECK_FAIL, "accelerator",
		     "kvm is demanded, but %s; use --accel tcg or a host with KVM", why.text);
	else
		tell(checker, PV_CHECK_WARN, "accelerator", "guests will run under tcg: %s", why.text);
}

/* ---- images ---- */

static bool check_readable(struct checker *checker, const char *profile, const char *what, const char *path)
{
	if (!path || access(path, R_OK) == 0)
		return true;
	int e = errno;
	if (*path)
		tell(checker, PV_CHECK_FAIL, "images", "profile %s: %s %s cannot be read: %s (%s)", profile, what, path,
		     strerror(e), pv_errno_name(e));
	else
		tell(checker, PV_CHECK_FAIL, "images",
		     "profile %s has no %s; `provium guest build` makes the default guest", profile, what);
	return false;
}

static void check_images(struct checker *checker)
{
	const struct pv_config *config = checker->preflight->config;

	for (size_t i = 0; i < config->n_profiles; i++) {
		const struct pv_profile *profile = &config->profiles[i];
		bool needs_agent = profile->inject_agent && !profile->agent_overlay;
		bool ok = check_readable(checker, profile->name, "kernel", profile->kernel);
		ok &= check_readable(checker, profile->name, "initrd", profile->initrd);
		ok &= check_readable(checker, profile->name, "modules", profile->modules);
		ok &= check_readable(checker, profile->name, "agent overlay", profile->agent_overlay);
		ok &= !needs_agent || check_readable(checker, profile->name, "agent", config->agent);
		if (ok)
			tell(checker, PV_CHECK_OK, "images", "profile %s: kernel %s", profile->name, profile->kernel);
	}
}

/* Without it a run works, but does not survive its runner. */
static void check_keeper(struct checker *checker)
{
	const char *keeper = checker->preflight->config->keeper;

	if (keeper && access(keeper, X_OK) == 0)
		tell(checker, PV_CHECK_OK, "keeper", "%s", keeper);
	else
		tell(checker, PV_CHECK_WARN, "keeper",
		     "%s cannot be executed (%s): if the runner is killed, its VMs run on and nobody ends them; put "
		     "provium-keeper beside provium",
		     keeper ? keeper : "provium-keeper", keeper ? strerror(errno) : "no such file");
}

/* ---- memory, disk, run store, open files ---- */

static uint64_t memory_available(void)
{
	FILE *file = fopen("/proc/meminfo", "re");
	char line[256];
	uint64_t kib = 0;

	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "MemAvailable: %" SCNu64, &kib) == 1)
			break;
	}
	if (file)
		fclose(file);
	return kib * 1024;
}

static void check_memory(struct checker *checker)
{
	const struct pv_config *config = checker->preflight->config;
	uint64_t available = memory_available(), smallest = UINT64_MAX;
	char have[32], need[32];

	for (size_t i = 0; i < config->n_profiles; i++) {
		if (config->profiles[i].memory_bytes < smallest)
			smallest = config->profiles[i].memory_bytes;
	}
	if (available == 0 || config->n_profiles == 0)
		tell(checker, PV_CHECK_WARN, "memory", "the free memory is not known");
	else if (available < smallest)
		tell(checker, PV_CHECK_FAIL, "memory", "%s are free, the smallest profile needs %s; end other programs",
		     pv_format_size(available, have), pv_format_size(smallest, need));
	else
		tell(checker, PV_CHECK_OK, "memory", "%s are free", pv_format_size(available, have));
}

static void check_disk(struct checker *checker, const char *what, const char *dir)
{
	struct statvfs fs;
	struct pv_errmsg msg = { .text = "" };
	char have[32];

	if (pv_dirs_make(dir, &msg) != PV_OK) {
		tell(checker, PV_CHECK_FAIL, "disk", "%s: %s", what, msg.text);
		return;
	}
	if (statvfs(dir, &fs) < 0) {
		tell(checker, PV_CHECK_FAIL, "disk", "%s %s: %s", what, dir, strerror(errno));
		return;
	}
	uint64_t available = (uint64_t)fs.f_bavail * fs.f_frsize;
	if (available < DISK_FREE_MIN)
		tell(checker, PV_CHECK_FAIL, "disk", "%s %s: %s are free, 1 GiB is needed", what, dir,
		     pv_format_size(available, have));
	else
		tell(checker, PV_CHECK_OK, "disk", "%s %s: %s are free", what, dir, pv_format_size(available, have));
}

static void check_run_store(struct checker *checker)
{
	const char *dir = checker->preflight->config->run_dir;

	if (access(dir, W_OK | X_OK) < 0)
		tell(checker, PV_CHECK_FAIL, "run store",
		     "%s cannot be written: %s; set [provium].run_dir or XDG_STATE_HOME", dir, strerror(errno));
	else
		tell(checker, PV_CHECK_OK, "run store", "%s", dir);
}

static void check_open_files(struct checker *checker)
{
	rlim_t need = FILES_BASE + FILES_A_JOB * (rlim_t)checker->preflight->jobs;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0) {
		tell(checker, PV_CHECK_WARN, "open files", "the limit is not known: %s", strerror(errno));
		return;
	}
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_max < need)
		tell(checker, PV_CHECK_FAIL, "open files",
		     "the hard limit is %" PRIu64 ", %u job(s) need %" PRIu64
		     "; raise it (ulimit -Hn) or give fewer --jobs",
		     (uint64_t)limit.rlim_max, checker->preflight->jobs, (uint64_t)need);
	else
		tell(checker, PV_CHECK_OK, "open files", "the limit is %" PRIu64, (uint64_t)limit.rlim_max);
}

bool pv_preflight(const struct pv_preflight *preflight)
{
	struct checker checker = { .preflight = preflight };

	check_qemu(&checker);
	check_accel(&checker);
	check_images(&checker);
	check_keeper(&checker);
	check_memory(&checker);
	check_disk(&checker, "cache", preflight->config->cache_dir);
	check_disk(&checker, "run store", preflight->config->run_dir);
	check_run_store(&checker);
	check_open_files(&checker);
	return !checker.failed;
}
