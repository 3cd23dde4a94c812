/* The summary of what ran, as data and in its three formats. */
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/replay/summary.h"
#include "story.h"

#define HASH_OF_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define HASH_OF_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static void fill_hash(protobuf_c_boolean *has, ProtobufCBinaryData *hash, int byte)
{
	*has = 1;
	hash->len = 32;
	hash->data = pv_xmalloc(32);
	memset(hash->data, byte, 32);
}

/* The good run, with images, hashes and a seed; the profile "tiny" shares its kernel and boots nothing. */
static void tell(struct story *story)
{
	Pv__RunStarted *started;
	Pv__BootResult *boot;

	story_tell(story);
	started = story->events[0]->run_started;
	started->provium_version = pv_xstrdup("0.1.0");
	started->hostname = pv_xstrdup("host\xff");
	started->has_seed = 1;
	started->seed = UINT64_C(18446744073709551615);
	started->n_argv = 2;
	started->argv = pv_xcalloc(2, sizeof(char *));
	started->argv[0] = pv_xstrdup("provium");
	started->argv[1] = pv_xstrdup("run");
	for (size_t i = 0; i < started->n_profiles; i++) {
		started->profiles[i]->kernel_path = pv_xstrdup("/boot/vmlinuz");
		fill_hash(&started->profiles[i]->has_kernel_sha256, &started->profiles[i]->kernel_sha256, 0xaa);
		started->profiles[i]->initrd_path = pv_xstrdup(i == 0 ? "/boot/initrd" : "/boot/tiny");
		fill_hash(&started->profiles[i]->has_initrd_sha256, &started->profiles[i]->initrd_sha256,
		          i == 0 ? 0xbb : 0xcc);
	}
	fill_hash(&story->events[1]->file_discovered->has_sha256, &story->events[1]->file_discovered->sha256, 0xdd);
	boot = story->events[story->booted]->call_ended->boot;
	boot->accel = pv_xstrdup("tcg");
	boot->kernel_release = pv_xstrdup("6.1.0-x");
}

static void read_summary(const struct story *story, struct pv_summary *summary)
{
	struct pv_journal *journal = story_journal(story);
	struct pv_errmsg msg = { .text = "" };

	if (pv_summary_read(journal, summary, &msg) != PV_OK)
		fail_msg("%s", msg.text);
	pv_journal_close(journal);
}

static char *print(const struct pv_summary *summary, enum pv_summary_format format, bool ok)
{
	const struct pv_summary_check checks[] = {
		{ .name = "chain", .ok = true, .text = "whole" },
		{ .name = "rules", .ok = ok, .text = "16 rules" },
	};
	char *text;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	pv_summary_print(summary, format, checks, 2, out);
	fclose(out);
	return text;
}

static void test_summary__check_that_was_not_made(void **state)
{
	const struct pv_summary_check check = { .name = "fold", .not_looked = true, .text = "not looked at" };
	const struct pv_summary summary = { .ended = true, .verdict = PV__VERDICT__VERDICT_PASSED };
	char *text;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	(void)state;
	assert_non_null(out);
	pv_summary_print(&summary, PV_SUMMARY_TEXT, &check, 1, out);
	pv_summary_print(&summary, PV_SUMMARY_JSON, &check, 1, out);
	pv_summary_print(&summary, PV_SUMMARY_IN_TOTO, &check, 1, out);
	fclose(out);
	assert_non_null(strstr(text, "\nfold: not looked at\n"));
	assert_non_null(strstr(text, "{\"name\":\"fold\",\"ok\":false,\"not_looked\":true,"));
	assert_non_null(strstr(text, "\"result\":\"FAILED\""));
	free(text);
}

static void test_summary__what_ran(void **state)
{
	struct pv_summary summary;
	struct story story;

	(void)state;
	tell(&story);
	read_summary(&story, &summary);
	assert_string_equal(summary.run_id, "20250131-142233-7f3a");
	assert_true(summary.ended);
	assert_int_equal(summary.verdict, PV__VERDICT__VERDICT_PASSED);
	assert_int_equal(summary.events, story.n);
	assert_int_equal(summary.started_wall_ns, UINT64_C(1700000000000000000));
	assert_int_equal(summary.ended_wall_ns - summary.started_wall_ns, (story.n - 1) * 1000000);
	assert_int_equal(summary.n_profiles, 2);
	assert_int_equal(summary.profiles[0].boots, 1);
	assert_int_equal(summary.profiles[1].boots, 0);
	assert_int_equal(summary.n_boots, 1);
	assert_string_equal(summary.boots[0].kernel_release, "6.1.0-x");
	assert_string_equal(summary.boots[0].name, "a");
	assert_int_equal(summary.n_files, 2);
	assert_true(summary.files[0].has_sha256);
	assert_false(summary.files[1].dispatched);
	assert_int_equal(summary.files[0].n_tests, 3);
	assert_int_equal(summary.files[0].tests[2].verdict, PV__VERDICT__VERDICT_FLAKY);
	assert_int_equal(summary.files[0].tests[2].attempts, 2);
	assert_int_equal(summary.counts.passed, 1);
	assert_int_equal(summary.counts.skipped, 1);
	assert_int_equal(summary.counts.flaky, 1);
	assert_int_equal(summary.counts.failed, 0);
	pv_summary_free(&summary);
	story_free(&story);
}

