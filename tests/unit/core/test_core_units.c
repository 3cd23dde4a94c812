#include <stdio.h>
#include <string.h>

#include "core_events.h"
#include "engine/core/units.h"

#define MS UINT64_C(1000000)
#define S  UINT64_C(1000000000)

static void test_units__sizes(void **ctx)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
		{ "0", 0 },
		{ "17", 17 },
		{ "1K", 1024 },
		{ "512M", UINT64_C(512) << 20 },
		{ "512m", UINT64_C(512) << 20 },
		{ "2G", UINT64_C(2) << 30 },
		{ "3t", UINT64_C(3) << 40 },
		{ "007k", 7168 },
		{ "18446744073709551615", UINT64_MAX },
		{ "16777215T", UINT64_C(16777215) << 40 },
	};
	static const char *const bad[] = {
		"",
		"M",
		"5x",
		"5MB",
		"5MiB",
		"-5",
		"+5",
		" 5",
		"5 ",
		"5 M",
		"1.5G",
		"1e3",
		"0x10",
		"nan",
		"inf",
		"NaN",
		"5KK",
		"\xff",
		"18446744073709551616",
		"16777216T",
		"99999999999999999999999G",
	};
	const size_t first_large = sizeof(bad) / sizeof(bad[0]) - 3; /* the last three are well formed, but too large */
	struct pv_errmsg msg = { 0 };
	uint64_t bytes;

	(void)ctx;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(pv_parse_size(good[i].text, &bytes, &msg), PV_OK);
		assert_true(bytes == good[i].bytes);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char words[64];

		snprintf(words, sizeof(words), "%s \"%s\"", i < first_large ? "bad size" : "the size", bad[i]);
		if (pv_parse_size(bad[i], &bytes, &msg) != PV_ERR_INVAL || strstr(msg.text, words) == NULL)
			fail_msg("%s: %s", bad[i], msg.text);
	}
}

static void expect_duration(const char *text, bool plain, uint64_t ns)
{
	struct pv_errmsg msg = { 0 };
	uint64_t got = 0;

	if (pv_parse_duration(text, plain, &got, &msg) != PV_OK || got != ns)
		fail_msg("%s gives %llu: %s", text, (unsigned long long)got, msg.text);
}

static void test_units__durations(void **ctx)
{
	static const struct {
		const char *text;
		uint64_t ns;
	} good[] = {
		{ "0ms", 0 },
		{ "500ms", 500 * MS },
		{ "5s", 5 * S },
		{ "5m", 300 * S },
		{ "2h", 7200 * S },
		{ "18446744073s", UINT64_C(18446744073) * S },
		{ "18446744073709ms", UINT64_C(18446744073709) * MS },
	};
	static const struct {
		const char *text;
		uint64_t ns;
	} plain[] = {
		{ "2", 2 * S },
		{ "0.5", S / 2 },
		{ "1.000000001", S + 1 },
		{ "0.0000000019", 1 },
		{ "18446744073.709551615", UINT64_MAX },
	};

	(void)ctx;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		expect_duration(good[i].text, false, good[i].ns);
		expect_duration(good[i].text, true, good[i].ns);
	}
	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
		expect_duration(plain[i].text, true, plain[i].ns);
}

static void test_units__bad_durations_are_quoted(void **ctx)
{
	static const char *const bad[] = {
		"",
		"5x",
		"s",
		"-5s",
		"+5s",
		" 5s",
		"5 s",
		"5S",
		"5sec",
		"1.5s",
		"nan",
		"inf",
		"infinity",
		"1e3s",
		"0x5s",
		"5ms5",
		".5",
		"5.",
		"1.2.3",
		"1.-5",
		"18446744074s",
		"18446744073.709551616",
		"5124096h",
		"99999999999999999999ms",
		"99999999999999999999x",
	};
	static const char *const only_plain[] = { "2", "0.5" };
	struct pv_errmsg msg = { 0 };
	uint64_t ns;

	(void)ctx;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char words[64];

		snprintf(words, sizeof(words), "bad timeout string \"%s\"", bad[i]);
		for (int plain = 0; plain < 2; plain++) {
			if (pv_parse_duration(bad[i], plain != 0, &ns, &msg) != PV_ERR_INVAL ||
			    strstr(msg.text, words) == NULL)
				fail_msg("%s: %s", bad[i], msg.text);
		}
	}
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(pv_parse_duration(only_plain[i], false, &ns, &msg), PV_ERR_INVAL);
}

static void test_units__formatted_sizes(void **ctx)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} cases[] = {
		{ 0, "0 B" },
		{ 17, "17 B" },
		{ 1023, "1023 B" },
		{ 1024, "1 KiB" },
		{ UINT64_C(256) << 20, "256 MiB" },
		{ UINT64_C(3) << 29, "1.5 GiB" },
		{ (UINT64_C(1) << 20) - 1, "1 MiB" },
		{ (UINT64_C(1) << 20) + 1, "1 MiB" },
		{ UINT64_MAX, "16 EiB" },
		{ UINT64_C(1) << 50, "1 PiB" },
	};
	char out[32];

	(void)ctx;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_string_equal(pv_format_size(cases[i].bytes, out), cases[i].text);
}

static void test_units__formatted_durations(void **ctx)
{
	static const struct {
		uint64_t ns;
		const char *text;
	} cases[] = {
		{ 0, "0ns" },           { 999, "999ns" },         { 45678, "45us" },
		{ 12345678, "12.3ms" }, { 99999999, "99.9ms" },   { 380 * MS, "380ms" },
		{ S - 1, "999ms" },     { 1204 * MS, "1.204s" },  { 60 * S - 1, "59.999s" },
		{ 123 * S, "2m03s" },   { 3723 * S, "1h02m03s" }, { UINT64_MAX, "5124095h34m33s" },
	};
	char out[32];

	(void)ctx;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_string_equal(pv_format_duration(cases[i].ns, out), cases[i].text);
}

static void test_units__nearest_word(void **ctx)
{
	static const char *const words[] = { "memory", "cpus", "kernel_cmdline", "wait", NULL };
	static const struct {
		const char *word;
		const char *nearest; /* NULL: none is near */
	} cases[] = {
		{ "memory", "memory" }, { "memroy", "memory" },
		{ "cpu", "cpus" },      { "kernel_cmd_line", "kernel_cmdline" },
		{ "wiat", "wait" },     { "template", NULL },
		{ "", NULL },           { "zzzz", NULL },
		{ "w", NULL },          { "xyit", "wait" },
		{ "xyzt", NULL },       { "kernel_comandlin", "kernel_cmdline" },
	};
	char long_word[1000];

	(void)ctx;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *found = pv_nearest(cases[i].word, words);

		if (cases[i].nearest == NULL)
			assert_null(found);
		else
			assert_string_equal(found, cases[i].nearest);
	}
	memset(long_word, 'm', sizeof(long_word) - 1);
	long_word[sizeof(long_word) - 1] = '\0';
	assert_null(pv_nearest(long_word, words));
	assert_null(pv_nearest("a", (const char *const[]){ NULL }));
	assert_string_equal(pv_nearest("ab", (const char *const[]){ "cb", "ad", NULL }),
	                    "cb"); /* the first of equals */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_units__sizes),
		cmocka_unit_test(test_units__durations),
		cmocka_unit_test(test_units__bad_durations_are_quoted),
		cmocka_unit_test(test_units__formatted_sizes),
		cmocka_unit_test(test_units__formatted_durations),
		cmocka_unit_test(test_units__nearest_word),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
