/* Checkpoints: the text of a note, its signature, and that those a writer makes are the roots of what it wrote. */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fixture.h"
#include "journal/journal_internal.h"

#define ORIGIN "provium/20250131-142233-7f3a"

static struct pv_errmsg msg;

/* The key whose seed is 00 01 ... 1f. */
static const char private_pem[] = "-----BEGIN PRIVATE KEY-----\n"
                                  "MC4CAQAwBQYDK2VwBCIEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\n"
                                  "-----END PRIVATE KEY-----\n";
static const char public_pem[] = "-----BEGIN PUBLIC KEY-----\n"
                                 "MCowBQYDK2VwAyEAA6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=\n"
                                 "-----END PUBLIC KEY-----\n";
static const char other_public_pem[] = "-----BEGIN PUBLIC KEY-----\n"
                                       "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n"
                                       "-----END PUBLIC KEY-----\n";
static const char rsa_like_pem[] = "-----BEGIN PUBLIC KEY-----\n"
                                   "MCowBQYDK2VuAyEAhSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=\n"
                                   "-----END PUBLIC KEY-----\n"; /* X25519 */

/* Made with `openssl pkeyutl -sign`: root is SHA-256 of "root". */
#define NOTE_BODY ORIGIN "\n8192\nSBNJTRN+FjG7owHVrKtue7eqdM4RhdRWVl71HXN2d7I=\n"
#define NOTE_SIGNATURE                                                                                                 \
	"\n\xe2\x80\x94 provium sB+RleVb0i7PXk+teK7qj0dRshnhuHRKcFn41EFZPtSIejkGJEDUMA0Rw6O4GBFyDnhlHNpgk/LCJ13Y/"     \
	"kWiZ+LcfQU=\n"

static const char *put_file(const struct place *place, const char *name, const char *text)
{
	static char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", place->top, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
	return path;
}

static struct pv_signer *load_signer(const struct place *place)
{
	struct pv_signer *signer;

	OK(pv_signer_load(put_file(place, "key.pem", private_pem), &signer, &msg));
	return signer;
}

/* ---- notes ---- */

static void test_note__known_text(void **state)
{
	struct pv_signer *signer = load_signer(*state);
	struct pv_note note = { .origin = ORIGIN, .size = 8192 };
	char text[PV_NOTE_MAX];

	pv_sha256("root", 4, note.root);
	assert_true(pv_note_write(&note, NULL, text));
	assert_string_equal(text, NOTE_BODY);
	assert_true(pv_note_write(&note, signer, text));
	assert_string_equal(text, NOTE_BODY NOTE_SIGNATURE);
	pv_signer_free(signer);
}

static void test_note__verify(void **state)
{
	struct pv_verifier *verifier, *other;
	struct pv_note note;

	OK(pv_verifier_load(put_file(*state, "pub.pem", public_pem), &verifier, &msg));
	OK(pv_verifier_load(put_file(*state, "other.pem", other_public_pem), &other, &msg));
	OK(pv_note_parse(NOTE_BODY NOTE_SIGNATURE, strlen(NOTE_BODY NOTE_SIGNATURE), &note, &msg));
	assert_true(note.is_signed);
	assert_int_equal(note.size, 8192);
	assert_string_equal(note.origin, ORIGIN);
	OK(pv_note_verify(&note, verifier, &msg));
	assert_int_equal(pv_note_verify(&note, other, &msg), PV_ERR_CORRUPT);
	assert_non_null(strstr(msg.text, "not with the one given"));
	note.size--;
	assert_int_equal(pv_note_verify(&note, verifier, &msg), PV_ERR_CORRUPT);
	assert_non_null(strstr(msg.text, "does not belong"));
	note.size++;
	note.signature[9] ^= 1;
	assert_int_equal(pv_note_verify(&note, verifier, &msg), PV_ERR_CORRUPT);
	OK(pv_note_parse(NOTE_BODY, strlen(NOTE_BODY), &note, &msg));
	assert_false(note.is_signed);
	assert_int_equal(pv_note_verify(&note, verifier, &msg), PV_ERR_CORRUPT);
	pv_verifier_free(verifier);
	pv_verifier_free(other);
}

/* Any byte that is changed or cut off is noticed, unless it is inside the signature of somebody else. */
static void test_note__every_byte(void **state)
{
	const char text[] = NOTE_BODY NOTE_SIGNATURE;
	struct pv_verifier *verifier;
	struct pv_note note;
	char copy[sizeof(text)];

	OK(pv_verifier_load(put_file(*state, "pub.pem", public_pem), &verifier, &msg));
	for (size_t i = 0; i < sizeof(text) - 1; i++) {
		for (int bit = 0; bit < 8; bit++) {
			memcpy(copy, text, sizeof(text));
			copy[i] = (char)(copy[i] ^ 1 << bit);
			if (pv_note_parse(copy, sizeof(text) - 1, &note, &msg) == PV_OK)
				assert_int_equal(pv_note_verify(&note, verifier, &msg), PV_ERR_CORRUPT);
		}
		if (pv_note_parse(text, i, &note, &msg) == PV_OK)
			assert_false(note.is_signed);
	}
	pv_verifier_free(verifier);
}

