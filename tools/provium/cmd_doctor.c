#include <stdio.h>
#include <stdlib.h>

#include "engine/run/preflight.h"
#include "tools/provium/verb.h"

static const char *const accels[] = { "auto", "kvm", "tcg", NULL };

struct flags {
	const char *config;
	int accel;
	unsigned jobs;
};

static const struct pv_option options[] = {
	{ "config", 0, PV_OPTION_TEXT, offsetof(struct flags, config), .argument = "PATH",
	  .help = "configuration (default: ./provium.toml)" },
	{ "accel", 0, PV_OPTION_CHOICE, offsetof(struct flags, accel), .argument = "auto|kvm|tcg", .choices = accels,
	  .help = "accelerator (default: the profiles')" },
	{ "jobs", 0, PV_OPTION_COUNT, offsetof(struct flags, jobs), .argument = "N",
	  .help = "files in flight that are meant (default: 1)" },
	{ .name = NULL },
};

static void print_check(void *arg, enum pv_check_level level, const char *check, const char *text)
{
	static const char *const words[] = { [PV_CHECK_OK] = "ok", [PV_CHECK_WARN] = "warn", [PV_CHECK_FAIL] = "fail" };

	(void)arg;
	printf("%-4s  %s: %s\n", words[level], check, text);
	fflush(stdout);
}

static enum pv_exit doctor(const struct flags *flags)
{
	struct pv_errmsg msg = { .text = "" };
	struct pv_config config;

	if (pv_config_load(flags->config, false, &config, &msg) != PV_OK) {
		print_check(NULL, PV_CHECK_FAIL, "configuration", msg.text);
		return PV_EXIT_TROUBLE;
	}
	struct pv_preflight preflight = {
		.config = &config,
		.accel = flags->accel < 0 ? NULL : accels[flags->accel],
		.jobs = flags->jobs,
		.probe_auto = true,
		.report = print_check,
	};
	bool ok = pv_preflight(&preflight);
	pv_config_free(&config);
	return ok ? PV_EXIT_OK : PV_EXIT_TROUBLE;
}

static enum pv_exit run(char *const *argv)
{
	struct flags flags = { .accel = -1, .jobs = 1 };
	struct pv_option_texts rest = { .items = NULL };
	enum pv_exit code = PV_EXIT_TROUBLE;

	if (pv_verb_parse(&pv_verb_doctor, argv, &flags, &rest))
		code = rest.n ? pv_verb_usage(&pv_verb_doctor, "%s: no words are wanted here", rest.items[0])
		              : doctor(&flags);
	free(rest.items);
	return code;
}

const struct pv_verb pv_verb_doctor = {
	.name = "doctor",
	.synopsis = "doctor [flags]",
	.summary = "check what runs need of this host",
	.options = options,
	.run = run,
};
