#include <stdio.h>
#include <stdlib.h>

#include "tools/provium/verb.h"

static const struct pv_option options[] = { { .name = NULL } };

static void overview(void)
{
	puts("provium runs labs of real virtual machines, scripted in Lua.\n\nusage: provium VERB ...\n");
	for (const struct pv_verb *const *verb = pv_verbs; *verb; verb++)
		printf("  %-10s %s\n", (*verb)->name, (*verb)->summary);
	puts("\n`provium help VERB` tells more of one.");
}

static enum pv_exit run(char *const *argv)
{
	struct pv_option_texts rest = { .items = NULL };
	enum pv_exit code = PV_EXIT_OK;

	if (!pv_verb_parse(&pv_verb_help, argv, NULL, &rest)) {
		code = PV_EXIT_TROUBLE;
	} else if (rest.n == 0) {
		overview();
	} else {
		const struct pv_verb *verb = pv_verb_find(rest.items[0]);
		if (!verb) {
			code = pv_verb_usage(&pv_verb_help, "%s is no verb", rest.items[0]);
		} else {
			printf("usage: provium %s\n\n%s\n", verb->synopsis, verb->summary);
			if (verb->options[0].name)
				puts("");
			pv_options_print(verb->options, stdout);
		}
	}
	free(rest.items);
	return code;
}

const struct pv_verb pv_verb_help = {
	.name = "help",
	.synopsis = "help [VERB]",
	.summary = "what provium can do",
	.options = options,
	.run = run,
};
