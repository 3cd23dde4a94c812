#include "tools/provium/options.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "engine/core/units.h"
#include "proto/mem.h"

#define HELP_COLUMN 34

static bool takes_value(const struct pv_option *option)
{
	switch (option->kind) {
	case PV_OPTION_FLAG:
	case PV_OPTION_SET:
	case PV_OPTION_MAYBE:
	case PV_OPTION_NOTHING:
	case PV_OPTION_LATER:
		return false;
	default:
		return true;
	}
}

static void add_text(struct pv_option_texts *texts, const char *text)
{
	texts->items = pv_xrealloc(texts->items, (texts->n + 1) * sizeof(*texts->items));
	texts->items[texts->n++] = text;
}

/* Digits only: strtoull() would take blanks and signs. */
static bool parse_u64(const char *text, uint64_t *out)
{
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	unsigned long long value = strtoull(text, &end, 10);
	*out = value;
	return *end == '\0' && errno == 0;
}

/* "1", "1.5": digits, at most one point. */
static bool parse_factor(const char *text, double *out)
{
	char *end;

	if (*text < '0' || *text > '9' || text[strspn(text, "0123456789.")] != '\0')
		return false;
	*out = strtod(text, &end);
	return *end == '\0' && *out > 0;
}

static enum pv_err store_choice(const struct pv_option *option, const char *flag, const char *text, int *out,
                                struct pv_errmsg *msg)
{
	struct pv_buf valid = { .data = NULL };

	for (int i = 0; option->choices[i]; i++) {
		if (strcmp(option->choices[i], text) == 0) {
			*out = i;
			pv_buf_free(&valid);
			return PV_OK;
		}
		pv_buf_addf(&valid, "%s%s", i ? ", " : "", option->choices[i]);
	}
	enum pv_err err = pv_err_set(msg, PV_ERR_INVAL, "%s %s: must be one of %s", flag, text, pv_buf_str(&valid));
	pv_buf_free(&valid);
	return err;
}

static enum pv_err store_number(const struct pv_option *option, const char *flag, const char *text, void *field,
                                struct pv_errmsg *msg)
{
	uint64_t number;
	bool ok = parse_u64(text, &number);

	if (option->kind == PV_OPTION_U64) {
		if (!ok)
			return pv_err_set(msg, PV_ERR_INVAL, "%s %s: must be a number from 0 to 18446744073709551615",
			                  flag, text);
		*(struct pv_option_u64 *)field = (struct pv_option_u64){ true, number };
		return PV_OK;
	}
	if (option->kind == PV_OPTION_PERCENT) {
		if (!ok || number > 100)
			return pv_err_set(msg, PV_ERR_INVAL, "%s %s: must be a number from 0 to 100", flag, text);
		*(unsigned *)field = (unsigned)number;
		return PV_OK;
	}
	if (!ok || number < 1 || number > INT_MAX)
		return pv_err_set(msg, PV_ERR_INVAL, "%s %s: must be a number from 1", flag, text);
	*(unsigned *)field = (unsigned)number;
	return PV_OK;
}

static enum pv_err store_value(const struct pv_option *option, const char *flag, const char *text, void *field,
                               struct pv_errmsg *msg)
{
	switch (option->kind) {
	case PV_OPTION_TEXT:
		*(const char **)field = text;
		return PV_OK;
	case PV_OPTION_TEXTS:
		add_text(field, text);
		return PV_OK;
	case PV_OPTION_CHOICE:
		return store_choice(option, flag, text, field, msg);
	case PV_OPTION_U64:
	case PV_OPTION_COUNT:
	case PV_OPTION_PERCENT:
		return store_number(option, flag, text, field, msg);
	case PV_OPTION_FACTOR:
		if (!parse_factor(text, field))
			return pv_err_set(msg, PV_ERR_INVAL, "%s %s: must be a number above 0, such as 1.5", flag,
			                  text);
		return PV_OK;
	case PV_OPTION_SIZE: {
		enum pv_err err = pv_parse_size(text, field, msg);
		if (!err && *(uint64_t *)field == 0)
			return pv_err_set(msg, PV_ERR_INVAL, "%s %s: must be above 0", flag, text);
		return err ? pv_err_wrap(msg, err, "%s", flag) : PV_OK;
	}
	case PV_OPTION_DURATION: {
		enum pv_err err = pv_parse_duration(text, true, field, msg);
		return err ? pv_err_wrap(msg, err, "%s", flag) : PV_OK;
	}
	default:
		PV_BUG("flag %s takes no value", flag);
	}
}

