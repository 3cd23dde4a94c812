/* provium.reset_between_tests; what the runner calls is in script.h. */
#ifndef PV_SCRIPT_RESET_H
#define PV_SCRIPT_RESET_H

struct pv_baseline;

void pv_baseline_destroy(struct pv_baseline *baseline); /* NULL is fine */

#endif
