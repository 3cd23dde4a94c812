/* What the source of a fixture, or of a helper, says of its inputs without being executed: literal arguments of vm_fixture, lab_fixture,
 * depends_on_file, push_file, vm and require. Methods and the dot form (`lab.vm_fixture(lab, "x")`), with and without parentheses.
 */
#ifndef PV_RUN_FIXTURE_SCAN_H
#define PV_RUN_FIXTURE_SCAN_H

#include <stddef.h>

/* Texts as the source gives them, in order, each once. */
struct pv_scan_texts {
	char **items;
	size_t n;
};

struct pv_fixture_scan {
	struct pv_scan_texts fixtures;
	struct pv_scan_texts
	    files; /* of depends_on_file and push_file, but for those with a literal `auto_dep = false` */
	struct pv_scan_texts modules;
	struct pv_scan_texts profiles; /* second argument of vm */
};

/* Fills `out`; any text will do. Free with pv_fixture_scan_free(). */
void pv_fixture_scan(const char *source, size_t len, struct pv_fixture_scan *out);
void pv_fixture_scan_free(struct pv_fixture_scan *scan);

#endif
