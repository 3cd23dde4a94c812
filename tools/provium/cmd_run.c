#include <stdlib.h>
#include <string.h>

#include "proto/mem.h"
#include "tools/provium/run_flags.h"
#include "tools/provium/verb.h"

struct flags {
	const char *config, *shard;
	struct pv_selection select;
	int accel_choice, color, durability, verbosity, vmm;
	bool include_slow, fail_fast, no_preflight, no_templates, json, tap, no_journal;
	struct pv_report_paths reports;
	struct pv_option_texts tags, no_tags, tag_metas, no_tag_metas;
	unsigned jobs, cpus, psi_threshold;
	uint64_t timeout_ns, orphan_timeout_ns, mem_bytes;
	double cpu_overcommit;
	struct pv_option_u64 seed;
	struct pv_option_maybe journal;
};

#define AT(member) .offset = offsetof(struct flags, member)

static const char *const accels[] = { "auto", "kvm", "tcg", NULL };
static const char *const colors[] = { "auto", "always", "never", NULL };
/* In the order of enum pv_durability. */
static const char *const durabilities[] = { "batch", "sync", "none", NULL };
static const char *const vmms[] = { "qemu", NULL };

static const struct pv_option options[] = {
	{ "config", 0, PV_OPTION_TEXT, AT(config), .argument = "PATH",
	  .help = "configuration (default: ./provium.toml)" },
	{ "filter", 0, PV_OPTION_TEXT, AT(select.filter), .argument = "STR",
	  .help = "files whose root path contains STR" },
	{ "rerun-failed", 0, PV_OPTION_FLAG, AT(select.rerun_failed), .help = "files that failed when last one did" },
	{ "since", 0, PV_OPTION_TEXT, AT(select.since), .argument = "PATH", .help = "files modified later than PATH" },
	{ "shard", 0, PV_OPTION_TEXT, AT(shard), .argument = "K/N", .help = "the Kth of N parts of the files" },
	{ "shuffle", 0, PV_OPTION_FLAG, AT(select.shuffle), .help = "file order drawn from the seed" },
	{ "include-slow", 0, PV_OPTION_FLAG, AT(include_slow), .help = "also tests with meta.slow" },
	{ "tag", 0, PV_OPTION_TEXTS, AT(tags), .argument = "TAG", .help = "tests with any of these tags" },
	{ "no-tag", 0, PV_OPTION_TEXTS, AT(no_tags), .argument = "TAG", .help = "tests without any of these tags" },
	{ "tag-meta", 0, PV_OPTION_TEXTS, AT(tag_metas), .argument = "KEY=VALUE", .help = "tests whose meta matches" },
	{ "no-tag-meta", 0, PV_OPTION_TEXTS, AT(no_tag_metas), .argument = "KEY=VALUE",
	  .help = "tests whose meta does not match" },
	{ "vmm", 0, PV_OPTION_CHOICE, AT(vmm), .argument = "qemu", .choices = vmms, .help = "what runs the VMs" },
	{ "accel", 0, PV_OPTION_CHOICE, AT(accel_choice), .argument = "auto|kvm|tcg", .choices = accels,
	  .help = "accelerator (default: the profile's)" },
	{ "mem", 0, PV_OPTION_SIZE, AT(mem_bytes), .argument = "SIZE",
	  .help = "memory of the pool (default: 80 % of the host's)" },
	{ "cpus", 0, PV_OPTION_COUNT, AT(cpus), .argument = "N",
	  .help = "vCPUs of the pool (default: the host's CPUs)" },
	{ "cpu-overcommit", 0, PV_OPTION_FACTOR, AT(cpu_overcommit), .argument = "F",
	  .help = "multiplies --cpus, 0.5 to 8 (default: 1)" },
	{ "jobs", 0, PV_OPTION_COUNT, AT(jobs), .argument = "N",
	  .help = "files in flight at once (default: vCPUs of the pool)" },
	{ "psi-threshold", 0, PV_OPTION_PERCENT, AT(psi_threshold), .argument = "PCT",
	  .help = "CPU pressure that pauses dispatch (default: 50, 0: never)" },
	{ "no-preflight", 0, PV_OPTION_FLAG, AT(no_preflight), .help = "skip the checks of `doctor`" },
	{ "no-templates", 0, PV_OPTION_FLAG, AT(no_templates),
	  .help = "boot all VMs cold, not from the snapshot of an earlier boot" },
	{ .name = "no-ksm", .kind = PV_OPTION_NOTHING },
	{ "timeout", 0, PV_OPTION_DURATION, AT(timeout_ns), .argument = "DUR",
	  .help = "wall clock of one file (default: 300, 0: none)" },
	{ "orphan-timeout", 0, PV_OPTION_DURATION, AT(orphan_timeout_ns), .argument = "DUR",
	  .help = "how long VMs outlive a killed runner, paused (default: 10m)" },
	{ "fail-fast", 0, PV_OPTION_FLAG, AT(fail_fast), .help = "no dispatch after the first failed file" },
	{ "seed", 0, PV_OPTION_U64, AT(seed), .argument = "N", .help = "source of all randomness (default: random)" },
	{ "verbose", 'v', PV_OPTION_SET, AT(verbosity), .value = PV_VERBOSE, .help = "also passed and skipped tests" },
	{ "quiet", 'q', PV_OPTION_SET, AT(verbosity), .value = PV_QUIET, .help = "only files that are not clean" },
	{ "color", 0, PV_OPTION_CHOICE, AT(color), .argument = "auto|always|never", .choices = colors,
	  .help = "coloured text (default: auto)" },
	{ "json", 0, PV_OPTION_FLAG, AT(json), .help = "results as JSON Lines on stdout" },
	{ "tap", 0, PV_OPTION_FLAG, AT(tap), .help = "results as TAP 14 on stdout" },
	{ "junit", 0, PV_OPTION_TEXT, AT(reports.junit), .argument = "PATH", .help = "results as JUnit's XML" },
	{ "ctrf", 0, PV_OPTION_TEXT, AT(reports.ctrf), .argument = "PATH", .help = "results as CTRF JSON" },
	{ "html", 0, PV_OPTION_TEXT, AT(reports.html), .argument = "PATH", .help = "results as one page of HTML" },
	{ "journal", 0, PV_OPTION_MAYBE, AT(journal), .argument = "PATH", .help = "run directory to create" },
	{ "no-journal", 0, PV_OPTION_FLAG, AT(no_journal), .help = "record in memory only" },
	{ "durability", 0, PV_OPTION_CHOICE, AT(durability), .argument = "sync|batch|none", .choices = durabilities,
	  .help = "when the journal reaches the disk (default: batch)" },
	PV_OPTION_NOT_YET("watch"),
	PV_OPTION_NOT_YET("retries"),
	PV_OPTION_NOT_YET("repeat"),
	PV_OPTION_NOT_YET("keep-failed"),
	PV_OPTION_NOT_YET("save-events"),
	PV_OPTION_NOT_YET("events-stdout"),
	PV_OPTION_NOT_YET("events-socket"),
	{ .name = NULL },
};

