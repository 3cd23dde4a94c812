/* Bundles: a run comes out as it went in, and nothing else comes out of a file that somebody else made. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "core_events.h"
#include "engine/replay/bundle.h"
#include "engine/replay/bundle_internal.h"
#include "journal/journal.h"

#define BLOB_BYTES 5000

struct place {
	char top[64];
	char *run, *bundle, *out;
};

static int setup(void **state)
{
	struct place *place = PV_NEW(struct place);

	snprintf(place->top, sizeof(place->top), "/tmp/provium-test-bundle-XXXXXX");
	assert_non_null(mkdtemp(place->top));
	place->run = pv_xasprintf("%s/run", place->top);
	place->bundle = pv_xasprintf("%s/bundle", place->top);
	place->out = pv_xasprintf("%s/out", place->top);
	assert_int_equal(mkdir(place->out, 0700), 0);
	*state = place;
	return 0;
}

static void remove_all(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		char *child = pv_xasprintf("%s/%s", path, entry->d_name);

		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
			if (entry->d_type == DT_DIR)
				remove_all(child);
			else
				unlink(child);
		}
		free(child);
	}
	if (dir != NULL)
		closedir(dir);
	rmdir(path);
}

static int teardown(void **state)
{
	struct place *place = *state;

	remove_all(place->top);
	free(place->run);
	free(place->bundle);
	free(place->out);
	free(place);
	return 0;
}

/* ---- round trip ---- */

static Pv__Event *event_with_blob(const uint8_t sha256[PV_SHA256_BYTES])
{
	Pv__Event *event = ev_call_started(1, PV__CALL_STARTED__OP_WRITE_FILE, 0);
	Pv__Payload *payload = PV_NEW(Pv__Payload);
	Pv__Blob *blob = PV_NEW(Pv__Blob);

	pv__payload__init(payload);
	pv__blob__init(blob);
	blob->has_sha256 = 1;
	blob->sha256.len = PV_SHA256_BYTES;
	blob->sha256.data = pv_xmemdup(sha256, PV_SHA256_BYTES);
	payload->kind_case = PV__PAYLOAD__KIND_BLOB;
	payload->blob = blob;
	event->call_started->write_file->content = payload;
	return event;
}

static void append(struct pv_journal *journal, Pv__Event *event)
{
	struct pv_errmsg msg = { .text = "" };

	assert_int_equal(pv_journal_append(journal, event, NULL, &msg), PV_OK);
	pv__event__free_unpacked(event, NULL);
}

/* A run with two blobs that events name (one of them twice) and one that none does. */
static void make_run(const char *dir, uint8_t first[PV_SHA256_BYTES])
{
	uint8_t data[BLOB_BYTES], sha256[PV_SHA256_BYTES];
	struct pv_errmsg msg = { .text = "" };
	struct pv_journal *journal;

	assert_int_equal(pv_journal_create(dir, PV_DURABILITY_NONE, &journal, &msg), PV_OK);
	append(journal, ev_run_started("20250131-142233-7f3a"));
	for (int i = 0; i < 3; i++) {
		memset(data, i, sizeof(data));
		assert_int_equal(pv_journal_blob_put(journal, data, sizeof(data), sha256, &msg), PV_OK);
		if (i == 0)
			memcpy(first, sha256, sizeof(sha256));
		if (i < 2)
			append(journal, event_with_blob(sha256));
	}
	append(journal, event_with_blob(first));
	assert_int_equal(pv_journal_commit(journal, &msg), PV_OK);
	pv_journal_close(journal);
}

static void write_bundle(const struct place *place)
{
	struct pv_errmsg msg = { .text = "" };

	if (pv_bundle_write(place->run, place->bundle, &msg) != PV_OK)
		fail_msg("%s", msg.text);
}

static size_t read_file(const char *path, uint8_t **data)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	*data = pv_xmalloc((size_t)st.st_size + 1);
	assert_int_equal(read(fd, *data, (size_t)st.st_size), st.st_size);
	close(fd);
	return (size_t)st.st_size;
}

