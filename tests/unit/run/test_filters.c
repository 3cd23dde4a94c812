/* Selection of tests by meta: one table, a row a rule. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/run/filters.h"

/* Values that rows use. */
static char *text_of(const char *text)
{
	return (char *)text;
}

#define TEXT(name, value)                                                                                              \
	static Pv__Value name = { .base = PROTOBUF_C_MESSAGE_INIT(&pv__value__descriptor),                             \
		                  .kind_case = PV__VALUE__KIND_TEXT,                                                   \
		                  { .text = (char *)value } }

TEXT(net, "net");
TEXT(disk, "disk");
static Pv__Value yes = { PROTOBUF_C_MESSAGE_INIT(&pv__value__descriptor), PV__VALUE__KIND_BOOLEAN, { .boolean = 1 } };
static Pv__Value no = { PROTOBUF_C_MESSAGE_INIT(&pv__value__descriptor), PV__VALUE__KIND_BOOLEAN, { .boolean = 0 } };
static Pv__Value one = { PROTOBUF_C_MESSAGE_INIT(&pv__value__descriptor), PV__VALUE__KIND_INTEGER, { .integer = 1 } };
static Pv__Value zero = { PROTOBUF_C_MESSAGE_INIT(&pv__value__descriptor), PV__VALUE__KIND_INTEGER, { .integer = 0 } };
static Pv__Value *both_items[] = { &net, &disk };
static Pv__ValueList both_list = { PROTOBUF_C_MESSAGE_INIT(&pv__value_list__descriptor), 2, both_items };
static Pv__Value both = { PROTOBUF_C_MESSAGE_INIT(&pv__value__descriptor),
	                  PV__VALUE__KIND_LIST,
	                  { .list = &both_list } };

#define MAX 3

struct row {
	const char *what;
	struct {
		const char *key;
		Pv__Value *value;
	} meta[MAX];
	bool include_slow;
	const char *tags[MAX], *no_tags[MAX], *tag_metas[MAX], *no_tag_metas[MAX];
	const char *reason; /* NULL: the test runs */
};

static const struct row rows[] = {
	{ .what = "no filter, no meta" },
	{ .what = "slow",
	  .meta = { { "slow", &yes } },
	  .reason = "filtered: slow tests skipped (pass --include-slow)" },
	{ .what = "slow = 1",
	  .meta = { { "slow", &one } },
	  .reason = "filtered: slow tests skipped (pass --include-slow)" },
	{ .what = "slow = 0", .meta = { { "slow", &zero } } },
	{ .what = "slow = false", .meta = { { "slow", &no } } },
	{ .what = "slow = text", .meta = { { "slow", &net } } },
	{ .what = "slow, included", .meta = { { "slow", &yes } }, .include_slow = true },
	{ .what = "slow comes before no-tag",
	  .meta = { { "slow", &yes }, { "tags", &net } },
	  .no_tags = { "net" },
	  .reason = "filtered: slow tests skipped (pass --include-slow)" },
	{ .what = "tag, string", .meta = { { "tags", &net } }, .tags = { "net" } },
	{ .what = "tag, array", .meta = { { "tags", &both } }, .tags = { "disk" } },
	{ .what = "one of two tags is enough", .meta = { { "tags", &net } }, .tags = { "disk", "net" } },
	{ .what = "tag, no meta", .tags = { "net" }, .reason = "filtered: did not match --tag net" },
	{ .what = "tag, whole words only",
	  .meta = { { "tags", &net } },
	  .tags = { "ne" },
	  .reason = "filtered: did not match --tag ne" },
	{ .what = "tags named",
	  .meta = { { "tags", &net } },
	  .tags = { "a", "b" },
	  .reason = "filtered: did not match --tag a --tag b" },
	{ .what = "no-tag",
	  .meta = { { "tags", &both } },
	  .no_tags = { "disk" },
	  .reason = "filtered: matched --no-tag disk" },
	{ .what = "no-tag wins",
	  .meta = { { "tags", &both } },
	  .tags = { "net" },
	  .no_tags = { "disk" },
	  .reason = "filtered: matched --no-tag disk" },
	{ .what = "tag-meta", .meta = { { "area", &net } }, .tag_metas = { "area=net" } },
	{ .what = "tag-meta, array", .meta = { { "area", &both } }, .tag_metas = { "area=disk" } },
	{ .what = "same key: any value", .meta = { { "area", &net } }, .tag_metas = { "area=disk", "area=net" } },
	{ .what = "different keys: all",
	  .meta = { { "area", &net } },
	  .tag_metas = { "area=net", "os=x" },
	  .reason = "filtered: did not match --tag-meta os=x" },
	{ .what = "numbers never match",
	  .meta = { { "n", &one } },
	  .tag_metas = { "n=1" },
	  .reason = "filtered: did not match --tag-meta n=1" },
	{ .what = "booleans never match",
	  .meta = { { "b", &yes } },
	  .tag_metas = { "b=true" },
	  .reason = "filtered: did not match --tag-meta b=true" },
	{ .what = "no-tag-meta",
	  .meta = { { "area", &net } },
	  .no_tag_metas = { "area=net" },
	  .reason = "filtered: matched --no-tag-meta area=net" },
	{ .what = "no-tag-meta, other value", .meta = { { "area", &net } }, .no_tag_metas = { "area=disk" } },
	{ .what = "no-tag-meta wins over tag-meta",
	  .meta = { { "area", &both } },
	  .tag_metas = { "area=net" },
	  .no_tag_metas = { "area=disk" },
	  .reason = "filtered: matched --no-tag-meta area=disk" },
	{ .what = "tag comes before no-tag-meta",
	  .meta = { { "area", &net } },
	  .tags = { "x" },
	  .no_tag_metas = { "area=net" },
	  .reason = "filtered: did not match --tag x" },
};