static enum pv_err store_bare(const struct pv_option *option, const char *flag, const char *attached, void *field,
                              struct pv_errmsg *msg)
{
	if (option->kind == PV_OPTION_LATER)
		return pv_err_set(msg, PV_ERR_INVAL, "this version has no %s yet", flag);
	if (option->kind == PV_OPTION_MAYBE) {
		*(struct pv_option_maybe *)field = (struct pv_option_maybe){ true, attached };
		return PV_OK;
	}
	if (attached)
		return pv_err_set(msg, PV_ERR_INVAL, "%s takes no value", flag);
	if (option->kind == PV_OPTION_FLAG)
		*(bool *)field = true;
	else if (option->kind == PV_OPTION_SET)
		*(int *)field = option->value;
	return PV_OK;
}

static enum pv_err unknown_flag(const struct pv_option *table, const char *name, struct pv_errmsg *msg)
{
	const char **names;
	size_t n = 0;

	while (table[n].name)
		n++;
	names = pv_xcalloc(n + 1, sizeof(*names));
	for (size_t i = 0; i < n; i++)
		names[i] = table[i].name;
	const char *near = pv_nearest(name, names);
	free(names);
	if (near)
		return pv_err_set(msg, PV_ERR_INVAL, "unknown flag --%s; did you mean --%s?", name, near);
	return pv_err_set(msg, PV_ERR_INVAL, "unknown flag --%s", name);
}

static const struct pv_option *find_long(const struct pv_option *table, const char *name, size_t len)
{
	for (; table->name; table++) {
		if (strlen(table->name) == len && memcmp(table->name, name, len) == 0)
			return table;
	}
	return NULL;
}

static const struct pv_option *find_letter(const struct pv_option *table, char letter)
{
	for (; table->name; table++) {
		if (table->letter == letter)
			return table;
	}
	return NULL;
}

/* One flag at argv[*at]; moves *at past it and its value. */
static enum pv_err parse_flag(const struct pv_option *table, char *const *argv, size_t *at, void *target,
                              struct pv_errmsg *msg)
{
	const char *word = argv[(*at)++];
	bool is_long = word[1] == '-';
	const char *equals = is_long ? strchr(word, '=') : NULL;
	size_t len = equals ? (size_t)(equals - word) : strlen(word);
	const char *attached = equals ? equals + 1 : NULL;
	char *flag = pv_xasprintf("%.*s", (int)len, word);
	const struct pv_option *option;
	enum pv_err err;

	if (!is_long && len != 2)
		option = NULL;
	else
		option = is_long ? find_long(table, word + 2, len - 2) : find_letter(table, word[1]);
	if (!option && is_long)
		err = unknown_flag(table, flag + 2, msg);
	else if (!option)
		err = pv_err_set(msg, PV_ERR_INVAL, "unknown flag %s", flag);
	else if (!takes_value(option))
		err = store_bare(option, flag, attached, (char *)target + option->offset, msg);
	else if (!attached && !argv[*at])
		err = pv_err_set(msg, PV_ERR_INVAL, "%s needs a value: %s %s", flag, flag, option->argument);
	else
		err = store_value(option, flag, attached ? attached : argv[(*at)++], (char *)target + option->offset,
		                  msg);
	free(flag);
	return err;
}

enum pv_err pv_options_parse(const struct pv_option *table, char *const *argv, void *target,
                             struct pv_option_texts *rest, struct pv_errmsg *msg)
{
	bool flags = true;
	enum pv_err err = PV_OK;

	for (size_t at = 0; !err && argv[at];) {
		const char *word = argv[at];
		if (flags && strcmp(word, "--") == 0) {
			flags = false;
			at++;
		} else if (flags && word[0] == '-' && word[1] != '\0') {
			err = parse_flag(table, argv, &at, target, msg);
		} else {
			add_text(rest, word);
			at++;
		}
	}
	return err;
}

void pv_options_print(const struct pv_option *table, FILE *out)
{
	for (; table->name; table++) {
		if (!table->help || table->kind == PV_OPTION_LATER)
			continue;
		struct pv_buf left = { .data = NULL };
		if (table->letter)
			pv_buf_addf(&left, "-%c, ", table->letter);
		pv_buf_addf(&left, "--%s", table->name);
		if (table->argument)
			pv_buf_addf(&left, table->kind == PV_OPTION_MAYBE ? "[=%s]" : " %s", table->argument);
		fprintf(out, "  %-*s  %s\n", HELP_COLUMN, pv_buf_str(&left), table->help);
		pv_buf_free(&left);
	}
}