static void test_note__others_may_sign_as_well(void **state)
{
	const char text[] = NOTE_BODY "\n\xe2\x80\x94 witness.example abcd\n" NOTE_SIGNATURE;
	char joined[sizeof(text)];
	struct pv_note note;

	(void)state;
	/* NOTE_SIGNATURE begins with the empty line that is there already */
	snprintf(joined, sizeof(joined), "%s%s", NOTE_BODY "\n\xe2\x80\x94 witness.example abcd\n", &NOTE_SIGNATURE[1]);
	OK(pv_note_parse(joined, strlen(joined), &note, &msg));
	assert_true(note.is_signed);
}

static void test_key__refused(void **state)
{
	const struct place *place = *state;
	struct pv_verifier *verifier;
	struct pv_signer *signer;

	assert_int_equal(pv_signer_load("/nonexistent/key", &signer, &msg), PV_ERR_NOENT);
	assert_int_equal(pv_signer_load(put_file(place, "a", "no key\n"), &signer, &msg), PV_ERR_INVAL);
	assert_non_null(strstr(msg.text, "openssl genpkey"));
	assert_int_equal(pv_signer_load(put_file(place, "a", public_pem), &signer, &msg), PV_ERR_INVAL);
	assert_int_equal(pv_verifier_load(put_file(place, "a", private_pem), &verifier, &msg), PV_ERR_INVAL);
	assert_int_equal(pv_verifier_load(put_file(place, "a", rsa_like_pem), &verifier, &msg), PV_ERR_INVAL);
	assert_non_null(strstr(msg.text, "another kind"));
}

/* ---- the writer ---- */

/* The root of the first `size` records, through the cursor. */
static void root_of(struct pv_journal *journal, uint64_t size, uint8_t root[PV_SHA256_BYTES])
{
	struct pv_journal_cursor *cursor;
	struct pv_record record;
	struct pv_merkle tree = { 0 };

	OK(pv_journal_cursor_open(journal, 1, &cursor, &msg));
	while (tree.size < size) {
		OK(pv_journal_cursor_next(cursor, &record, &msg));
		assert_int_equal(record.seq, tree.size + 1);
		pv_merkle_add(&tree, record.event - PV_RECORD_EVENT_AT, record.event_len + PV_RECORD_EVENT_AT);
	}
	pv_journal_cursor_close(cursor);
	pv_merkle_root(&tree, root);
}

struct points {
	size_t n;
	struct pv_note notes[64];
};

static bool collect(void *arg, const uint8_t *key, size_t key_len, const uint8_t *data, size_t len)
{
	struct points *points = arg;

	assert_true(points->n < 64);
	assert_int_equal(key_len, 8);
	OK(pv_note_parse((const char *)data, len, &points->notes[points->n], &msg));
	assert_int_equal(pv_get_be64(key), points->notes[points->n].size);
	points->n++;
	return true;
}

/* All checkpoints are right; the last is of all there is. Returns how many. */
static size_t check_points(struct pv_journal *journal)
{
	struct points *points = calloc(1, sizeof(*points));
	uint8_t root[PV_SHA256_BYTES];
	size_t n;

	assert_non_null(points);
	OK(pv_journal_rows(journal, PV_TABLE_CHECKPOINTS, collect, points, &msg));
	n = points->n;
	assert_true(n > 0);
	for (size_t i = 0; i < n; i++) {
		root_of(journal, points->notes[i].size, root);
		assert_memory_equal(root, points->notes[i].root, sizeof(root));
		assert_string_equal(points->notes[i].origin, ORIGIN);
	}
	assert_int_equal(points->notes[n - 1].size, pv_journal_committed_seq(journal));
	free(points);
	return n;
}

static void append_in_commits(struct pv_journal *journal, uint64_t last, uint64_t each)
{
	for (uint64_t seq = pv_journal_last_seq(journal); seq < last; seq += each) {
		append_up_to(journal, seq + each < last ? seq + each : last);
		OK(pv_journal_commit(journal, &msg));
	}
}

/* Checkpoints come with commits, once the hasher beside the writer is done: writes on until there are `n`. */
static void append_until_points(struct pv_journal *journal, size_t n)
{
	time_t at_most = time(NULL) + 60;

	for (;;) {
		struct points points = { 0 };

		OK(pv_journal_rows(journal, PV_TABLE_CHECKPOINTS, collect, &points, &msg));
		if (points.n >= n)
			return;
		assert_true(time(NULL) < at_most);
		append_in_commits(journal, pv_journal_last_seq(journal) + 10, 10);
		sched_yield();
	}
}

