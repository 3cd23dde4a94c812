#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/replay/audit.h"
#include "engine/replay/invariants.h"
#include "engine/replay/summary.h"
#include "tools/provium/verb.h"

struct flags {
	const char *config, *against, *key;
	int format; /* enum pv_summary_format */
};

static const char *const formats[] = { "text", "json", "in-toto", NULL };

#define AT(member) .offset = offsetof(struct flags, member)

static const struct pv_option options[] = {
	{ "against", 0, PV_OPTION_TEXT, AT(against), .argument = "NOTE",
	  .help = "also: the run begins with the events of this checkpoint, kept elsewhere" },
	{ "key", 0, PV_OPTION_TEXT, AT(key), .argument = "PUBFILE",
	  .help = "also: the checkpoints are signed with the private part of this public key (PEM, Ed25519)" },
	{ "config", 0, PV_OPTION_TEXT, AT(config), .argument = "PATH",
	  .help = "configuration (default: ./provium.toml)" },
	{ "format", 0, PV_OPTION_CHOICE, AT(format), .argument = "text|json|in-toto", .choices = formats,
	  .help = "what ran and what was checked: for people, as JSON, as an in-toto statement (docs/audit.md)" },
	{ .name = NULL },
};

#undef AT

/* What the command line names, loaded. */
struct request {
	char *dir;
	struct pv_note against;
	bool has_against;
	struct pv_verifier *key;
};

/* All that was found out. Each check_...() fills in its part and returns false if what it looked at is bad. */
struct report {
	struct pv_audit store;      /* the journal as a store, and the fold of its events */
	struct pv_audit_line rules; /* what must hold beyond that (invariants.h) */
	struct pv_summary what;     /* what ran; empty if the journal cannot be read */
	struct pv_summary_check checks[PV_AUDIT_CHECKS + 1];
	size_t n_checks;
};

static bool load_request(const struct flags *flags, const char *run, struct request *out)
{
	struct pv_errmsg msg = { .text = "" };
	enum pv_err err = PV_OK;

	*out = (struct request){ .has_against = flags->against != NULL };
	if (flags->against)
		err = pv_note_load(flags->against, &out->against, &msg);
	if (!err && flags->key)
		err = pv_verifier_load(flags->key, &out->key, &msg);
	if (err) {
		pv_run_say("%s", msg.text);
		return false;
	}
	return pv_verb_find_run(flags->config, run, &out->dir);
}

static void free_request(struct request *request)
{
	free(request->dir);
	pv_verifier_free(request->key);
}

/* ---- checks ---- */

static bool check_store(const struct request *request, struct report *report)
{
	const struct pv_audit_request audit = {
		.dir = request->dir,
		.against = request->has_against ? &request->against : NULL,
		.key = request->key,
	};

	return pv_audit_run(&audit, &report->store);
}

static size_t count_rules(void)
{
	size_t n = 0;

	while (pv_invariant_rules[n].name != NULL)
		n++;
	return n;
}

static enum pv_err read_events(const char *dir, struct report *report, struct pv_errmsg *msg)
{
	struct pv_invariants_verdict verdict;
	struct pv_journal *journal;
	enum pv_err err = pv_journal_open_read(dir, &journal, msg);

	if (err)
		return err;
	err = pv_invariants_walk(journal, NULL, NULL, &verdict, msg);
	if (!err)
		err = pv_summary_read(journal, &report->what, msg);
	pv_journal_close(journal);
	if (err)
		return err;
	report->rules.outcome = verdict.violations ? PV_AUDIT_FAILED : PV_AUDIT_PASSED;
	report->rules.seq = verdict.first_seq;
	if (verdict.violations)
		snprintf(report->rules.text, sizeof(report->rules.text), "%s (%" PRIu64 " breach(es) in all)",
		         verdict.first, verdict.violations);
	else
		snprintf(report->rules.text, sizeof(report->rules.text), "all %zu hold", count_rules());
	return PV_OK;
}

