/* Private to the summary: its printers. */
#ifndef PV_REPLAY_SUMMARY_INTERNAL_H
#define PV_REPLAY_SUMMARY_INTERNAL_H

#include "engine/replay/summary.h"

void pv_summary_print_text(const struct pv_summary *summary, const struct pv_summary_check *checks, size_t n_checks,
                           FILE *out);
void pv_summary_print_json(const struct pv_summary *summary, const struct pv_summary_check *checks, size_t n_checks,
                           FILE *out);
void pv_summary_print_in_toto(const struct pv_summary *summary, const struct pv_summary_check *checks, size_t n_checks,
                              FILE *out);

/* The checks as a JSON array, which the caller owns. */
struct json_object;
struct json_object *pv_summary_checks_json(const struct pv_summary_check *checks, size_t n);

#endif
