#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "engine/core/units.h"
#include "engine/run/left.h"
#include "engine/run/store.h"
#include "proto/mem.h"
#include "tools/provium/verb.h"

struct flags {
	const char *config;
};

static const struct pv_option options[] = {
	{ "config", 0, PV_OPTION_TEXT, offsetof(struct flags, config), .argument = "PATH",
	  .help = "configuration (default: ./provium.toml)" },
	{ .name = NULL },
};

static void print_vm(const struct pv_left *left, const struct pv_left_vm *vm, bool *headed)
{
	uint64_t now = (uint64_t)time(NULL) * 1000000000u;
	char age[32] = "-", memory[32], ends[32] = "-", *name;

	if (!*headed)
		printf("%-32s %8s  %-9s %8s %10s  %s\n", "VM", "PID", "STATE", "AGE", "MEMORY", "ENDS IN");
	*headed = true;
	if (vm->booted_wall_ns != 0 && now > vm->booted_wall_ns)
		pv_format_duration((now - vm->booted_wall_ns) / 1000000000u * 1000000000u, age);
	if (left->watched)
		pv_format_duration(left->left_ms / 1000u * 1000000000u, ends);
	name = pv_xasprintf("%s/%s", left->id, vm->name);
	printf("%-32s %8d  %-9s %8s %10s  %s\n", name, (int)vm->pid,
	       !left->watched ? "unwatched"
	       : vm->paused   ? "paused"
	                      : "running",
	       age, pv_format_size(vm->resident_bytes, memory), ends);
	free(name);
}

static void print_run(const char *id, const char *dir, bool *headed)
{
	struct pv_left left;

	pv_left_look(id, dir, &left);
	for (size_t i = 0; i < left.n_vms; i++)
		print_vm(&left, &left.vms[i], headed);
	pv_left_free(&left);
}

static enum pv_err print_store(const char *store, struct pv_errmsg *msg)
{
	struct pv_stored_runs runs = { .ids = NULL };
	bool headed = false;
	enum pv_err err = pv_stored_runs_list(store, &runs, msg);

	for (size_t i = 0; i < runs.n; i++) {
		char *dir = pv_xasprintf("%s/%s", store, runs.ids[i]);

		print_run(runs.ids[i], dir, &headed);
		free(dir);
	}
	pv_stored_runs_free(&runs);
	return err;
}

static enum pv_exit run(char *const *argv)
{
	struct flags flags = { .config = NULL };
	struct pv_option_texts rest = { .items = NULL };
	struct pv_errmsg msg = { .text = "" };
	struct pv_config config;
	enum pv_err err;

	if (!pv_verb_parse(&pv_verb_ps, argv, &flags, &rest)) {
		free(rest.items);
		return PV_EXIT_TROUBLE;
	}
	free(rest.items);
	if (rest.n > 0)
		return pv_verb_usage(&pv_verb_ps, "no words are wanted");
	err = pv_config_load(flags.config, false, &config, &msg);
	if (!err) {
		err = print_store(config.run_dir, &msg);
		pv_config_free(&config);
	}
	if (err)
		pv_run_say("%s", msg.text);
	return err ? PV_EXIT_TROUBLE : PV_EXIT_OK;
}

const struct pv_verb pv_verb_ps = {
	.name = "ps",
	.synopsis = "ps",
	.summary = "the VMs that runs whose runner was killed have left",
	.options = options,
	.run = run,
};