/* Only a journal whose records are whole is opened in this process. */
static bool check_rules(const struct request *request, struct report *report)
{
	struct pv_errmsg msg = { .text = "" };

	if (report->store.lines[PV_AUDIT_CHAIN].outcome != PV_AUDIT_PASSED) {
		snprintf(report->rules.text, sizeof(report->rules.text), "not looked at: the records are not whole");
		return true;
	}
	if (read_events(request->dir, report, &msg) != PV_OK) {
		report->rules.outcome = PV_AUDIT_FAILED;
		snprintf(report->rules.text, sizeof(report->rules.text), "%.1000s", msg.text);
	} else {
		report->what.has_head = report->what.has_root = true;
		memcpy(report->what.head, report->store.chain.head, PV_SHA256_BYTES);
		memcpy(report->what.merkle_root, report->store.chain.root, PV_SHA256_BYTES);
	}
	return report->rules.outcome != PV_AUDIT_FAILED;
}

/* ---- what came of it ---- */

static void list_check(struct report *report, const char *name, const struct pv_audit_line *line)
{
	if (line->outcome == PV_AUDIT_NOT_ASKED)
		return;
	report->checks[report->n_checks++] = (struct pv_summary_check){
		.name = name,
		.ok = line->outcome == PV_AUDIT_PASSED,
		.not_looked = line->outcome == PV_AUDIT_NOT_LOOKED,
		.text = line->text,
	};
}

static void list_checks(struct report *report)
{
	for (int i = 0; i < PV_AUDIT_CHECKS; i++)
		list_check(report, pv_audit_name((enum pv_audit_check)i), &report->store.lines[i]);
	list_check(report, "rules", &report->rules);
}

static void say_failure(const char *run, const char *name, const struct pv_audit_line *line)
{
	if (line->outcome == PV_AUDIT_FAILED && line->seq > 0)
		pv_run_say("audit of %s failed at event %" PRIu64 ": %s: %s", run, line->seq, name, line->text);
	else if (line->outcome == PV_AUDIT_FAILED)
		pv_run_say("audit of %s failed: %s: %s", run, name, line->text);
}

/* Each failed check on stderr, with the first bad event where there is one. */
static void say_failures(const char *run, const struct report *report)
{
	for (int i = 0; i < PV_AUDIT_CHECKS; i++)
		say_failure(run, pv_audit_name((enum pv_audit_check)i), &report->store.lines[i]);
	say_failure(run, "rules", &report->rules);
}

static enum pv_exit audit(const struct request *request, enum pv_summary_format format, const char *run)
{
	struct report *report = calloc(1, sizeof(*report));
	bool ok;

	if (!report)
		return PV_EXIT_TROUBLE;
	ok = check_store(request, report);
	ok = check_rules(request, report) && ok;
	list_checks(report);
	pv_summary_print(&report->what, format, report->checks, report->n_checks, stdout);
	fflush(stdout);
	if (!ok)
		say_failures(run, report);
	pv_summary_free(&report->what);
	free(report);
	return ok ? PV_EXIT_OK : PV_EXIT_PROOF;
}

/* ---- the verb ---- */

static enum pv_exit run(char *const *argv)
{
	struct flags flags = { .config = NULL };
	struct pv_option_texts rest = { .items = NULL };
	struct request request = { .dir = NULL };
	enum pv_exit code = PV_EXIT_TROUBLE;

	if (!pv_verb_parse(&pv_verb_audit, argv, &flags, &rest))
		code = PV_EXIT_TROUBLE;
	else if (rest.n != 1)
		code = pv_verb_usage(&pv_verb_audit, rest.n ? "one RUN at a time" : "which RUN? `last` is the newest");
	else if (load_request(&flags, rest.items[0], &request))
		code = audit(&request, (enum pv_summary_format)flags.format, rest.items[0]);
	free_request(&request);
	free(rest.items);
	return code;
}

const struct pv_verb pv_verb_audit = {
	.name = "audit",
	.synopsis = "audit RUN [--against NOTE] [--key PUBFILE] [--format text|json|in-toto]",
	.summary =
	    "check a journal: records, hash chain, checkpoints, tables, blobs, the lab folded from it, and its rules; and tell what ran",
	.options = options,
	.run = run,
};
