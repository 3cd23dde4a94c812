/* Which tests of a file run: the flags that select by `meta`, in their fixed order (slow, no-tag, tag, no-tag-meta, tag-meta). */
#ifndef PV_RUN_FILTERS_H
#define PV_RUN_FILTERS_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/err.h"
#include "proto/journal.pb-c.h"
#include "proto/mem.h"

struct pv_test_filters {
	bool include_slow;
	const char *const *tags;
	size_t n_tags;
	const char *const *no_tags;
	size_t n_no_tags;
	const char *const *tag_metas; /* KEY=VALUE */
	size_t n_tag_metas;
	const char *const *no_tag_metas;
	size_t n_no_tag_metas;
};

/* PV_ERR_INVAL for a KEY=VALUE without '=' or without KEY. */
enum pv_err pv_filters_check(const struct pv_test_filters *filters, struct pv_errmsg *msg) PV_MUST_CHECK;

/* True if a test with this `meta` (a map, or NULL) is filtered out; then the reason is put into `reason`. */
bool pv_filters_skip(const struct pv_test_filters *filters, const Pv__Value *meta, struct pv_buf *reason);

#endif
