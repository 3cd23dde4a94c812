#include "engine/run/filters.h"

#include <string.h>

enum pv_err pv_filters_check(const struct pv_test_filters *filters, struct pv_errmsg *msg)
{
	for (size_t i = 0; i < filters->n_tag_metas + filters->n_no_tag_metas; i++) {
		bool keep = i < filters->n_tag_metas;
		const char *pair = keep ? filters->tag_metas[i] : filters->no_tag_metas[i - filters->n_tag_metas];
		const char *equals = strchr(pair, '=');
		if (!equals || equals == pair)
			return pv_err_set(msg, PV_ERR_INVAL, "%s %s: must be KEY=VALUE",
			                  keep ? "--tag-meta" : "--no-tag-meta", pair);
	}
	return PV_OK;
}

/* meta[key of `len` bytes], NULL if it is not there. */
static const Pv__Value *member(const Pv__Value *meta, const char *key, size_t len)
{
	if (!meta || meta->kind_case != PV__VALUE__KIND_MAP)
		return NULL;
	for (size_t i = 0; i < meta->map->n_entries; i++) {
		const Pv__ValueEntry *entry = meta->map->entries[i];
		if (entry->key && strlen(entry->key) == len && memcmp(entry->key, key, len) == 0)
			return entry->value;
	}
	return NULL;
}

static bool is_text(const Pv__Value *value, const char *text)
{
	size_t len = strlen(text);

	if (value->kind_case == PV__VALUE__KIND_TEXT)
		return strcmp(value->text, text) == 0;
	return value->kind_case == PV__VALUE__KIND_BYTES && value->bytes.len == len &&
	       memcmp(value->bytes.data, text, len) == 0;
}

/* `value` is that string, or an array that holds it. */
static bool holds(const Pv__Value *value, const char *text)
{
	if (!value)
		return false;
	if (value->kind_case != PV__VALUE__KIND_LIST)
		return is_text(value, text);
	for (size_t i = 0; i < value->list->n_items; i++) {
		if (is_text(value->list->items[i], text))
			return true;
	}
	return false;
}

static bool has_tag(const Pv__Value *meta, const char *tag)
{
	return holds(member(meta, "tags", strlen("tags")), tag);
}

static size_t key_len(const char *pair)
{
	return strcspn(pair, "=");
}

static bool matches(const Pv__Value *meta, const char *pair)
{
	size_t len = key_len(pair);

	return holds(member(meta, pair, len), pair + len + 1);
}

static bool is_slow(const Pv__Value *meta)
{
	const Pv__Value *slow = member(meta, "slow", strlen("slow"));

	if (!slow)
		return false;
	return (slow->kind_case == PV__VALUE__KIND_BOOLEAN && slow->boolean) ||
	       (slow->kind_case == PV__VALUE__KIND_INTEGER && slow->integer != 0);
}

static bool same_key(const char *a, const char *b)
{
	size_t len = key_len(a);

	return len == key_len(b) && memcmp(a, b, len) == 0;
}

/* The values of one KEY are alternatives: true if one of them matches. */
static bool key_satisfied(const struct pv_test_filters *filters, const Pv__Value *meta, const char *pair)
{
	for (size_t i = 0; i < filters->n_tag_metas; i++) {
		if (same_key(filters->tag_metas[i], pair) && matches(meta, filters->tag_metas[i]))
			return true;
	}
	return false;
}

static bool skip_by_tag(const struct pv_test_filters *filters, const Pv__Value *meta, struct pv_buf *reason)
{
	bool wanted = filters->n_tags == 0;

	for (size_t i = 0; i < filters->n_no_tags; i++) {
		if (has_tag(meta, filters->no_tags[i])) {
			pv_buf_addf(reason, "filtered: matched --no-tag %s", filters->no_tags[i]);
			return true;
		}
	}
	for (size_t i = 0; i < filters->n_tags; i++)
		wanted |= has_tag(meta, filters->tags[i]);
	if (wanted)
		return false;
	pv_buf_addstr(reason, "filtered: did not match");
	for (size_t i = 0; i < filters->n_tags; i++)
		pv_buf_addf(reason, " --tag %s", filters->tags[i]);
	return true;
}

static bool skip_by_tag_meta(const struct pv_test_filters *filters, const Pv__Value *meta, struct pv_buf *reason)
{
	for (size_t i = 0; i < filters->n_no_tag_metas; i++) {
		if (matches(meta, filters->no_tag_metas[i])) {
			pv_buf_addf(reason, "filtered: matched --no-tag-meta %s", filters->no_tag_metas[i]);
			return true;
		}
	}
	for (size_t i = 0; i < filters->n_tag_metas; i++) {
		if (!key_satisfied(filters, meta, filters->tag_metas[i])) {
			pv_buf_addf(reason, "filtered: did not match --tag-meta %s", filters->tag_metas[i]);
			return true;
		}
	}
	return false;
}

bool pv_filters_skip(const struct pv_test_filters *filters, const Pv__Value *meta, struct pv_buf *reason)
{
	if (!filters->include_slow && is_slow(meta)) {
		pv_buf_addstr(reason, "filtered: slow tests skipped (pass --include-slow)");
		return true;
	}
	return skip_by_tag(filters, meta, reason) || skip_by_tag_meta(filters, meta, reason);
}
