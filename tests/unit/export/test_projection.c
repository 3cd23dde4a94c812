/* The event channel: what each event of a journal gives, and what it keeps to itself. */
#include <json-c/json.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/replay/export.h"
#include "story.h"

static char *export(const struct story *story, enum pv_export_format format)
{
	struct pv_journal *journal = story_journal(story);
	struct pv_errmsg msg = { .text = "" };
	char *text;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	if (pv_export(journal, format, out, &msg) != PV_OK)
		fail_msg("%s", msg.text);
	fclose(out);
	pv_journal_close(journal);
	return text;
}

/* "kind" of each line, with blanks between. */
static char *kinds(const char *lines)
{
	struct pv_buf kinds = { .data = NULL };

	for (const char *at = lines; (at = strstr(at, "\"kind\":\"")) != NULL;) {
		at += strlen("\"kind\":\"");
		pv_buf_add(&kinds, at, strcspn(at, "\""));
		pv_buf_addstr(&kinds, " ");
	}
	return pv_buf_steal(&kinds);
}

static void expect_kinds(const struct story *story, const char *expected)
{
	char *lines = export(story, PV_EXPORT_JSONL), *got = kinds(lines);

	assert_string_equal(got, expected);
	free(got);
	free(lines);
}

static void test_projection__good_run(void **state)
{
	struct story story;

	(void)state;
	story_tell(&story);
	expect_kinds(&story, "file_discovered file_discovered file_dispatched claim_acquired vm_spawned test_started "
	                     "test_passed test_skipped test_started test_passed vm_shutdown claim_released "
	                     "file_completed ");
	story_free(&story);
}

/* All of a line: order of the keys, numbers, and where it comes from. */
static void test_projection__bytes(void **state)
{
	struct story story;
	char *lines;

	(void)state;
	story_tell(&story);
	lines = export(&story, PV_EXPORT_JSONL);
	assert_non_null(strstr(lines,
	                       "{\"ts\":1700000000006000000,\"seq\":7,\"kind\":\"claim_acquired\",\"payload\":"
	                       "{\"path\":\"net/a.test.lua\",\"amount\":{\"memory_bytes\":1048576,\"cpus\":1}}}\n"));
	/* started at event 9 + 1, shut down at the event of its outcome */
	char *shutdown = pv_xasprintf("\"kind\":\"vm_shutdown\",\"payload\":{\"file\":\"net/a.test.lua\",\"vm_name\":"
	                              "\"a\",\"duration_ns\":%zu}}\n",
	                              (story.shut - story.booted) * 1000000);
	assert_non_null(strstr(lines, shutdown));
	/* the second attempt alone ends the test */
	assert_non_null(
	    strstr(lines, "\"name\":\"flickers\",\"duration_ns\":0,\"meta\":{},\"attempts\":2,\"flaky\":true}}"));
	free(shutdown);
	free(lines);
	story_free(&story);
}

static void test_projection__waits_of_a_running_file(void **state)
{
	struct story story;

	(void)state;
	story_tell(&story);
	story_insert(&story, story.vm, ev_file_blocked(1));
	story_insert(&story, story.dispatched, ev_file_blocked(1));
	while (story.n > story.claim + 2)
		story_remove(&story, story.n - 1);
	expect_kinds(&story, "file_discovered file_discovered file_blocked file_dispatched claim_acquired ");
	story_free(&story);
}

static void cut_behind(struct story *story, size_t at)
{
	while (story->n > at + 1)
		story_remove(story, story->n - 1);
}

