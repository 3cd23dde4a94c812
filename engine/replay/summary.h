/* What ran: a recorded run as plain data, for audit and whoever wants to prove something with it. */
#ifndef PV_REPLAY_SUMMARY_H
#define PV_REPLAY_SUMMARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "journal/journal.h"
#include "proto/err.h"

/* Texts are NULL where the journal has none. */
struct pv_summary_test {
	uint32_t id; /* of its last attempt */
	char *name;
	Pv__Verdict verdict; /* UNSPECIFIED: it had not ended */
	uint64_t duration_ns;
	char *message;
	uint32_t attempts; /* 0: skipped without having been started */
};

struct pv_summary_file {
	uint32_t id;
	char *root_path;
	char *shown_path;
	uint32_t builds_for; /* of a fixture's builder: the file that asked; 0: a test file. It counts in no sum */
	bool has_sha256;
	uint8_t sha256[PV_SHA256_BYTES]; /* of the source */
	bool dispatched;
	Pv__Verdict verdict; /* UNSPECIFIED: it had not completed */
	uint64_t duration_ns;
	char *chunk_error;
	uint32_t restarts;
	struct pv_summary_test *tests; /* since the last restart */
	size_t n_tests;
};

struct pv_summary_profile {
	char *name;
	char *kernel_path, *initrd_path;
	bool has_kernel, has_initrd;
	uint8_t kernel_sha256[PV_SHA256_BYTES], initrd_sha256[PV_SHA256_BYTES];
	char *machine;
	char *qemu_version;
	uint32_t boots; /* that succeeded */
};

/* A boot that succeeded. */
struct pv_summary_boot {
	uint64_t seq; /* of its outcome */
	uint32_t vm;  /* number of the VM */
	uint32_t file;
	char *name;
	char *profile;
	char *accel;
	char *kernel_release;
	bool from_template;
	uint64_t duration_ns;
};

struct pv_summary_counts {
	uint32_t files, passed, failed, skipped, flaky; /* of files that completed */
};

struct pv_summary {
	char *run_id;
	char *version;
	char *hostname;
	char *host_kernel;
	char *cwd;
	uint64_t seed;
	char **argv;
	size_t n_argv;
	uint64_t started_wall_ns, ended_wall_ns; /* 0: not, or not yet */
	uint64_t mono_ns;                        /* at the last event: how long it took */
	bool ended;
	Pv__Verdict verdict; /* when ended */
	uint64_t events;
	uint32_t resumes, restarts;
	struct pv_summary_profile *profiles;
	size_t n_profiles;
	struct pv_summary_file *files;
	size_t n_files;
	struct pv_summary_boot *boots; /* in the order of their ends */
	size_t n_boots;
	struct pv_summary_counts counts;

	/* Of the journal itself; set by whoever verified it. */
	bool has_head, has_root;
	uint8_t head[PV_SHA256_BYTES];        /* hash of the last record */
	uint8_t merkle_root[PV_SHA256_BYTES]; /* of the tree over all records */
};

/* One walk over the committed events. Events are not checked: use the fold and the invariants for that. Errors of the cursor;
 * PV_ERR_CORRUPT for bytes that are no event. `out` is to be freed in any case. */
enum pv_err pv_summary_read(struct pv_journal *journal, struct pv_summary *out, struct pv_errmsg *msg) PV_MUST_CHECK;
void pv_summary_free(struct pv_summary *summary);

/* A check that was made, and what it came to. */
struct pv_summary_check {
	const char *name; /* "chain" */
	bool ok;
	bool not_looked;  /* and not ok: its ground was gone */
	const char *text; /* one line */
};

enum pv_summary_format { PV_SUMMARY_TEXT, PV_SUMMARY_JSON, PV_SUMMARY_IN_TOTO };

/* docs/audit.md has the formats. Equal summaries and checks give equal bytes. */
void pv_summary_print(const struct pv_summary *summary, enum pv_summary_format format,
                      const struct pv_summary_check *checks, size_t n_checks, FILE *out);

#endif
