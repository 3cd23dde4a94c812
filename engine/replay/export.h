/* A recorded run for other programs. docs/export.md has the formats. */
#ifndef PV_REPLAY_EXPORT_H
#define PV_REPLAY_EXPORT_H

#include <stdio.h>

#include "journal/journal.h"
#include "proto/err.h"

enum pv_export_format {
	PV_EXPORT_JSONL,       /* the event channel, one object a line */
	PV_EXPORT_CLOUDEVENTS, /* the same as CloudEvents 1.0, one a line */
	PV_EXPORT_OTLP_JSON,   /* a trace for OpenTelemetry: run, files, tests, calls */
};

/* Writes what is committed to `out`: the same bytes for the same journal. Errors of the cursor; PV_ERR_CORRUPT for bytes that are no event.
 * Whether `out` took everything the caller asks of `out`. */
enum pv_err pv_export(struct pv_journal *journal, enum pv_export_format format, FILE *out,
                      struct pv_errmsg *msg) PV_MUST_CHECK;

#endif
