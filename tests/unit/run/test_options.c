#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tools/provium/options.h"

struct flags {
	bool fast;
	int level, color;
	const char *path;
	struct pv_option_texts tags;
	struct pv_option_u64 seed;
	struct pv_option_maybe journal;
	unsigned jobs;
	uint64_t timeout_ns, mem_bytes;
	unsigned percent;
	double factor;
};

static const char *const colors[] = { "auto", "always", "never", NULL };

static const struct pv_option table[] = {
	{ .name = "fast", .kind = PV_OPTION_FLAG, .offset = offsetof(struct flags, fast) },
	{ .name = "verbose",
	  .letter = 'v',
	  .kind = PV_OPTION_SET,
	  .offset = offsetof(struct flags, level),
	  .value = 2 },
	{ .name = "output",
	  .letter = 'o',
	  .kind = PV_OPTION_TEXT,
	  .offset = offsetof(struct flags, path),
	  .argument = "PATH" },
	{ .name = "tag", .kind = PV_OPTION_TEXTS, .offset = offsetof(struct flags, tags), .argument = "TAG" },
	{ .name = "color",
	  .kind = PV_OPTION_CHOICE,
	  .offset = offsetof(struct flags, color),
	  .argument = "WHEN",
	  .choices = colors },
	{ .name = "seed", .kind = PV_OPTION_U64, .offset = offsetof(struct flags, seed), .argument = "N" },
	{ .name = "journal", .kind = PV_OPTION_MAYBE, .offset = offsetof(struct flags, journal), .argument = "PATH" },
	{ .name = "jobs", .kind = PV_OPTION_COUNT, .offset = offsetof(struct flags, jobs), .argument = "N" },
	{ .name = "timeout",
	  .kind = PV_OPTION_DURATION,
	  .offset = offsetof(struct flags, timeout_ns),
	  .argument = "DUR" },
	{ .name = "mem", .kind = PV_OPTION_SIZE, .offset = offsetof(struct flags, mem_bytes), .argument = "SIZE" },
	{ .name = "psi", .kind = PV_OPTION_PERCENT, .offset = offsetof(struct flags, percent), .argument = "PCT" },
	{ .name = "over", .kind = PV_OPTION_FACTOR, .offset = offsetof(struct flags, factor), .argument = "F" },
	{ .name = "no-ksm", .kind = PV_OPTION_NOTHING },
	PV_OPTION_NOT_YET("watch"),
	{ .name = NULL },
};

struct parsed {
	struct flags flags;
	struct pv_option_texts rest;
	enum pv_err err;
	struct pv_errmsg msg;
};

static struct parsed *parse(char *const *argv)
{
	struct parsed *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	p->err = pv_options_parse(table, argv, &p->flags, &p->rest, &p->msg);
	return p;
}

static void done(struct parsed *p)
{
	free(p->flags.tags.items);
	free(p->rest.items);
	free(p);
}

#define PARSE(...) parse((char *const[]){ __VA_ARGS__, NULL })

static void test_options__every_kind(void **state)
{
	struct parsed *p = PARSE((char *)"a", (char *)"--fast", (char *)"-v", (char *)"-o", (char *)"x",
	                         (char *)"--tag=one", (char *)"--tag", (char *)"two", (char *)"b", (char *)"--color",
	                         (char *)"never", (char *)"--seed=18446744073709551615", (char *)"--jobs", (char *)"3",
	                         (char *)"--timeout", (char *)"1.5", (char *)"--no-ksm", (char *)"--mem=2g",
	                         (char *)"--psi=100", (char *)"--over", (char *)"1.5");

	(void)state;
	assert_string_equal(p->msg.text, "");
	assert_int_equal(p->err, PV_OK);
	assert_true(p->flags.fast);
	assert_int_equal(p->flags.level, 2);
	assert_string_equal(p->flags.path, "x");
	assert_int_equal(p->flags.tags.n, 2);
	assert_string_equal(p->flags.tags.items[0], "one");
	assert_string_equal(p->flags.tags.items[1], "two");
	assert_int_equal(p->flags.color, 2);
	assert_true(p->flags.seed.given);
	assert_true(p->flags.seed.value == UINT64_MAX);
	assert_int_equal(p->flags.jobs, 3);
	assert_true(p->flags.timeout_ns == 1500000000u);
	assert_true(p->flags.mem_bytes == UINT64_C(2) << 30);
	assert_int_equal(p->flags.percent, 100);
	assert_true(p->flags.factor > 1.49 && p->flags.factor < 1.51);
	assert_int_equal(p->rest.n, 2);
	assert_string_equal(p->rest.items[0], "a");
	assert_string_equal(p->rest.items[1], "b");
	done(p);
}

