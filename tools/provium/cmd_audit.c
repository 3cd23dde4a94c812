#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/replay/fold.h"
#include "tools/provium/verb.h"

struct flags {
	const char *config;
};

static const struct pv_option options[] = {
	{ "config", 0, PV_OPTION_TEXT, offsetof(struct flags, config), .argument = "PATH",
	  .help = "configuration (default: ./provium.toml)" },
	PV_OPTION_NOT_YET("against"),
	PV_OPTION_NOT_YET("key"),
	PV_OPTION_NOT_YET("format"),
	{ .name = NULL },
};

static void print_hash(const uint8_t *hash)
{
	for (size_t i = 0; i < PV_SHA256_BYTES; i++)
		printf("%02x", hash[i]);
	puts("");
}

/* The chain is walked in a child process, which a damaged file may crash; only a whole journal is opened here. */
static enum pv_err audit(const char *dir, struct pv_errmsg *msg)
{
	struct pv_journal_verdict chain;
	struct pv_fold_verdict fold;
	struct pv_journal *journal;
	enum pv_err err = pv_journal_verify_dir(dir, &chain, msg);

	if (err)
		return err;
	printf("chain: %" PRIu64 " event(s), whole; head ", chain.records);
	print_hash(chain.head);
	err = pv_journal_open_read(dir, &journal, msg);
	if (err)
		return err;
	err = pv_fold_check(journal, &fold, msg);
	pv_journal_close(journal);
	if (err)
		return err;
	if (fold.ends > 0)
		puts("fold: the lab folded from the events is the lab that the run had");
	else
		puts("fold: the events fit one another; the run has not ended, so there is no state to compare");
	return PV_OK;
}

static enum pv_exit run(char *const *argv)
{
	struct flags flags = { .config = NULL };
	struct pv_option_texts rest = { .items = NULL };
	struct pv_errmsg msg = { .text = "" };
	enum pv_exit code = PV_EXIT_TROUBLE;
	char *dir = NULL;

	if (!pv_verb_parse(&pv_verb_audit, argv, &flags, &rest))
		code = PV_EXIT_TROUBLE;
	else if (rest.n != 1)
		code = pv_verb_usage(&pv_verb_audit, rest.n ? "one RUN at a time" : "which RUN? `last` is the newest");
	else if (pv_verb_find_run(flags.config, rest.items[0], &dir)) {
		code = audit(dir, &msg) == PV_OK ? PV_EXIT_OK : PV_EXIT_PROOF;
		fflush(stdout);
		if (code != PV_EXIT_OK)
			pv_run_say("audit of %s failed: %s", rest.items[0], msg.text);
	}
	free(dir);
	free(rest.items);
	return code;
}

const struct pv_verb pv_verb_audit = {
	.name = "audit",
	.synopsis = "audit RUN",
	.summary = "check a journal: records, hash chain, and the lab folded from it",
	.options = options,
	.run = run,
};