static unsigned count_files(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	unsigned n = 0;

	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		char *child = pv_xasprintf("%s/%s", path, entry->d_name);

		if (entry->d_type != DT_DIR)
			n++;
		else if (entry->d_name[0] != '.')
			n += count_files(child);
		free(child);
	}
	if (dir != NULL)
		closedir(dir);
	return n;
}

static void test_bundle__round_trip(void **state)
{
	const struct place *place = *state;
	struct pv_journal_verdict before, after;
	struct pv_errmsg msg = { .text = "" };
	struct pv_journal *journal;
	uint8_t first[PV_SHA256_BYTES];
	size_t len;
	void *data;

	make_run(place->run, first);
	write_bundle(place);
	assert_true(pv_bundle_is(place->bundle));
	assert_int_equal(pv_bundle_unpack(place->bundle, place->out, &msg), PV_OK);
	assert_int_equal(count_files(place->out), 3); /* journal and two blobs */
	assert_int_equal(pv_journal_verify_dir(place->run, &before, &msg), PV_OK);
	assert_int_equal(pv_journal_verify_dir(place->out, &after, &msg), PV_OK);
	assert_int_equal(after.records, 4);
	assert_memory_equal(before.head, after.head, sizeof(before.head));
	assert_int_equal(pv_journal_open_read(place->out, &journal, &msg), PV_OK);
	assert_int_equal(pv_journal_blob_get(journal, first, &data, &len, &msg), PV_OK);
	assert_int_equal(len, BLOB_BYTES);
	free(data);
	pv_journal_close(journal);
}

/* Nothing of time, user or place is in it; and writing over an older one leaves no other file. */
static void test_bundle__same_bytes(void **state)
{
	const struct place *place = *state;
	uint8_t first[PV_SHA256_BYTES], *a, *b;
	size_t a_len, b_len;

	make_run(place->run, first);
	write_bundle(place);
	a_len = read_file(place->bundle, &a);
	write_bundle(place);
	b_len = read_file(place->bundle, &b);
	assert_int_equal(a_len, b_len);
	assert_memory_equal(a, b, a_len);
	free(a);
	free(b);
	remove_all(place->run);
	assert_int_equal(count_files(place->top), 1);
}

static void test_bundle__redacted_blob(void **state)
{
	const struct place *place = *state;
	struct pv_errmsg msg = { .text = "" };
	uint8_t first[PV_SHA256_BYTES];
	char hex[2 * PV_SHA256_BYTES + 1], *path;
	uint8_t *bytes;
	size_t len;
	FILE *note;

	make_run(place->run, first);
	for (size_t i = 0; i < PV_SHA256_BYTES; i++)
		snprintf(hex + 2 * i, 3, "%02x", first[i]);
	path = pv_xasprintf("%s/blobs/%.2s/%s", place->run, hex, hex);
	assert_int_equal(unlink(path), 0);
	free(path);
	path = pv_xasprintf("%s/redactions", place->run);
	note = fopen(path, "w");
	fprintf(note, "%s 4711\n", hex);
	fclose(note);
	free(path);
	write_bundle(place);
	assert_int_equal(pv_bundle_unpack(place->bundle, place->out, &msg), PV_OK);
	assert_int_equal(count_files(place->out), 3); /* journal, the other blob, and why the one is missing */
	path = pv_xasprintf("%s/redactions", place->out);
	len = read_file(path, &bytes);
	assert_int_equal(len, 64 + 6);
	assert_memory_equal(bytes, hex, 64);
	free(bytes);
	free(path);
}

static void test_bundle__cannot_be_written(void **state)
{
	const struct place *place = *state;
	struct pv_errmsg msg = { .text = "" };
	uint8_t first[PV_SHA256_BYTES];
	char *path = pv_xasprintf("%s/no/bundle", place->top);

	assert_int_equal(pv_bundle_write(place->out, place->bundle, &msg), PV_ERR_NOENT);
	assert_int_equal(count_files(place->top), 0);
	make_run(place->run, first);
	assert_int_equal(pv_bundle_write(place->run, path, &msg), PV_ERR_IO);
	free(path);
}

