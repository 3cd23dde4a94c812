/* What a journal says about a run that is to be resumed. Private to resuming. */
#ifndef PV_RUN_RESUME_RECORD_H
#define PV_RUN_RESUME_RECORD_H

#include <stdbool.h>
#include <stdint.h>
#include <uthash.h>

#include "engine/core/state.h"
#include "journal/journal.h"
#include "proto/err.h"

/* A VM's last boot. */
struct pv_resume_boot {
	uint32_t vm;
	Pv__Event *intent, *outcome; /* outcome NULL: none */
	UT_hash_handle hh;
};

struct pv_resume_file {
	char *root_path, *shown_path, *real_path;
	uint8_t sha256[32];
	struct pv_amount declared; /* zero: none seen */
	struct pv_amount reserved; /* at the dispatch */
	uint32_t builds_for;       /* of a fixture's builder; else 0 */
	Pv__Event *building;       /* of a builder: FixtureBuildStarted, without the end of that; else NULL */
	Pv__Event *dispatched;     /* the last FileDispatched; NULL: none */
	uint64_t begins;           /* number of its last FileDispatched; 0: not begun */
	bool completed;
	bool interrupted;         /* by a signal */
	bool stopped;             /* its VMs were ended while no runner was there */
	unsigned crashes_of_test; /* how often the run was resumed since the running test began */
	char *restart;            /* why it begins anew; NULL: it goes on */
};

struct pv_resume_record {
	struct pv_state *end;
	Pv__Event *started; /* RunStarted */
	char *boot_id;      /* of the host, at the last start or resume */
	uint64_t mono_ns;   /* of the last event */
	uint64_t events;
	bool has_ended;
	Pv__Verdict verdict;
	struct pv_resume_file *files; /* by id - 1 */
	size_t n_files;
	struct pv_resume_boot *boots; /* by VM */
};

/* Reads the journal to its end. Free with pv_resume_record_free() in any case. */
enum pv_err pv_resume_record_read(struct pv_journal *journal, struct pv_resume_record *out,
                                  struct pv_errmsg *msg) PV_MUST_CHECK;
void pv_resume_record_free(struct pv_resume_record *record);

/* The file is in flight at the end of the journal, and goes on. */
bool pv_resume_goes_on(const struct pv_resume_record *record, uint32_t file);
/* NULL: the VM has never been booted. */
struct pv_resume_boot *pv_resume_boot_of(const struct pv_resume_record *record, uint32_t vm);

#endif
