/* Lists of inputs: keys, differences, manifests; and names of fixtures as text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/run/fixture_inputs.h"
#include "engine/run/fixture_name.h"

#define HASH_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define HASH_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static const struct pv_fixture_input some[] = {
	{ PV_FIXTURE_SOURCE, (char *)"base", (char *)HASH_A },
	{ PV_FIXTURE_FILE, (char *)"../x", (char *)HASH_B " size=3 mtime=1.000000002" },
	{ PV_FIXTURE_FILE, (char *)"../y", (char *)PV_FIXTURE_ABSENT },
	{ PV_FIXTURE_MEMORY, (char *)"default", (char *)"268435456" },
	{ PV_FIXTURE_CMDLINE, (char *)"default", (char *)"console=ttyS0 \"quoted\" \xff" },
};

#define N_SOME (sizeof(some) / sizeof(some[0]))

static void add_some(struct pv_fixture_inputs *inputs, bool backwards)
{
	for (size_t i = 0; i < N_SOME; i++) {
		const struct pv_fixture_input *one = &some[backwards ? N_SOME - 1 - i : i];

		assert_true(pv_fixture_inputs_add(inputs, one->kind, one->name, one->value));
	}
}

static void key_of(const struct pv_fixture_inputs *inputs, char key[PV_FIXTURE_KEY_CHARS + 1])
{
	pv_fixture_inputs_key(inputs, NULL, key);
	assert_int_equal(strlen(key), PV_FIXTURE_KEY_CHARS);
	assert_int_equal(strspn(key, "0123456789abcdef"), PV_FIXTURE_KEY_CHARS);
}

static void test_key__is_of_the_set(void **state)
{
	struct pv_fixture_inputs inputs = { NULL, 0 }, backwards = { NULL, 0 }, first = { NULL, 0 }, rest = { NULL, 0 };
	char a[65], b[65];

	(void)state;
	add_some(&inputs, false);
	add_some(&backwards, true);
	key_of(&inputs, a);
	key_of(&backwards, b);
	assert_string_equal(a, b);
	pv_fixture_inputs_sort(&backwards);
	key_of(&backwards, b);
	assert_string_equal(a, b);
	/* in two parts, wherever they are cut */
	for (size_t cut = 0; cut <= N_SOME; cut++) {
		for (size_t i = 0; i < N_SOME; i++)
			pv_fixture_inputs_add(i < cut ? &rest : &first, some[i].kind, some[i].name, some[i].value);
		pv_fixture_inputs_key(&first, &rest, b);
		assert_string_equal(a, b);
		pv_fixture_inputs_free(&first);
		pv_fixture_inputs_free(&rest);
	}
	/* the same again adds nothing, another value of it neither */
	assert_false(pv_fixture_inputs_add(&inputs, PV_FIXTURE_FILE, "../y", HASH_A));
	key_of(&inputs, b);
	assert_string_equal(a, b);
	pv_fixture_inputs_free(&inputs);
	pv_fixture_inputs_free(&backwards);
}

/* The key of a known list: changing it drops every cache there is. */
static void test_key__stays_what_it_was(void **state)
{
	struct pv_fixture_inputs inputs = { NULL, 0 };
	char key[65];

	(void)state;
	add_some(&inputs, false);
	key_of(&inputs, key);
	assert_string_equal(key, "75259acffea51795bd73e95cd65d251fbe2d153d41d7291f2d3f520d5d35e845");
	pv_fixture_inputs_free(&inputs);
}

static void test_key__sees_every_part(void **state)
{
	char keys[3 * N_SOME + 2][65];
	size_t n = 0;

	(void)state;
	for (size_t i = 0; i < N_SOME; i++) {
		for (int part = 0; part < 3; part++) {
			struct pv_fixture_inputs inputs = { NULL, 0 };

			for (size_t j = 0; j < N_SOME; j++) {
				struct pv_fixture_input one = some[j];

				if (j == i && part == 0)
					one.kind = PV_FIXTURE_HELPER;
				if (j == i && part == 1)
					one.name = (char *)"other";
				if (j == i && part == 2)
					one.value = (char *)"other";
				pv_fixture_inputs_add(&inputs, one.kind, one.name, one.value);
			}
			key_of(&inputs, keys[n++]);
			pv_fixture_inputs_free(&inputs);
		}
	}
	/* what moves over the border between name and value */
	struct pv_fixture_inputs one = { NULL, 0 }, other = { NULL, 0 };
	pv_fixture_inputs_add(&one, PV_FIXTURE_FILE, "ab", "c");
	pv_fixture_inputs_add(&other, PV_FIXTURE_FILE, "a", "bc");
	key_of(&one, keys[n++]);
	key_of(&other, keys[n++]);
	pv_fixture_inputs_free(&one);
	pv_fixture_inputs_free(&other);
	for (size_t i = 0; i < n; i++) {
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(keys[i], keys[j]);
	}
}