static void test_checkpoint__while_writing(void **state)
{
	const struct place *place = *state;
	struct pv_signer *signer = load_signer(place);
	struct pv_verifier *verifier;
	struct pv_journal *journal;
	struct pv_note note;
	struct stat st;
	uint64_t last;
	char path[128];

	OK(pv_verifier_load(put_file(place, "pub.pem", public_pem), &verifier, &msg));
	OK(pv_journal_create(place->run, PV_DURABILITY_BATCH, &journal, &msg));
	OK(pv_journal_checkpoints_start(journal, ORIGIN, signer, &msg));
	for (size_t n = 1; n <= 3; n++) {
		append_in_commits(journal, pv_journal_last_seq(journal) + PV_CHECKPOINT_EVERY, 100);
		append_until_points(journal, n);
	}
	append_in_commits(journal, pv_journal_last_seq(journal) + 17, 100);
	OK(pv_journal_checkpoint(journal, &msg));
	assert_true(check_points(journal) >= 4);
	last = pv_journal_last_seq(journal);
	pv_journal_close(journal);
	OK(pv_journal_final_note(place->run, &note, &msg));
	assert_int_equal(note.size, last);
	OK(pv_note_verify(&note, verifier, &msg));
	snprintf(path, sizeof(path), "%s/.checkpoint-new", place->run);
	assert_int_not_equal(stat(path, &st), 0);
	pv_signer_free(signer);
	pv_verifier_free(verifier);
}

/* Opened again it goes on from the last row, wherever the writer before stopped. */
static void test_checkpoint__goes_on(void **state)
{
	const struct place *place = *state;
	struct pv_journal *journal;

	OK(pv_journal_create(place->run, PV_DURABILITY_NONE, &journal, &msg));
	OK(pv_journal_checkpoints_start(journal, ORIGIN, NULL, &msg));
	for (unsigned life = 1; life < 8; life++) {
		append_in_commits(journal, life * 3001, 500);
		if (life % 2 == 0)
			OK(pv_journal_checkpoint(journal, &msg));
		pv_journal_close(journal);
		OK(pv_journal_open_append(place->run, PV_DURABILITY_NONE, &journal, &msg));
		OK(pv_journal_checkpoints_start(journal, ORIGIN, NULL, &msg));
	}
	OK(pv_journal_checkpoint(journal, &msg));
	OK(pv_journal_checkpoint(journal, &msg)); /* nothing new: nothing happens */
	assert_true(check_points(journal) >= 4);
	pv_journal_close(journal);
}

static void test_checkpoint__in_memory(void **state)
{
	struct pv_journal *journal;

	(void)state;
	OK(pv_journal_create_memory(&journal, &msg));
	OK(pv_journal_checkpoints_start(journal, ORIGIN, NULL, &msg));
	append_in_commits(journal, 2 * PV_CHECKPOINT_EVERY, 1000);
	OK(pv_journal_checkpoint(journal, &msg));
	assert_int_equal(check_points(journal), 1);
	pv_journal_close(journal);
}

static void test_checkpoint__not_asked_for(void **state)
{
	const struct place *place = *state;
	struct pv_journal *journal;
	struct pv_note note;

	OK(pv_journal_create(place->run, PV_DURABILITY_BATCH, &journal, &msg));
	append_in_commits(journal, 10, 10);
	OK(pv_journal_checkpoint(journal, &msg));
	pv_journal_close(journal);
	assert_int_equal(pv_journal_final_note(place->run, &note, &msg), PV_ERR_NOENT);
}

static void test_checkpoint__bad_origin(void **state)
{
	struct pv_journal *journal;

	(void)state;
	OK(pv_journal_create_memory(&journal, &msg));
	assert_int_equal(pv_journal_checkpoints_start(journal, "two words", NULL, &msg), PV_ERR_INVAL);
	assert_int_equal(pv_journal_checkpoints_start(journal, "two\nlines", NULL, &msg), PV_ERR_INVAL);
	assert_int_equal(pv_journal_checkpoints_start(journal, "", NULL, &msg), PV_ERR_INVAL);
	pv_journal_close(journal);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, place_setup, place_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_note__known_text),
		CASE(test_note__verify),
		CASE(test_note__every_byte),
		CASE(test_note__others_may_sign_as_well),
		CASE(test_key__refused),
		CASE(test_checkpoint__while_writing),
		CASE(test_checkpoint__goes_on),
		CASE(test_checkpoint__in_memory),
		CASE(test_checkpoint__not_asked_for),
		CASE(test_checkpoint__bad_origin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