/* --journal takes no word of its own: the word behind it is a path of a test. */
static void test_options__maybe(void **state)
{
	struct parsed *p = PARSE((char *)"--journal", (char *)"tests");

	(void)state;
	assert_true(p->flags.journal.given);
	assert_null(p->flags.journal.text);
	assert_int_equal(p->rest.n, 1);
	done(p);
	p = PARSE((char *)"--journal=out");
	assert_string_equal(p->flags.journal.text, "out");
	done(p);
}

static void test_options__two_dashes_end_the_flags(void **state)
{
	struct parsed *p = PARSE((char *)"--", (char *)"--fast", (char *)"-", (char *)"--");

	(void)state;
	assert_int_equal(p->err, PV_OK);
	assert_false(p->flags.fast);
	assert_int_equal(p->rest.n, 3);
	done(p);
	p = PARSE((char *)"-", (char *)"--fast");
	assert_true(p->flags.fast);
	assert_string_equal(p->rest.items[0], "-");
	done(p);
}

static void expect_error(struct parsed *p, const char *text)
{
	assert_int_equal(p->err, PV_ERR_INVAL);
	assert_string_equal(p->msg.text, text);
	done(p);
}

static void test_options__errors(void **state)
{
	(void)state;
	expect_error(PARSE((char *)"--fats"), "unknown flag --fats; did you mean --fast?");
	expect_error(PARSE((char *)"--tga=x"), "unknown flag --tga; did you mean --tag?");
	expect_error(PARSE((char *)"--zzzzzzzzzzzz"), "unknown flag --zzzzzzzzzzzz");
	expect_error(PARSE((char *)"-x"), "unknown flag -x");
	expect_error(PARSE((char *)"-vv"), "unknown flag -vv");
	expect_error(PARSE((char *)"--tag"), "--tag needs a value: --tag TAG");
	expect_error(PARSE((char *)"--fast=1"), "--fast takes no value");
	expect_error(PARSE((char *)"--color=red"), "--color red: must be one of auto, always, never");
	expect_error(PARSE((char *)"--jobs=0"), "--jobs 0: must be a number from 1");
	expect_error(PARSE((char *)"--jobs= 1"), "--jobs  1: must be a number from 1");
	expect_error(PARSE((char *)"--seed=-1"), "--seed -1: must be a number from 0 to 18446744073709551615");
	expect_error(PARSE((char *)"--seed=18446744073709551616"),
	             "--seed 18446744073709551616: must be a number from 0 to 18446744073709551615");
	expect_error(PARSE((char *)"--mem=0"), "--mem 0: must be above 0");
	expect_error(PARSE((char *)"--psi=101"), "--psi 101: must be a number from 0 to 100");
	expect_error(PARSE((char *)"--over=1.2.3"), "--over 1.2.3: must be a number above 0, such as 1.5");
	expect_error(PARSE((char *)"--over=0"), "--over 0: must be a number above 0, such as 1.5");
	expect_error(PARSE((char *)"--over=-1"), "--over -1: must be a number above 0, such as 1.5");
	expect_error(PARSE((char *)"--watch"), "this version has no --watch yet");
	expect_error(PARSE((char *)"--watch=1"), "this version has no --watch yet");
}

static void test_options__bad_duration_names_the_flag(void **state)
{
	struct parsed *p = PARSE((char *)"--timeout=5x");

	(void)state;
	assert_int_equal(p->err, PV_ERR_INVAL);
	assert_non_null(strstr(p->msg.text, "--timeout: "));
	assert_non_null(strstr(p->msg.text, "5x"));
	done(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_options__every_kind),
		cmocka_unit_test(test_options__maybe),
		cmocka_unit_test(test_options__two_dashes_end_the_flags),
		cmocka_unit_test(test_options__errors),
		cmocka_unit_test(test_options__bad_duration_names_the_flag),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