#undef AT

static enum pv_exit contradiction(char *const *argv)
{
	static const char *const verbose[] = { "-v", "--verbose", NULL }, *const quiet[] = { "-q", "--quiet", NULL };
	static const char *const json[] = { "--json", NULL }, *const tap[] = { "--tap", NULL };
	static const char *const no_journal[] = { "--no-journal", NULL };
	static const char *const recording[] = { "--journal", "--durability", NULL };

	if (pv_verb_given_both(argv, verbose, quiet))
		return pv_verb_usage(&pv_verb_run, "--verbose and --quiet exclude each other");
	if (pv_verb_given_both(argv, json, tap))
		return pv_verb_usage(&pv_verb_run, "--json and --tap exclude each other: stdout has one owner");
	if (pv_verb_given_both(argv, no_journal, recording))
		return pv_verb_usage(&pv_verb_run, "--no-journal excludes --journal and --durability");
	return PV_EXIT_OK;
}

static struct pv_run_options run_options(const struct flags *flags, const struct pv_option_texts *paths,
                                         char *const *argv)
{
	return (struct pv_run_options){
		.config = flags->config,
		.paths = paths->items,
		.n_paths = paths->n,
		.select = flags->select,
		.tests = {
			.include_slow = flags->include_slow,
			.tags = flags->tags.items,
			.n_tags = flags->tags.n,
			.no_tags = flags->no_tags.items,
			.n_no_tags = flags->no_tags.n,
			.tag_metas = flags->tag_metas.items,
			.n_tag_metas = flags->tag_metas.n,
			.no_tag_metas = flags->no_tag_metas.items,
			.n_no_tag_metas = flags->no_tag_metas.n,
		},
		.accel = flags->accel_choice < 0 ? NULL : accels[flags->accel_choice],
		.mem_bytes = flags->mem_bytes,
		.cpus = flags->cpus,
		.cpu_overcommit = flags->cpu_overcommit,
		.jobs = flags->jobs,
		.psi_threshold = flags->psi_threshold,
		.no_preflight = flags->no_preflight,
		.no_templates = flags->no_templates,
		.timeout_ns = flags->timeout_ns,
		.orphan_timeout_ns = flags->orphan_timeout_ns,
		.fail_fast = flags->fail_fast,
		.has_seed = flags->seed.given,
		.seed = flags->seed.value,
		.verbosity = (enum pv_verbosity)flags->verbosity,
		.color = (enum pv_color)flags->color,
		.json = flags->json,
		.tap = flags->tap,
		.reports = flags->reports,
		.journal = flags->journal.text,
		.no_journal = flags->no_journal,
		.durability = (enum pv_durability)flags->durability,
		.argv = argv,
	};
}