/* ---- archives that somebody else made ---- */

struct archive {
	uint8_t *data;
	size_t len;
};

static void add(struct archive *archive, const void *data, size_t len)
{
	archive->data = pv_xrealloc(archive->data, archive->len + len + PV_TAR_BLOCK);
	memcpy(archive->data + archive->len, data, len);
	archive->len += len;
}

static void seal(struct pv_tar_header *header)
{
	char sum[8];

	snprintf(sum, sizeof(sum), "%06o", pv_tar_checksum(header));
	memcpy(header->checksum, sum, 7);
	header->checksum[7] = ' ';
}

static struct pv_tar_header header_of(const char *name, char type, size_t size)
{
	struct pv_tar_header header;
	char text[24];

	memset(&header, 0, sizeof(header));
	memcpy(header.name, name, strlen(name));
	snprintf(text, sizeof(text), "%011zo", size);
	memcpy(header.size, text, sizeof(header.size));
	header.type = type;
	memcpy(header.magic, "ustar", 6);
	memcpy(header.version, "00", 2);
	seal(&header);
	return header;
}

static void add_member(struct archive *archive, const char *name, char type, const char *content)
{
	struct pv_tar_header header = header_of(name, type, strlen(content));
	static const uint8_t zeros[PV_TAR_BLOCK];
	size_t rest = strlen(content) % PV_TAR_BLOCK;

	add(archive, &header, sizeof(header));
	add(archive, content, strlen(content));
	if (rest > 0)
		add(archive, zeros, PV_TAR_BLOCK - rest);
}

static void add_end(struct archive *archive)
{
	static const uint8_t zeros[2 * PV_TAR_BLOCK];

	add(archive, zeros, sizeof(zeros));
}

static struct archive begin(void)
{
	struct archive archive = { .data = NULL };

	add_member(&archive, PV_BUNDLE_MARKER, '0', "1\nrun\n");
	return archive;
}

/* Compresses and writes it, behind it `tail`. */
static void store(const struct place *place, struct archive *archive, const char *tail)
{
	size_t room = ZSTD_compressBound(archive->len);
	uint8_t *bytes = pv_xmalloc(room);
	size_t len = ZSTD_compress(bytes, room, archive->data, archive->len, 1);
	FILE *file = fopen(place->bundle, "w");

	assert_false(ZSTD_isError(len));
	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, len, file), len);
	fputs(tail, file);
	fclose(file);
	free(bytes);
	free(archive->data);
}

static void expect(const struct place *place, enum pv_err err, const char *words)
{
	struct pv_errmsg msg = { .text = "" };
	enum pv_err got = pv_bundle_unpack(place->bundle, place->out, &msg);

	if (got != err || strstr(msg.text, words) == NULL)
		fail_msg("expected %s (%s), got %s: %s", words, pv_err_name(err), pv_err_name(got), msg.text);
}

#define HEX "abcdefabcdefabcdefabcdefabcdefabcdefabcdefabcdefabcdefabcdefabcd"

