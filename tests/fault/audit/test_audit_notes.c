/* What a checkpoint that was kept elsewhere finds, and nothing inside the journal can: a history that was cut off or written anew with all
 * hashes put right. */
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/replay/audit.h"
#include "fixture.h"
#include "journal/redact.h"
#include "journal/tables.h"
#include "sample.h"

static struct pv_errmsg msg;
static struct pv_audit audit;

static bool passes(const struct place *place, const struct pv_note *against)
{
	const struct pv_audit_request request = { .dir = place->run, .against = against };

	return pv_audit_run(&request, &audit);
}

/* Exactly this check fails, and says so. */
static void fails(const struct place *place, const struct pv_note *against, enum pv_audit_check check,
                  const char *words)
{
	assert_false(passes(place, against));
	for (int i = 0; i < PV_AUDIT_CHECKS; i++)
		if ((audit.lines[i].outcome == PV_AUDIT_FAILED) != (i == (int)check))
			fail_msg("check %s: %s", pv_audit_name((enum pv_audit_check)i), audit.lines[i].text);
	if (strstr(audit.lines[check].text, words) == NULL)
		fail_msg("\"%s\" says nothing of \"%s\"", audit.lines[check].text, words);
}

static struct pv_note final_note(const struct place *place)
{
	struct pv_note note;

	OK(pv_journal_final_note(place->run, &note, &msg));
	return note;
}

/* Another run in its place, that was made with all the care that this library has. */
static void replace(const struct place *place, const struct sample *sample)
{
	remove_tree(place->run);
	write_sample(place->run, sample);
	assert_true(passes(place, NULL));
}

static void test_against__the_same(void **state)
{
	const struct place *place = *state;
	struct pv_note note;

	write_sample(place->run, &(struct sample){ .seed = 7 });
	note = final_note(place);
	assert_true(passes(place, &note));
	assert_int_equal(audit.lines[PV_AUDIT_AGAINST].outcome, PV_AUDIT_PASSED);
	assert_int_equal(audit.fold.ends, 1);
	assert_int_equal(audit.blobs, 3);
}

/* A note of an earlier moment of the run is as good: the journal begins with those events. */
static void test_against__an_earlier_note(void **state)
{
	const struct place *place = *state;
	struct pv_journal *journal;
	struct pv_note note;

	write_sample(place->run, &(struct sample){ .seed = 7, .events = 40 });
	note = final_note(place);
	assert_int_equal(note.size, 40);
	OK(pv_journal_open_append(place->run, PV_DURABILITY_BATCH, &journal, &msg));
	OK(pv_journal_checkpoints_start(journal, "provium/20250131-142233-7f3a", NULL, &msg));
	Pv__Event event = PV__EVENT__INIT;
	Pv__Notice notice = PV__NOTICE__INIT;
	notice.text = (char *)"more";
	event.body_case = PV__EVENT__BODY_NOTICE;
	event.notice = &notice;
	OK(pv_journal_append(journal, &event, NULL, &msg));
	OK(pv_journal_checkpoint(journal, &msg));
	pv_journal_close(journal);
	assert_true(passes(place, &note));
}

static void test_against__rewritten(void **state)
{
	const struct place *place = *state;
	struct pv_note note;

	write_sample(place->run, &(struct sample){ .seed = 7 });
	note = final_note(place);
	replace(place, &(struct sample){ .seed = 8 });
	fails(place, &note, PV_AUDIT_AGAINST, "rewritten");
}

static void test_against__truncated(void **state)
{
	const struct place *place = *state;
	struct pv_note note;

	write_sample(place->run, &(struct sample){ .seed = 7 });
	note = final_note(place);
	replace(place, &(struct sample){ .seed = 7, .events = 31 });
	fails(place, &note, PV_AUDIT_AGAINST, "truncated");
}

static void test_against__of_another_run(void **state)
{
	const struct place *place = *state;
	struct pv_note note;

	write_sample(place->run, &(struct sample){ .seed = 7 });
	note = final_note(place);
	note.origin[sizeof("provium/")] ^= 1;
	fails(place, &note, PV_AUDIT_AGAINST, "is of provium/");
}