struct pv_run_flags {
	struct flags flags;
	struct pv_option_texts paths;
	struct pv_run_options options;
};

static bool parse(struct pv_run_flags *run, char *const *argv)
{
	struct pv_errmsg msg = { .text = "" };
	struct flags *flags = &run->flags;

	if (!pv_verb_parse(&pv_verb_run, argv, flags, &run->paths) || contradiction(argv) != PV_EXIT_OK)
		return false;
	if (flags->shard && pv_shard_parse(flags->shard, &flags->select.shard, &msg) != PV_OK) {
		(void)pv_verb_usage(&pv_verb_run, "%s", msg.text);
		return false;
	}
	run->options = run_options(flags, &run->paths, argv);
	return true;
}

struct pv_run_flags *pv_run_flags_parse(char *const *argv)
{
	struct pv_run_flags *run = PV_NEW(struct pv_run_flags);

	run->flags = (struct flags){
		.accel_choice = -1,
		.psi_threshold = 50,
		.timeout_ns = 300ull * 1000000000u,
		.orphan_timeout_ns = 600ull * 1000000000u,
		.verbosity = PV_NORMAL,
		.durability = PV_DURABILITY_BATCH,
	};
	if (parse(run, argv))
		return run;
	pv_run_flags_free(run);
	return NULL;
}

const struct pv_run_options *pv_run_flags_options(const struct pv_run_flags *run)
{
	return &run->options;
}

void pv_run_flags_free(struct pv_run_flags *run)
{
	if (!run)
		return;
	free(run->flags.tags.items);
	free(run->flags.no_tags.items);
	free(run->flags.tag_metas.items);
	free(run->flags.no_tag_metas.items);
	free(run->paths.items);
	free(run);
}

static enum pv_exit run(char *const *argv)
{
	struct pv_run_flags *flags = pv_run_flags_parse(argv);
	enum pv_exit code = flags ? pv_run_execute(pv_run_flags_options(flags)) : PV_EXIT_TROUBLE;

	pv_run_flags_free(flags);
	return code;
}

const struct pv_verb pv_verb_run = {
	.name = "run",
	.synopsis = "run [PATH]... [flags]",
	.summary = "run test files (*.test.lua)",
	.options = options,
	.run = run,
};