/* A boot that failed booted nothing, and a runner that died leaves a summary without an end. */
static void test_summary__unfinished(void **state)
{
	struct pv_summary summary;
	struct story story;
	char *text;

	(void)state;
	tell(&story);
	story_insert(&story, story.booted, ev_call_error(1, PV__ERROR_KIND__ERROR_KIND_FAILED, "no"));
	while (story.n > story.test1 + 2)
		story_remove(&story, story.n - 1);
	read_summary(&story, &summary);
	assert_int_equal(summary.n_boots, 0);
	assert_false(summary.ended);
	assert_int_equal(summary.counts.files, 0);
	text = print(&summary, PV_SUMMARY_TEXT, true);
	assert_non_null(strstr(text, "not ended"));
	assert_non_null(strstr(text, "unfinished"));
	free(text);
	text = print(&summary, PV_SUMMARY_IN_TOTO, true);
	assert_non_null(strstr(text, "\"result\":\"FAILED\""));
	/* nothing was booted: the subject is the test file */
	assert_non_null(strstr(text, "\"subject\":[{\"name\":\"net/a.test.lua\""));
	free(text);
	pv_summary_free(&summary);
	story_free(&story);
}

static void test_summary__restarted_file(void **state)
{
	Pv__FileRestarted *body = PV_NEW(Pv__FileRestarted);
	Pv__Event *event = PV_NEW(Pv__Event);
	struct pv_summary summary;
	struct story story;

	(void)state;
	tell(&story);
	pv__event__init(event);
	pv__file_restarted__init(body);
	body->has_id = 1;
	body->id = 1;
	event->body_case = PV__EVENT__BODY_FILE_RESTARTED;
	event->file_restarted = body;
	story_insert(&story, story.skipped, event);
	read_summary(&story, &summary);
	assert_int_equal(summary.restarts, 1);
	assert_int_equal(summary.files[0].restarts, 1);
	assert_int_equal(summary.files[0].n_tests, 2); /* what was reported before is void */
	assert_int_equal(summary.counts.passed, 0);
	pv_summary_free(&summary);
	story_free(&story);
}

static struct json_object *parse(const char *text)
{
	enum json_tokener_error error;
	struct json_object *object = json_tokener_parse_verbose(text, &error);

	if (object == NULL)
		fail_msg("%s: %s", json_tokener_error_desc(error), text);
	return object;
}

/* "a.b.0.c" */
static const char *at(struct json_object *object, const char *path)
{
	char *copy = strdup(path), *rest = copy, *part;

	while (object != NULL && (part = strsep(&rest, ".")) != NULL) {
		if (json_object_is_type(object, json_type_array))
			object = json_object_array_get_idx(object, strtoul(part, NULL, 10));
		else
			object = json_object_object_get(object, part);
	}
	free(copy);
	return object != NULL ? json_object_get_string(object) : "(missing)";
}

static void test_summary__json(void **state)
{
	struct pv_summary summary;
	struct story story;
	struct json_object *object;
	char *text, *again;

	(void)state;
	tell(&story);
	read_summary(&story, &summary);
	summary.has_head = true;
	memset(summary.head, 0xbb, sizeof(summary.head));
	text = print(&summary, PV_SUMMARY_JSON, true);
	object = parse(text);
	assert_string_equal(at(object, "run.id"), "20250131-142233-7f3a");
	assert_string_equal(at(object, "run.seed"), "18446744073709551615");
	assert_string_equal(at(object, "run.host"), "host\xef\xbf\xbd");
	assert_string_equal(at(object, "run.started"), "2023-11-14T22:13:20.000000000Z");
	assert_string_equal(at(object, "run.verdict"), "passed");
	assert_string_equal(at(object, "profiles.0.kernel.sha256"), HASH_OF_A);
	assert_string_equal(at(object, "boots.0.accelerator"), "tcg");
	assert_string_equal(at(object, "files.0.tests.2.verdict"), "flaky");
	assert_string_equal(at(object, "files.1.verdict"), "not_run");
	assert_string_equal(at(object, "journal.head"), HASH_OF_B);
	assert_string_equal(at(object, "journal.merkle_root"), "(missing)");
	assert_string_equal(at(object, "checks.1.text"), "16 rules");
	again = print(&summary, PV_SUMMARY_JSON, true);
	assert_string_equal(text, again);
	json_object_put(object);
	free(again);
	free(text);
	pv_summary_free(&summary);
	story_free(&story);
}

