#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/replay/audit.h"
#include "tools/provium/verb.h"

struct flags {
	const char *config, *against, *key;
};

#define AT(member) .offset = offsetof(struct flags, member)

static const struct pv_option options[] = {
	{ "against", 0, PV_OPTION_TEXT, AT(against), .argument = "NOTE",
	  .help = "also: the run begins with the events of this checkpoint, kept elsewhere" },
	{ "key", 0, PV_OPTION_TEXT, AT(key), .argument = "PUBFILE",
	  .help = "also: the checkpoints are signed with the private part of this public key (PEM, Ed25519)" },
	{ "config", 0, PV_OPTION_TEXT, AT(config), .argument = "PATH",
	  .help = "configuration (default: ./provium.toml)" },
	PV_OPTION_NOT_YET("format"),
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
	struct pv_audit store; /* the journal as a store, and the fold of its events */
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

/* ---- as text ---- */

static void print_hash(const char *name, const uint8_t *hash)
{
	printf("%s: ", name);
	for (size_t i = 0; i < PV_SHA256_BYTES; i++)
		printf("%02x", hash[i]);
	puts("");
}

static void print_store(const struct pv_audit *audit)
{
	for (int i = 0; i < PV_AUDIT_CHECKS; i++) {
		const struct pv_audit_line *line = &audit->lines[i];

		if (line->outcome == PV_AUDIT_NOT_ASKED)
			continue;
		printf("%s: %s%s\n", pv_audit_name((enum pv_audit_check)i),
		       line->outcome == PV_AUDIT_FAILED ? "FAILED: " : "", line->text);
		if (i == PV_AUDIT_CHAIN && line->outcome == PV_AUDIT_PASSED) {
			print_hash("head", audit->chain.head);
			print_hash("root", audit->chain.root);
		}
	}
}

/* Each failed check on stderr, with the first bad event where there is one. */
static void say_failures(const char *run, const struct pv_audit *audit)
{
	for (int i = 0; i < PV_AUDIT_CHECKS; i++) {
		const struct pv_audit_line *line = &audit->lines[i];

		if (line->outcome == PV_AUDIT_FAILED && line->seq > 0)
			pv_run_say("audit of %s failed at event %" PRIu64 ": %s: %s", run, line->seq,
			           pv_audit_name((enum pv_audit_check)i), line->text);
		else if (line->outcome == PV_AUDIT_FAILED)
			pv_run_say("audit of %s failed: %s: %s", run, pv_audit_name((enum pv_audit_check)i),
			           line->text);
	}
}

static enum pv_exit audit(const struct request *request, const char *run)
{
	struct report *report = calloc(1, sizeof(*report));
	bool ok;

	if (!report)
		return PV_EXIT_TROUBLE;
	ok = check_store(request, report);
	print_store(&report->store);
	fflush(stdout);
	if (!ok)
		say_failures(run, &report->store);
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
		code = audit(&request, rest.items[0]);
	free_request(&request);
	free(rest.items);
	return code;
}

const struct pv_verb pv_verb_audit = {
	.name = "audit",
	.synopsis = "audit RUN [--against NOTE] [--key PUBFILE]",
	.summary = "check a journal: records, hash chain, checkpoints, tables, blobs, and the lab folded from it",
	.options = options,
	.run = run,
};
