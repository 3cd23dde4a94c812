/* Flags of a verb: one table each, one parser for all.
 *
 * A flag is written --name VALUE or --name=VALUE; -x VALUE if it has a letter. "--" ends the flags. Values land in a struct of the
 * verb, at the offsets of the table; the struct holds the defaults on entry.
 */
#ifndef PV_TOOLS_OPTIONS_H
#define PV_TOOLS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "proto/err.h"

enum pv_option_kind {
	PV_OPTION_FLAG,     /* bool, set to true */
	PV_OPTION_SET,      /* int, set to `value` */
	PV_OPTION_TEXT,     /* const char * */
	PV_OPTION_TEXTS,    /* struct pv_option_texts, repeatable */
	PV_OPTION_MAYBE,    /* struct pv_option_maybe: --name or --name=TEXT */
	PV_OPTION_CHOICE,   /* int: index into `choices` */
	PV_OPTION_U64,      /* struct pv_option_u64 */
	PV_OPTION_COUNT,    /* unsigned, from 1 */
	PV_OPTION_PERCENT,  /* unsigned, 0 to 100 */
	PV_OPTION_FACTOR,   /* double, above 0 */
	PV_OPTION_SIZE,     /* uint64_t, bytes, from 1 */
	PV_OPTION_DURATION, /* uint64_t, ns */
	PV_OPTION_NOTHING,  /* accepted without effect */
	PV_OPTION_LATER,    /* part of the contract that this version does not have yet: refused, saying so */
};

struct pv_option {
	const char *name; /* without dashes; NULL ends a table */
	char letter;      /* 0: none */
	enum pv_option_kind kind;
	size_t offset;
	int value;
	const char *argument;       /* "PATH"; NULL for flags without one */
	const char *const *choices; /* NULL-terminated */
	const char *help;           /* NULL: not shown */
};

#define PV_OPTION_NOT_YET(flag)                                                                                        \
	{                                                                                                              \
		.name = flag, .kind = PV_OPTION_LATER                                                                  \
	}

struct pv_option_texts {
	const char **items; /* free() when done; the texts are argv's */
	size_t n;
};

struct pv_option_maybe {
	bool given;
	const char *text; /* NULL: without =TEXT */
};

struct pv_option_u64 {
	bool given;
	uint64_t value;
};

/* Parses argv (without program and verb; NULL-terminated). Flags go to `target`, other words to `rest` in order. PV_ERR_INVAL with a
 * message for the user: unknown flag (with the nearest known one), missing or bad value. The lists in `target` and `rest` may be
 * filled in part then. */
enum pv_err pv_options_parse(const struct pv_option *table, char *const *argv, void *target,
                             struct pv_option_texts *rest, struct pv_errmsg *msg) PV_MUST_CHECK;

/* A line a flag, as `help VERB` shows them. */
void pv_options_print(const struct pv_option *table, FILE *out);

#endif