/* Each alone in a bundle that is otherwise good; nothing of it may come out, there or elsewhere. */
static void test_bundle__names(void **state)
{
	const struct place *place = *state;
	static const struct {
		const char *name;
		char type;
		const char *words;
	} cases[] = {
		{ "../evil", '0', "a name that bundles do not have" },
		{ "/tmp/provium-test-evil", '0', "a name that bundles do not have" },
		{ "blobs/ab/../../../evil", '0', "a name that bundles do not have" },
		{ "blobs/../ab" HEX, '0', "a name that bundles do not have" },
		{ "./journal.mdb", '0', "a name that bundles do not have" },
		{ "run.lock", '0', "a name that bundles do not have" },
		{ "blobs", '0', "a name that bundles do not have" },
		{ "blobs/cd/" HEX, '0', "a name that bundles do not have" },
		{ "blobs/ab/" HEX "a", '0', "a name that bundles do not have" },
		{ "blobs/ab/ABcdefabcdefabcdefabcdefabcdefabcdefabcdefabcdefabcdefabcdefabcd", '0',
		  "a name that bundles do not have" },
		{ PV_BUNDLE_MARKER, '0', "a name that bundles do not have" },
		{ "", '0', "a name that bundles do not have" },
		{ "journal.mdb", '1', "no file" }, /* hard link */
		{ "blobs", '2', "no file" },       /* symbolic link */
		{ "journal.mdb", '3', "no file" }, /* device */
		{ "blobs", '5', "no file" },       /* directory */
		{ "journal.mdb", '6', "no file" }, /* fifo */
		{ "journal.mdb", 'L', "no file" }, /* long names of GNU and pax */
		{ "journal.mdb", 'x', "no file" },
		{ "journal.mdb", '\0', "no file" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct archive archive = begin();

		add_member(&archive, cases[i].name, cases[i].type, "content");
		add_end(&archive);
		store(place, &archive, "");
		expect(place, PV_ERR_CORRUPT, cases[i].words);
		assert_int_equal(count_files(place->top), 1); /* the bundle itself */
	}
}

static void bend(const struct place *place, void (*how)(struct pv_tar_header *header), const char *words)
{
	struct archive archive = begin();
	struct pv_tar_header header = header_of(PV_BUNDLE_JOURNAL, '0', 5);

	how(&header);
	add(&archive, &header, sizeof(header));
	add(&archive, "hello", 5);
	add_end(&archive);
	store(place, &archive, "");
	expect(place, PV_ERR_CORRUPT, words);
	assert_int_equal(count_files(place->out), 0);
}

static void with_prefix(struct pv_tar_header *header)
{
	memcpy(header->prefix, "/etc", 4);
	seal(header);
}

static void with_link(struct pv_tar_header *header)
{
	memcpy(header->link, "/etc/passwd", 11);
	seal(header);
}

static void with_bad_checksum(struct pv_tar_header *header)
{
	header->checksum[0] ^= 1;
}

static void with_binary_size(struct pv_tar_header *header)
{
	memset(header->size, 0xff, sizeof(header->size));
	seal(header);
}

static void with_long_name(struct pv_tar_header *header)
{
	memset(header->name, 'a', sizeof(header->name));
	seal(header);
}

static void with_other_magic(struct pv_tar_header *header)
{
	memcpy(header->magic, "ustar ", 6); /* GNU's old one */
	seal(header);
}

static void test_bundle__headers(void **state)
{
	const struct place *place = *state;

	bend(place, with_prefix, "a name that bundles do not have");
	bend(place, with_link, "a name that bundles do not have");
	bend(place, with_bad_checksum, "checksum");
	bend(place, with_binary_size, "makes no sense");
	bend(place, with_long_name, "makes no sense");
	bend(place, with_other_magic, "no archive of this kind");
}

static void test_bundle__twice(void **state)
{
	const struct place *place = *state;
	struct archive archive = begin();

	add_member(&archive, PV_BUNDLE_JOURNAL, '0', "one");
	add_member(&archive, PV_BUNDLE_JOURNAL, '0', "two");
	add_end(&archive);
	store(place, &archive, "");
	expect(place, PV_ERR_CORRUPT, "twice");
}

static void test_bundle__no_journal(void **state)
{
	const struct place *place = *state;
	struct archive archive = begin();

	add_end(&archive);
	store(place, &archive, "");
	expect(place, PV_ERR_CORRUPT, "no journal");
}

static void test_bundle__something_follows(void **state)
{
	const struct place *place = *state;
	struct archive archive = begin();

	add_member(&archive, PV_BUNDLE_JOURNAL, '0', "one");
	add_end(&archive);
	add_end(&archive);
	store(place, &archive, "");
	expect(place, PV_ERR_CORRUPT, "follows");
	remove_all(place->out);
	assert_int_equal(mkdir(place->out, 0700), 0);
	archive = begin();
	add_member(&archive, PV_BUNDLE_JOURNAL, '0', "one");
	add_end(&archive);
	store(place, &archive, "x");
	expect(place, PV_ERR_CORRUPT, "follows");
}

/* A small file that would fill the disk. */
static void test_bundle__bomb(void **state)
{
	const struct place *place = *state;
	const size_t size = (size_t)100 << 20;
	struct pv_tar_header header = header_of(PV_BUNDLE_JOURNAL, '0', size);
	struct archive archive = begin();
	uint8_t *zeros = pv_xcalloc(1, size);

	add(&archive, &header, sizeof(header));
	add(&archive, zeros, size);
	add_end(&archive);
	store(place, &archive, "");
	free(zeros);
	expect(place, PV_ERR_CORRUPT, "more than a journal of that size can");
}

static void test_bundle__other_files(void **state)
{
	const struct place *place = *state;
	struct archive archive = { .data = NULL };
	struct pv_errmsg msg = { .text = "" };
	FILE *file;

	add_member(&archive, PV_BUNDLE_MARKER, '0', "2\nrun\n");
	add_end(&archive);
	store(place, &archive, "");
	expect(place, PV_ERR_VERSION, "format 2");
	archive = (struct archive){ .data = NULL };
	add_member(&archive, "README", '0', "an archive of something else");
	add_end(&archive);
	store(place, &archive, "");
	expect(place, PV_ERR_FOREIGN, "no bundle");
	file = fopen(place->bundle, "w");
	fputs("text", file);
	fclose(file);
	assert_false(pv_bundle_is(place->bundle));
	expect(place, PV_ERR_FOREIGN, "no bundle");
	assert_false(pv_bundle_is(place->out));
	assert_false(pv_bundle_is("/dev/zero"));
	assert_int_equal(pv_bundle_unpack("/nowhere", place->out, &msg), PV_ERR_FOREIGN);
}

/* A few bits of zstd's frame header can be turned without another content coming out. */
static bool is_the_run(const struct place *place, const struct pv_journal_verdict *expected)
{
	struct pv_journal_verdict verdict;
	struct pv_errmsg msg = { .text = "" };

	return pv_journal_verify_dir(place->out, &verdict, &msg) == PV_OK && verdict.records == expected->records &&
	       memcmp(verdict.head, expected->head, sizeof(verdict.head)) == 0 && count_files(place->out) >= 3;
}

/* A good bundle, cut off at every place, and with a bit of each byte turned: never taken for whole if it is not. */
static void test_bundle__damage(void **state)
{
	const struct place *place = *state;
	uint8_t first[PV_SHA256_BYTES], *bytes;
	struct pv_errmsg msg = { .text = "" };
	struct pv_journal_verdict expected;
	size_t len;

	make_run(place->run, first);
	assert_int_equal(pv_journal_verify_dir(place->run, &expected, &msg), PV_OK);
	write_bundle(place);
	len = read_file(place->bundle, &bytes);
	for (size_t i = 0; i < 2 * len; i++) {
		bool turned = i % 2 == 1;
		size_t at = i / 2;
		FILE *file = fopen(place->bundle, "w");

		assert_non_null(file);
		if (turned)
			bytes[at] ^= (uint8_t)(1u << at % 8);
		fwrite(bytes, 1, turned ? len : at, file);
		fclose(file);
		if (pv_bundle_unpack(place->bundle, place->out, &msg) == PV_OK &&
		    (!turned || !is_the_run(place, &expected)))
			fail_msg("%s byte %zu of %zu is not noticed", turned ? "a bit turned in" : "a cut before", at,
			         len);
		if (turned)
			bytes[at] ^= (uint8_t)(1u << at % 8);
		remove_all(place->out);
		assert_int_equal(mkdir(place->out, 0700), 0);
	}
	free(bytes);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_bundle__round_trip),
		CASE(test_bundle__same_bytes),
		CASE(test_bundle__redacted_blob),
		CASE(test_bundle__cannot_be_written),
		CASE(test_bundle__names),
		CASE(test_bundle__headers),
		CASE(test_bundle__twice),
		CASE(test_bundle__no_journal),
		CASE(test_bundle__something_follows),
		CASE(test_bundle__bomb),
		CASE(test_bundle__other_files),
		CASE(test_bundle__damage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
