#include "engine/run/fixture_inputs.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const words[] = {
#define X(symbol, word) [symbol] = word,
	PV_FIXTURE_INPUT_LIST(X)
#undef X
};

#define N_WORDS (sizeof(words) / sizeof(words[0]))

const char *pv_fixture_input_word(enum pv_fixture_input_kind kind)
{
	PV_ASSERT((size_t)kind < N_WORDS);
	return words[kind];
}

/* ---- the list ---- */

void pv_fixture_inputs_free(struct pv_fixture_inputs *inputs)
{
	for (size_t i = 0; i < inputs->n; i++) {
		free(inputs->items[i].name);
		free(inputs->items[i].value);
	}
	free(inputs->items);
	*inputs = (struct pv_fixture_inputs){ NULL, 0 };
}

const struct pv_fixture_input *pv_fixture_inputs_find(const struct pv_fixture_inputs *inputs,
                                                      enum pv_fixture_input_kind kind, const char *name)
{
	for (size_t i = 0; i < inputs->n; i++) {
		if (inputs->items[i].kind == kind && strcmp(inputs->items[i].name, name) == 0)
			return &inputs->items[i];
	}
	return NULL;
}

bool pv_fixture_inputs_add(struct pv_fixture_inputs *inputs, enum pv_fixture_input_kind kind, const char *name,
                           const char *value)
{
	if (pv_fixture_inputs_find(inputs, kind, name))
		return false;
	inputs->items = pv_xrealloc(inputs->items, (inputs->n + 1) * sizeof(*inputs->items));
	inputs->items[inputs->n++] = (struct pv_fixture_input){ kind, pv_xstrdup(name), pv_xstrdup(value) };
	return true;
}

void pv_fixture_inputs_copy(struct pv_fixture_inputs *to, const struct pv_fixture_inputs *from)
{
	for (size_t i = 0; i < from->n; i++)
		pv_fixture_inputs_add(to, from->items[i].kind, from->items[i].name, from->items[i].value);
}

static int compare(const void *a, const void *b)
{
	const struct pv_fixture_input *x = a, *y = b;

	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	return strcmp(x->name, y->name);
}

void pv_fixture_inputs_sort(struct pv_fixture_inputs *inputs)
{
	if (inputs->n > 1)
		qsort(inputs->items, inputs->n, sizeof(*inputs->items), compare);
}

/* ---- the key ---- */

/* With its end, so that no two lists give the same bytes. */
static void hash_text(EVP_MD_CTX *sha, const char *text)
{
	PV_ASSERT(EVP_DigestUpdate(sha, text, strlen(text) + 1) == 1);
}

void pv_fixture_inputs_key(const struct pv_fixture_inputs *inputs, const struct pv_fixture_inputs *extra,
                           char key[PV_FIXTURE_KEY_CHARS + 1])
{
	struct pv_fixture_inputs all = { NULL, 0 };
	EVP_MD_CTX *sha = EVP_MD_CTX_new();
	uint8_t digest[32];

	PV_ASSERT(sha && EVP_DigestInit_ex(sha, EVP_sha256(), NULL) == 1);
	pv_fixture_inputs_copy(&all, inputs);
	if (extra)
		pv_fixture_inputs_copy(&all, extra);
	pv_fixture_inputs_sort(&all);
	hash_text(sha, "provium fixture 1");
	for (size_t i = 0; i < all.n; i++) {
		hash_text(sha, words[all.items[i].kind]);
		hash_text(sha, all.items[i].name);
		hash_text(sha, all.items[i].value);
	}
	PV_ASSERT(EVP_DigestFinal_ex(sha, digest, NULL) == 1);
	EVP_MD_CTX_free(sha);
	pv_fixture_inputs_free(&all);
	for (size_t i = 0; i < sizeof(digest); i++)
		snprintf(key + 2 * i, 3, "%02x", digest[i]);
}

/* ---- differences ---- */

static bool begins_with_hash(const char *value)
{
	size_t n = strspn(value, "0123456789abcdef");

	return n == PV_FIXTURE_KEY_CHARS && (value[n] == '\0' || value[n] == ' ');
}

static void tell_change(const struct pv_fixture_input *before, const struct pv_fixture_input *now, struct pv_buf *out)
{
	bool was_hash = begins_with_hash(before->value), is_hash = begins_with_hash(now->value);

	pv_buf_addf(out, "%s %s: ", words[now->kind], now->name);
	if (was_hash && is_hash && strncmp(before->value, now->value, PV_FIXTURE_KEY_CHARS) == 0)
		pv_buf_addstr(out, "changed in time, not in content\n");
	else if (was_hash && is_hash)
		pv_buf_addstr(out, "changed\n");
	else if (was_hash && strcmp(now->value, PV_FIXTURE_ABSENT) == 0)
		pv_buf_addstr(out, "gone\n");
	else if (is_hash && strcmp(before->value, PV_FIXTURE_ABSENT) == 0)
		pv_buf_addstr(out, "there now\n");
	else
		pv_buf_addf(out, "changed from \"%s\" to \"%s\"\n", was_hash ? "(a file)" : before->value,
		            is_hash ? "(a file)" : now->value);
}

size_t pv_fixture_inputs_diff(const struct pv_fixture_inputs *before, const struct pv_fixture_inputs *now,
                              struct pv_buf *out)
{
	size_t n = 0;

	for (size_t i = 0; i < now->n; i++) {
		const struct pv_fixture_input *item = &now->items[i];
		const struct pv_fixture_input *was = pv_fixture_inputs_find(before, item->kind, item->name);

		if (was && strcmp(was->value, item->value) == 0)
			continue;
		if (was)
			tell_change(was, item, out);
		else
			pv_buf_addf(out, "%s %s: new\n", words[item->kind], item->name);
		n++;
	}
	for (size_t i = 0; i < before->n; i++) {
		const struct pv_fixture_input *item = &before->items[i];

		if (pv_fixture_inputs_find(now, item->kind, item->name))
			continue;
		pv_buf_addf(out, "%s %s: no longer an input\n", words[item->kind], item->name);
		n++;
	}
	return n;
}
