#include <stdio.h>
#include <stdlib.h>

#include "tools/provium/verb.h"

static const struct pv_option options[] = { { .name = NULL } };

static enum pv_exit run(char *const *argv)
{
	struct pv_option_texts rest = { .items = NULL };
	bool ok = pv_verb_parse(&pv_verb_version, argv, NULL, &rest);

	if (ok)
		puts("provium " PV_VERSION);
	free(rest.items);
	return ok ? PV_EXIT_OK : PV_EXIT_TROUBLE;
}

const struct pv_verb pv_verb_version = {
	.name = "version",
	.synopsis = "version",
	.summary = "the version of this program",
	.options = options,
	.run = run,
};