static void test_summary__in_toto(void **state)
{
	struct pv_summary summary;
	struct story story;
	struct json_object *object;
	char *text;

	(void)state;
	tell(&story);
	read_summary(&story, &summary);
	summary.has_head = summary.has_root = true;
	memset(summary.merkle_root, 0xbb, sizeof(summary.merkle_root));
	text = print(&summary, PV_SUMMARY_IN_TOTO, true);
	object = parse(text);
	assert_string_equal(at(object, "_type"), "https://in-toto.io/Statement/v1");
	assert_string_equal(at(object, "predicateType"), "https://in-toto.io/attestation/test-result/v0.1");
	assert_string_equal(at(object, "subject.0.name"), "/boot/vmlinuz");
	assert_string_equal(at(object, "subject.0.digest.sha256"), HASH_OF_A);
	assert_string_equal(at(object, "subject.1.digest.sha256"), HASH_OF_B);
	assert_string_equal(at(object, "subject.2"), "(missing)"); /* what was not booted was not tested */
	assert_string_equal(at(object, "predicate.result"), "WARNED");
	assert_string_equal(at(object, "predicate.configuration.2.name"), "net/a.test.lua");
	assert_string_equal(at(object, "predicate.passedTests.0"), "net/a.test.lua: meets");
	assert_string_equal(at(object, "predicate.warnedTests.0"), "net/a.test.lua: flickers");
	assert_string_equal(at(object, "predicate.failedTests"), "[ ]");
	assert_string_equal(at(object, "predicate.provium.skippedTests.0"), "net/a.test.lua: floods");
	assert_string_equal(at(object, "predicate.provium.merkleRoot.sha256"), HASH_OF_B);
	json_object_put(object);
	free(text);
	/* a journal that does not hold is no proof of a pass */
	text = print(&summary, PV_SUMMARY_IN_TOTO, false);
	assert_non_null(strstr(text, "\"result\":\"FAILED\""));
	free(text);
	pv_summary_free(&summary);
	story_free(&story);
}

static void test_summary__text(void **state)
{
	struct pv_summary summary;
	struct story story;
	char *text;

	(void)state;
	tell(&story);
	free(story.events[story.skipped]->test_ended->message);
	story.events[story.skipped]->test_ended->message = pv_xstrdup("two\nlines \x1b[31m");
	read_summary(&story, &summary);
	text = print(&summary, PV_SUMMARY_TEXT, false);
	assert_non_null(strstr(text, "1 passed, 0 failed, 1 skipped, 1 flaky\n"));
	assert_non_null(strstr(text, "kernel  sha256:" HASH_OF_A "  /boot/vmlinuz\n"));
	assert_non_null(strstr(text, "accelerator tcg  kernel 6.1.0-x"));
	assert_non_null(strstr(text, "two\\nlines \\x1b[31m\n"));
	assert_non_null(strstr(text, "\nchain: whole\nrules: FAILED: 16 rules\n"));
	free(text);
	pv_summary_free(&summary);
	story_free(&story);
}

/* What audit prints of a journal that it cannot read: the checks, and no result that could be taken for a pass. */
static void test_summary__nothing(void **state)
{
	struct pv_summary summary = { .run_id = NULL };
	struct json_object *object;
	char *text;

	(void)state;
	text = print(&summary, PV_SUMMARY_TEXT, false);
	assert_non_null(strstr(text, "cannot be told"));
	assert_non_null(strstr(text, "rules: FAILED: 16 rules"));
	free(text);
	text = print(&summary, PV_SUMMARY_JSON, false);
	object = parse(text);
	assert_string_equal(at(object, "run.id"), "(missing)");
	assert_string_equal(at(object, "run.verdict"), "unfinished");
	assert_string_equal(at(object, "checks.1.ok"), "false");
	json_object_put(object);
	free(text);
	text = print(&summary, PV_SUMMARY_IN_TOTO, true);
	object = parse(text);
	assert_string_equal(at(object, "predicate.result"), "FAILED");
	json_object_put(object);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_summary__what_ran),       cmocka_unit_test(test_summary__unfinished),
		cmocka_unit_test(test_summary__restarted_file), cmocka_unit_test(test_summary__json),
		cmocka_unit_test(test_summary__in_toto),        cmocka_unit_test(test_summary__text),
		cmocka_unit_test(test_summary__nothing),        cmocka_unit_test(test_summary__check_that_was_not_made),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