static size_t count(const char *const texts[MAX])
{
	size_t n = 0;

	while (n < MAX && texts[n])
		n++;
	return n;
}

static void check_row(const struct row *row)
{
	Pv__ValueEntry entries[MAX];
	Pv__ValueEntry *pointers[MAX];
	Pv__ValueMap map = PV__VALUE_MAP__INIT;
	Pv__Value meta = PV__VALUE__INIT;
	struct pv_buf reason = { .data = NULL };
	struct pv_test_filters filters = {
		.include_slow = row->include_slow,
		.tags = row->tags,
		.n_tags = count(row->tags),
		.no_tags = row->no_tags,
		.n_no_tags = count(row->no_tags),
		.tag_metas = row->tag_metas,
		.n_tag_metas = count(row->tag_metas),
		.no_tag_metas = row->no_tag_metas,
		.n_no_tag_metas = count(row->no_tag_metas),
	};

	for (; map.n_entries < MAX && row->meta[map.n_entries].key; map.n_entries++) {
		size_t i = map.n_entries;
		pv__value_entry__init(&entries[i]);
		entries[i].key = text_of(row->meta[i].key);
		entries[i].value = row->meta[i].value;
		pointers[i] = &entries[i];
	}
	map.entries = pointers;
	meta.kind_case = PV__VALUE__KIND_MAP;
	meta.map = &map;
	bool skip = pv_filters_skip(&filters, &meta, &reason);
	if (skip != (row->reason != NULL) || (skip && strcmp(pv_buf_str(&reason), row->reason) != 0))
		fail_msg("%s: %s \"%s\", expected \"%s\"", row->what, skip ? "skipped" : "runs", pv_buf_str(&reason),
		         row->reason ? row->reason : "");
	pv_buf_free(&reason);
}

static void test_filters__table(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		check_row(&rows[i]);
}

static void test_filters__bad_pairs_are_refused(void **state)
{
	static const char *const bad[] = { "=x" }, *const worse[] = { "area" }, *const good[] = { "a=", "a=b=c" };
	struct pv_errmsg msg = { .text = "" };
	struct pv_test_filters filters = {
		.tag_metas = good, .n_tag_metas = 2, .no_tag_metas = good, .n_no_tag_metas = 2
	};

	(void)state;
	assert_int_equal(pv_filters_check(&filters, &msg), PV_OK);
	filters.tag_metas = bad;
	filters.n_tag_metas = 1;
	assert_int_equal(pv_filters_check(&filters, &msg), PV_ERR_INVAL);
	assert_string_equal(msg.text, "--tag-meta =x: must be KEY=VALUE");
	filters.n_tag_metas = 0;
	filters.no_tag_metas = worse;
	filters.n_no_tag_metas = 1;
	assert_int_equal(pv_filters_check(&filters, &msg), PV_ERR_INVAL);
	assert_string_equal(msg.text, "--no-tag-meta area: must be KEY=VALUE");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_filters__table),
		cmocka_unit_test(test_filters__bad_pairs_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