/* Each end of an uptime is told once, whatever ends it. */
static void test_projection__ends_of_vms(void **state)
{
	static const Pv__VmChange changes[] = { PV__VM_CHANGE__VM_CHANGE_LOST, PV__VM_CHANGE__VM_CHANGE_POWERED_OFF,
		                                PV__VM_CHANGE__VM_CHANGE_PANICKED };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct story story;

		story_tell(&story);
		cut_behind(&story, story.chunk_ended);
		story_insert(&story, story.n, ev_vm_changed(1, PV__VM_CHANGE__VM_CHANGE_REBOOTED, NULL));
		story_insert(&story, story.n, ev_vm_changed(1, changes[i], "gone"));
		story_insert(&story, story.n, ev_call_started(1, PV__CALL_STARTED__OP_SHUTDOWN, 0));
		story.events[story.n - 1]->call_started->has_id = 1;
		story.events[story.n - 1]->call_started->id = 2;
		story_insert(&story, story.n, ev_call_done(2, PV__CALL_STARTED__OP_SHUTDOWN));
		expect_kinds(&story, "file_discovered file_discovered file_dispatched claim_acquired vm_spawned "
		                     "vm_shutdown ");
		story_free(&story);
	}
}

/* A boot that is overtaken by a shutdown and reports after it tells of the past. */
static void test_projection__boot_that_was_overtaken(void **state)
{
	struct story story;

	(void)state;
	story_tell(&story);
	cut_behind(&story, story.boot);
	story_insert(&story, story.n, ev_call_started(1, PV__CALL_STARTED__OP_SHUTDOWN, 0));
	story.events[story.n - 1]->call_started->has_id = 1;
	story.events[story.n - 1]->call_started->id = 2;
	story_insert(&story, story.n, ev_call_done(2, PV__CALL_STARTED__OP_SHUTDOWN));
	story_insert(&story, story.n, ev_call_done(1, PV__CALL_STARTED__OP_BOOT));
	expect_kinds(&story, "file_discovered file_discovered file_dispatched claim_acquired ");
	story_free(&story);
}

/* What a file reported before it was restarted is void: one start and one end a test, one dispatch, claims that pair up. */
static void test_projection__restarted_file(void **state)
{
	Pv__FileRestarted *body = PV_NEW(Pv__FileRestarted);
	Pv__Event *event = PV_NEW(Pv__Event);
	struct story story;

	(void)state;
	story_tell(&story);
	pv__event__init(event);
	pv__file_restarted__init(body);
	body->has_id = 1;
	body->id = 1;
	event->body_case = PV__EVENT__BODY_FILE_RESTARTED;
	event->file_restarted = body;
	cut_behind(&story, story.logged);
	story_insert(&story, story.n, event);
	story_insert(&story, story.n, ev_file_dispatched(1));
	story_insert(&story, story.n, ev_test_started(1, "meets", 1));
	story.events[story.n - 1]->test_started->has_id = 1;
	story.events[story.n - 1]->test_started->id = 2;
	story_insert(&story, story.n, ev_test_ended(1, 2, PV__VERDICT__VERDICT_PASSED, NULL));
	story_insert(&story, story.n, ev_file_completed(1, PV__VERDICT__VERDICT_PASSED));
	expect_kinds(&story,
	             "file_discovered file_discovered file_dispatched test_started test_passed file_completed ");
	story_free(&story);
}

/* ---- metadata ---- */

static Pv__Value *value(Pv__Value__KindCase kind)
{
	Pv__Value *made = PV_NEW(Pv__Value);

	pv__value__init(made);
	made->kind_case = kind;
	return made;
}

static void put(Pv__ValueMap *map, const char *key, Pv__Value *entry_value)
{
	Pv__ValueEntry *entry = PV_NEW(Pv__ValueEntry);

	pv__value_entry__init(entry);
	entry->key = pv_xstrdup(key);
	entry->value = entry_value;
	map->entries = pv_xrealloc(map->entries, (map->n_entries + 1) * sizeof(*map->entries));
	map->entries[map->n_entries++] = entry;
}

static Pv__Value *number(double n)
{
	Pv__Value *made = value(PV__VALUE__KIND_NUMBER);

	made->number = n;
	return made;
}

static Pv__Value *text(const char *bytes)
{
	Pv__Value *made = value(PV__VALUE__KIND_TEXT);

	made->text = pv_xstrdup(bytes);
	return made;
}

