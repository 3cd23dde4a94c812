/* What a lab graph should be, in the simplest way there is: lists that are searched and closed by brute force. It is told what was accepted,
 * and is compared with the state. */
#ifndef PV_TESTS_CORE_MODEL_H
#define PV_TESTS_CORE_MODEL_H

#include "core_events.h"

struct model;

struct model *model_create(void);
void model_destroy(struct model *model);
/* False: the event does not concern the graph. */
bool model_accept(struct model *model, const Pv__Event *event);
/* Fails the test on any difference in objects, members, order, homes or lookup. */
void model_compare(const struct model *model, const struct pv_state *state);

#endif