/* The journal of an earlier moment, put back beside the files of a later one. */
static void test_end__an_older_journal(void **state)
{
	const struct place *place = *state;
	char older[128], path[128];

	snprintf(older, sizeof(older), "%s/older.mdb", place->top);
	snprintf(path, sizeof(path), "%s/journal.mdb", place->run);
	write_sample(place->run, &(struct sample){ .seed = 7, .events = 31 });
	assert_int_equal(rename(path, older), 0);
	remove_tree(place->run);
	write_sample(place->run, &(struct sample){ .seed = 7 });
	assert_int_equal(rename(older, path), 0);
	fails(place, NULL, PV_AUDIT_END, "are gone");
	snprintf(path, sizeof(path), "%s/journal.synced", place->run);
	assert_int_equal(unlink(path), 0);
	fails(place, NULL, PV_AUDIT_END, "truncated");
}

/* ---- blobs ---- */

static bool first_blob(const char *dir, char path[256], uint8_t sha256[PV_SHA256_BYTES])
{
	glob_t found;
	bool ok;

	snprintf(path, 256, "%s/blobs/*/*", dir);
	assert_int_equal(glob(path, 0, NULL, &found), 0);
	snprintf(path, 256, "%s", found.gl_pathv[0]);
	ok = pv_hash_parse(strrchr(path, '/') + 1, sha256);
	globfree(&found);
	return ok;
}

/* A process that has the journal open for appending until *fd is closed. */
static pid_t begin_live(const char *dir, int *fd)
{
	struct pv_journal *journal;
	int fds[2];
	char byte = 0;
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	pid = fork();
	if (pid == 0) {
		close(fds[0]);
		if (pv_journal_open_append(dir, PV_DURABILITY_BATCH, &journal, NULL) == PV_OK &&
		    write(fds[1], &byte, 1) == 1)
			(void)!read(fds[1], &byte, 1);
		_exit(0);
	}
	close(fds[1]);
	assert_int_equal(read(fds[0], &byte, 1), 1);
	*fd = fds[0];
	return pid;
}

static void test_blobs__missing_changed_redacted(void **state)
{
	const struct place *place = *state;
	uint8_t sha256[PV_SHA256_BYTES];
	char path[256], away[256];
	pid_t live;
	int ready;

	write_sample(place->run, &(struct sample){ .seed = 7 });
	assert_true(first_blob(place->run, path, sha256));
	snprintf(away, sizeof(away), "%s/away", place->top);
	assert_int_equal(rename(path, away), 0);
	fails(place, NULL, PV_AUDIT_BLOBS, "is not there");
	assert_true(audit.lines[PV_AUDIT_BLOBS].seq > 0);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fputs("something else", file);
	fclose(file);
	fails(place, NULL, PV_AUDIT_BLOBS, "is damaged");
	assert_int_equal(rename(away, path), 0);
	assert_true(passes(place, NULL));

	/* on purpose: not while the run is live */
	live = begin_live(place->run, &ready);
	assert_int_equal(pv_journal_redact(place->run, sha256, &msg), PV_ERR_BUSY);
	assert_int_equal(access(path, F_OK), 0);
	close(ready);
	assert_int_equal(waitpid(live, NULL, 0), live);
	OK(pv_journal_redact(place->run, sha256, &msg));
	assert_int_not_equal(access(path, F_OK), 0);
	assert_true(passes(place, NULL));
	assert_int_equal(audit.redacted, 1);
	assert_int_equal(audit.blobs, 2);
	assert_int_equal(pv_journal_redact(place->run, sha256, &msg), PV_ERR_EXISTS);
	sha256[0] ^= 1;
	assert_int_equal(pv_journal_redact(place->run, sha256, &msg), PV_ERR_NOENT);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_against__the_same),
		CASE(test_against__an_earlier_note),
		CASE(test_against__rewritten),
		CASE(test_against__truncated),
		CASE(test_against__of_another_run),
		CASE(test_end__an_older_journal),
		CASE(test_blobs__missing_changed_redacted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
