/* To what an event belongs: files, VMs, bridges, tasks, and a call. A function of the event alone, so an outcome belongs to its call, and
 * by that to the VM of its intent. */
#ifndef PV_CORE_SUBJECTS_H
#define PV_CORE_SUBJECTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/journal.pb-c.h"

enum pv_subject_kind { PV_SUBJECT_FILE = 1, PV_SUBJECT_VM, PV_SUBJECT_BRIDGE, PV_SUBJECT_TASK };

struct pv_subject {
	enum pv_subject_kind kind;
	uint32_t id;
};

/* A zeroed struct is ready for use, and used again for the next event. The same subject may be there twice. */
struct pv_subjects {
	struct pv_subject *items;
	size_t n, cap;
	uint64_t call; /* 0: none */
	bool is_outcome;
};

void pv_event_subjects(const Pv__Event *event, struct pv_subjects *out);
void pv_subjects_free(struct pv_subjects *subjects);

#endif