static void test_diff__says_what_changed(void **state)
{
	struct pv_fixture_inputs before = { NULL, 0 }, now = { NULL, 0 };
	struct pv_buf out = { .data = NULL };

	(void)state;
	pv_fixture_inputs_add(&before, PV_FIXTURE_SOURCE, "base", HASH_A);
	pv_fixture_inputs_add(&before, PV_FIXTURE_HELPER, "same", HASH_A);
	pv_fixture_inputs_add(&before, PV_FIXTURE_HELPER, "old", HASH_A);
	pv_fixture_inputs_add(&before, PV_FIXTURE_FILE, "touched", HASH_A " size=1 mtime=1.000000000");
	pv_fixture_inputs_add(&before, PV_FIXTURE_FILE, "came", PV_FIXTURE_ABSENT);
	pv_fixture_inputs_add(&before, PV_FIXTURE_FILE, "went", HASH_A);
	pv_fixture_inputs_add(&before, PV_FIXTURE_MEMORY, "default", "1");
	pv_fixture_inputs_add(&now, PV_FIXTURE_SOURCE, "base", HASH_B);
	pv_fixture_inputs_add(&now, PV_FIXTURE_HELPER, "same", HASH_A);
	pv_fixture_inputs_add(&now, PV_FIXTURE_HELPER, "new", HASH_A);
	pv_fixture_inputs_add(&now, PV_FIXTURE_FILE, "touched", HASH_A " size=1 mtime=2.000000000");
	pv_fixture_inputs_add(&now, PV_FIXTURE_FILE, "came", HASH_A);
	pv_fixture_inputs_add(&now, PV_FIXTURE_FILE, "went", PV_FIXTURE_ABSENT);
	pv_fixture_inputs_add(&now, PV_FIXTURE_MEMORY, "default", "2");
	assert_int_equal(pv_fixture_inputs_diff(&before, &now, &out), 7);
	assert_string_equal(pv_buf_str(&out), "source base: changed\n"
	                                      "helper new: new\n"
	                                      "file touched: changed in time, not in content\n"
	                                      "file came: there now\n"
	                                      "file went: gone\n"
	                                      "memory default: changed from \"1\" to \"2\"\n"
	                                      "helper old: no longer an input\n");
	pv_buf_clear(&out);
	assert_int_equal(pv_fixture_inputs_diff(&now, &now, &out), 0);
	assert_int_equal(out.len, 0);
	pv_buf_free(&out);
	pv_fixture_inputs_free(&before);
	pv_fixture_inputs_free(&now);
}

/* ---- manifests ---- */

static struct pv_fixture_manifest a_manifest(void)
{
	struct pv_fixture_manifest manifest = { .fixture = strdup("dir/base"),
		                                .kind = strdup("lab"),
		                                .root = strdup("/r"),
		                                .built_ns = 1234567890123456789 };

	add_some(&manifest.inputs, false);
	pv_fixture_inputs_add(&manifest.extra, PV_FIXTURE_FILE, "comp\nuted\x01", HASH_A);
	pv_fixture_inputs_key(&manifest.inputs, NULL, manifest.scan_key);
	pv_fixture_inputs_key(&manifest.inputs, &manifest.extra, manifest.key);
	return manifest;
}

static void assert_same_list(const struct pv_fixture_inputs *a, const struct pv_fixture_inputs *b)
{
	assert_int_equal(a->n, b->n);
	for (size_t i = 0; i < a->n; i++) {
		assert_int_equal(a->items[i].kind, b->items[i].kind);
		assert_string_equal(a->items[i].name, b->items[i].name);
		assert_string_equal(a->items[i].value, b->items[i].value);
	}
}

static void test_manifest__comes_back(void **state)
{
	struct pv_fixture_manifest manifest = a_manifest(), back;
	char *text = pv_fixture_manifest_write(&manifest);

	(void)state;
	assert_int_equal(pv_fixture_manifest_read(text, strlen(text), &back, NULL), PV_OK);
	assert_string_equal(back.fixture, "dir/base");
	assert_string_equal(back.kind, "lab");
	assert_string_equal(back.root, "/r");
	assert_string_equal(back.scan_key, manifest.scan_key);
	assert_string_equal(back.key, manifest.key);
	assert_true(back.built_ns == manifest.built_ns);
	assert_same_list(&back.inputs, &manifest.inputs);
	assert_same_list(&back.extra, &manifest.extra);
	pv_fixture_manifest_free(&back);
	pv_fixture_manifest_free(&manifest);
	free(text);
}