static void test_projection__metadata(void **state)
{
	struct story story;
	Pv__Value *meta = value(PV__VALUE__KIND_MAP), *entry;
	char *lines;

	(void)state;
	story_tell(&story);
	meta->map = PV_NEW(Pv__ValueMap);
	pv__value_map__init(meta->map);
	entry = value(PV__VALUE__KIND_BYTES);
	entry->bytes.len = 4;
	entry->bytes.data = pv_xmemdup("\0\xff"
	                               "ab",
	                               4);
	put(meta->map, "a", entry);
	put(meta->map, "b", text("\xff"));
	put(meta->map, "c", number(NAN));
	put(meta->map, "d", number(-INFINITY));
	put(meta->map, "e", number(0.1));
	put(meta->map, "f", number(3));
	entry = value(PV__VALUE__KIND_INTEGER);
	entry->integer = INT64_MIN;
	put(meta->map, "g", entry);
	entry = value(PV__VALUE__KIND_LIST);
	entry->list = PV_NEW(Pv__ValueList);
	pv__value_list__init(entry->list);
	put(meta->map, "h", entry);
	put(meta->map, "i", number(1e300));
	story.events[story.test1]->test_started->meta = meta;
	lines = export(&story, PV_EXPORT_JSONL);
	assert_non_null(
	    strstr(lines, "\"meta\":{\"a\":{\"$bytes\":\"AP9hYg==\"},\"b\":{\"$bytes\":\"/w==\"},\"c\":{\"$float\":"
	                  "\"nan\"},\"d\":{\"$float\":\"-inf\"},\"e\":0.1,\"f\":3.0,\"g\":-9223372036854775808,"
	                  "\"h\":[],\"i\":1e+300}}}\n"));
	/* the same at its end, which does not carry it */
	assert_non_null(strstr(strstr(lines, "test_passed"), "\"a\":{\"$bytes\":\"AP9hYg==\"}"));
	free(lines);
	story_free(&story);
}

static void test_projection__cloudevents(void **state)
{
	struct story story;
	char *lines;

	(void)state;
	story_tell(&story);
	lines = export(&story, PV_EXPORT_CLOUDEVENTS);
	assert_non_null(
	    strstr(lines, "{\"specversion\":\"1.0\",\"id\":\"20250131-142233-7f3a/7\",\"source\":"
	                  "\"urn:provium:run:20250131-142233-7f3a\",\"type\":\"dev.provium.claim_acquired\",\"time\":"
	                  "\"2023-11-14T22:13:20.006000000Z\",\"subject\":\"net/a.test.lua\",\"datacontenttype\":"
	                  "\"application/json\",\"data\":{\"path\":"));
	assert_non_null(strstr(lines, "\"subject\":\"net/a.test.lua: meets\""));
	assert_non_null(strstr(lines, "\"subject\":\"net/a.test.lua: vm a\""));
	free(lines);
	story_free(&story);
}

static void test_projection__no_run(void **state)
{
	struct story story;
	struct pv_journal *journal;
	struct pv_errmsg msg = { .text = "" };

	(void)state;
	story_tell(&story);
	story_remove(&story, 0);
	journal = story_journal(&story);
	assert_int_equal(pv_export(journal, PV_EXPORT_JSONL, stdout, &msg), PV_ERR_CORRUPT);
	pv_journal_close(journal);
	story_free(&story);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_projection__good_run),
		cmocka_unit_test(test_projection__bytes),
		cmocka_unit_test(test_projection__waits_of_a_running_file),
		cmocka_unit_test(test_projection__ends_of_vms),
		cmocka_unit_test(test_projection__boot_that_was_overtaken),
		cmocka_unit_test(test_projection__restarted_file),
		cmocka_unit_test(test_projection__metadata),
		cmocka_unit_test(test_projection__cloudevents),
		cmocka_unit_test(test_projection__no_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
