/* What a test file says of itself without being executed: literal fixture names, and its literal claim.
 *
 * A lexer of Lua, no parser: it knows comments, strings and blocks, so that it can tell file scope from the body of a function. What it
 * does not recognise as literal is not there. What the script really asks when it runs wins over what is found here.
 */
#ifndef PV_RUN_SCAN_H
#define PV_RUN_SCAN_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/core/state.h"

struct pv_scan {
	bool has_claim;         /* the first `:claim({...})` of literals at file scope, outside of any function body */
	struct pv_amount claim; /* an absent field is 0 */
	char **fixtures;        /* literal names in vm_fixture(...) and lab_fixture(...), in order, each once */
	size_t n_fixtures;
};

/* Fills `out`; free with pv_scan_free(). Any text will do, also what Lua would not compile. */
void pv_scan_source(const char *source, size_t len, struct pv_scan *out);
/* The same for a file; one that cannot be read says nothing. */
void pv_scan_file(const char *path, struct pv_scan *out);
void pv_scan_free(struct pv_scan *scan);

#endif