/* Cut anywhere it is refused; with any byte of another value it is refused, or says the same inputs. */
static void test_manifest__damage_is_seen(void **state)
{
	struct pv_fixture_manifest manifest = a_manifest(), back;
	char *text = pv_fixture_manifest_write(&manifest);
	size_t len = strlen(text), refused = 0;

	(void)state;
	for (size_t cut = 0; cut + 1 < len; cut++) { /* the last byte is a line end */
		char *part = pv_xmemdup(text, cut);

		assert_int_equal(pv_fixture_manifest_read(part, cut, &back, NULL), PV_ERR_CORRUPT);
		free(part);
	}
	for (size_t at = 0; at < len; at++) {
		for (int bit = 0; bit < 8; bit++) {
			char *copy = pv_xmemdup(text, len);
			enum pv_err err;

			copy[at] = (char)(copy[at] ^ 1 << bit);
			err = pv_fixture_manifest_read(copy, len, &back, NULL);
			if (err) {
				assert_true(err == PV_ERR_CORRUPT || err == PV_ERR_VERSION);
				refused++;
			} else {
				assert_string_equal(back.key, manifest.key);
				assert_same_list(&back.inputs, &manifest.inputs);
				assert_same_list(&back.extra, &manifest.extra);
				pv_fixture_manifest_free(&back);
			}
			free(copy);
		}
	}
	assert_true(refused > 4 * len);
	pv_fixture_manifest_free(&manifest);
	free(text);
}

static void test_manifest__other_texts_are_refused(void **state)
{
	static const struct {
		const char *text;
		enum pv_err err;
	} rows[] = {
		{ "", PV_ERR_CORRUPT },
		{ "null", PV_ERR_CORRUPT },
		{ "[]", PV_ERR_CORRUPT },
		{ "{}", PV_ERR_CORRUPT },
		{ "{\"version\": \"1\"}", PV_ERR_CORRUPT },
		{ "{\"version\": 2}", PV_ERR_VERSION },
		{ "{\"version\": 1}", PV_ERR_CORRUPT },
		{ "[[[[[[[[[[[[[[[[", PV_ERR_CORRUPT },
	};
	struct pv_fixture_manifest out;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(pv_fixture_manifest_read(rows[i].text, strlen(rows[i].text), &out, NULL), rows[i].err);
}

/* ---- paths ---- */

static void test_paths__as_text(void **state)
{
	static const struct {
		const char *path, *normal;
	} normal[] = {
		{ "/a/b", "/a/b" },
		{ "/a//b/", "/a/b" },
		{ "/a/./b/../c", "/a/c" },
		{ "/../a", "/a" },
		{ "/", "/" },
		{ "/..", "/" },
		{ "a/../../b", "../b" },
		{ "../../a", "../../a" },
		{ ".", "." },
		{ "", "." },
		{ "a/..", "." },
		{ "./a", "a" },
		{ "/a/..b/...", "/a/..b/..." },
	};
	static const struct {
		const char *path, *dir, *relative;
	} relative[] = {
		{ "/r/a", "/r", "a" },
		{ "/r/s/a", "/r/s/", "a" },
		{ "/a", "/r", "../a" },
		{ "/r2/a", "/r", "../r2/a" },
		{ "/r/x/../../b", "/r/s", "../../b" },
		{ "/r", "/r", "." },
		{ "/", "/r/s", "../.." },
		{ "/a/b", "/", "a/b" },
		{ "/r", "/r/s", ".." },
		{ "/rs/a", "/r/s", "../../rs/a" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(normal) / sizeof(normal[0]); i++) {
		char *got = pv_path_normal(normal[i].path);

		assert_string_equal(got, normal[i].normal);
		free(got);
	}
	for (size_t i = 0; i < sizeof(relative) / sizeof(relative[0]); i++) {
		char *got = pv_path_relative(relative[i].path, relative[i].dir);

		assert_string_equal(got, relative[i].relative);
		free(got);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_key__is_of_the_set),
		cmocka_unit_test(test_key__stays_what_it_was),
		cmocka_unit_test(test_key__sees_every_part),
		cmocka_unit_test(test_diff__says_what_changed),
		cmocka_unit_test(test_manifest__comes_back),
		cmocka_unit_test(test_manifest__damage_is_seen),
		cmocka_unit_test(test_manifest__other_texts_are_refused),
		cmocka_unit_test(test_paths__as_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
