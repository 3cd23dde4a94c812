/* The pages of journal.mdb, followed without LMDB and without trust.
 *
 * LMDB (0.9, 64-bit) keeps no checksums. It believes its two meta pages, the numbers of pages in the trees, and what a page says of
 * itself; rot there can crash it, or lead it to pages of an older state that look well. What is checked: that the meta pages are
 * of two commits that follow each other; that each page of each tree is what it says, in order and inside the bounds that
 * its parent gives; that the numbers in the tables' heads are right; and that every page of the file is either in one tree or in
 * the list of free pages. A page of an older state is free, so a tree that leads there is found; and a meta page of an older state
 * that claims to be newer has not the list of pages that its commit freed.
 *
 * Of a page:        0 u64 number (of the first, if several are one: then 12 u32 how many)
 *                  10 u16 flags; 12 u16 end of the list of places; 14 u16 start of the nodes; 16 u16... places of the nodes
 * Of a node:        0 u32 size of the data, or low part of a page number; 4 u16 flags, or its high part; 6 u16 size of the key; 8 key, data
 * Of a table:       0 u32 0; 4 u16 flags; 6 u16 depth; 8, 16, 24 u64 pages: inner, leaf, overflow; 32 u64 entries; 40 u64 root
 * Of a meta page:  16 u32 magic; 20 u32 version; 24 u64 address; 32 u64 map size; 40 table of free pages (its first field: page size);
 *                  88 table of tables; 136 u64 last page; 144 u64 number of the commit
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "journal/journal_internal.h"

#define PAGE_HEAD  16
#define NODE_HEAD  8
#define TABLE_SIZE 48
#define META_SIZE  136 /* behind the head of the page */
#define META_FREE  40
#define META_MAIN  88
#define META_LAST  136
#define META_TXNID 144

#define P_BRANCH   0x01
#define P_LEAF     0x02
#define P_OVERFLOW 0x04
#define P_META     0x08

#define N_BIGDATA 0x01
#define N_SUBDATA 0x02

#define INTEGER_KEYS 0x08   /* flags of the table of free pages */
#define NO_SUBDIR    0x4000 /* LMDB keeps some flags of the environment there */
#define NO_PAGE      UINT64_MAX
#define DEPTH_MAX    32 /* of LMDB */
#define KEY_MAX      511
#define NAME_MAX_LEN 48

struct key {
	const uint8_t *at;
	size_t len;
};

struct table { /* counted along */
	uint16_t flags;
	uint16_t depth;
	uint64_t inner, leaves, overflow, entries;
	uint64_t root;
};

struct file {
	const char *dir;
	int fd;
	uint64_t n_pages; /* as the newest meta page has it */
	size_t page_size;
	uint8_t *used; /* a bit for each page that was seen */
	uint8_t *list; /* of free pages, while one is read */
	size_t list_size;
	uint64_t txnid;      /* of the newest meta page */
	uint64_t last_freed; /* number of the last commit in the list of free pages */
	struct pv_errmsg *msg;
	char table[NAME_MAX_LEN + 16]; /* being followed, for messages */
};

static uint16_t get_le16(const uint8_t *at)
{
	return (uint16_t)(at[0] | at[1] << 8);
}

static enum pv_err bad(const struct file *file, uint64_t page, const char *fault)
{
	return pv_err_set(file->msg, PV_ERR_CORRUPT,
	                  "page %llu of the journal of %s, in %s, is damaged: %s; restore the journal from a copy",
	                  (unsigned long long)page, file->dir, file->table, fault);
}

static enum pv_err bad_head(const struct file *file, const char *fault)
{
	return pv_err_set(file->msg, PV_ERR_CORRUPT,
	                  "a meta page of the journal of %s is damaged: %s; restore the journal from a copy", file->dir,
	                  fault);
}

static enum pv_err read_at(const struct file *file, uint64_t page, void *out, size_t len, size_t skip)
{
	const off_t at = (off_t)(page * file->page_size + skip);
	ssize_t got = pread(file->fd, out, len, at);

	if (got < 0)
		return pv_file_fail(file->msg, errno, "cannot read the journal of %s", file->dir);
	return (size_t)got == len ? PV_OK : bad(file, page, "the file ends before it");
}

/* Each page is met once. */
static enum pv_err mark(const struct file *file, uint64_t page, uint64_t count)
{
	if (page < 2 || page >= file->n_pages || count > file->n_pages - page)
		return bad(file, page, "there is no such page");
	for (uint64_t i = page; i < page + count; i++) {
		if (file->used[i / 8] >> (i % 8) & 1)
			return bad(file, i, "it is used in two places");
		file->used[i / 8] |= (uint8_t)(1u << (i % 8));
	}
	return PV_OK;
}

/* ---- nodes ---- */

struct node {
	struct key key;
	uint16_t flags;
	uint32_t size;       /* of the data, in a leaf */
	uint64_t child;      /* in an inner page */
	const uint8_t *data; /* of a leaf: `size` bytes, or 8 with N_BIGDATA */
};

/* Node `i` of a page whose head is sound; NULL or what is wrong. */
static const char *get_node(const struct file *file, const uint8_t *page, size_t i, bool is_leaf, struct node *out)
{
	const size_t place = get_le16(page + PAGE_HEAD + 2 * i);
	size_t end;

	if (place % 2 != 0 || place < get_le16(page + 14) || place + NODE_HEAD > file->page_size)
		return "a node lies outside of it";
	out->size = pv_get_le32(page + place);
	out->flags = get_le16(page + place + 4);
	out->child = out->size | (uint64_t)out->flags << 32;
	out->key = (struct key){ page + place + NODE_HEAD, get_le16(page + place + 6) };
	out->data = out->key.at + out->key.len;
	end = place + NODE_HEAD + out->key.len;
	if (is_leaf)
		end += out->flags & N_BIGDATA ? 8 : out->size;
	if (out->key.len > KEY_MAX || end > file->page_size)
		return "a node ends outside of it";
	if (is_leaf && (out->flags & ~(N_BIGDATA | N_SUBDATA)) != 0)
		return "a node has flags that do not exist";
	return NULL;
}

static int compare_keys(const struct table *table, const struct key *a, const struct key *b)
{
	const size_t shorter = a->len < b->len ? a->len : b->len;
	int order;

	if (table->flags & INTEGER_KEYS) {
		uint64_t x = a->len == 8 ? pv_get_le64(a->at) : 0, y = b->len == 8 ? pv_get_le64(b->at) : 0;

		return (x > y) - (x < y);
	}
	order = memcmp(a->at, b->at, shorter);
	return order != 0 ? order : (a->len > b->len) - (a->len < b->len);
}

/* ---- trees ---- */

/* What a leaf's node is for: an entry of a table, a table, a list of free pages. */
typedef enum pv_err leaf_fn(struct file *file, uint64_t page, const struct node *node);

struct tree {
	struct file *file;
	const struct table *head; /* what is claimed */
	struct table seen;
	leaf_fn *leaf;
};

static enum pv_err follow(struct tree *tree, uint64_t number, unsigned level, const struct key *low,
                          const struct key *high);

static enum pv_err check_overflow(struct tree *tree, uint64_t page, const struct node *node)
{
	struct file *file = tree->file;
	const uint64_t first = pv_get_le64(node->data);
	const uint64_t count = (PAGE_HEAD - 1 + (uint64_t)node->size) / file->page_size + 1;
	uint8_t head[PAGE_HEAD];
	enum pv_err err = mark(file, first, count);

	(void)page;
	if (err == PV_OK)
		err = read_at(file, first, head, sizeof(head), 0);
	if (err != PV_OK)
		return err;
	if (pv_get_le64(head) != first || get_le16(head + 10) != P_OVERFLOW || pv_get_le32(head + 12) != count)
		return bad(file, first, "it is not the page of a large record");
	tree->seen.overflow += count;
	return PV_OK;
}

static enum pv_err follow_leaf(struct tree *tree, uint64_t number, const struct node *node)
{
	enum pv_err err = PV_OK;

	tree->seen.entries++;
	if (node->flags & N_BIGDATA)
		err = check_overflow(tree, number, node);
	if (err == PV_OK && tree->leaf != NULL)
		return tree->leaf(tree->file, number, node);
	if (err == PV_OK && (node->flags & N_SUBDATA))
		return bad(tree->file, number, "a row of it claims to be a table");
	return err;
}

/* The nodes of a page: keys that rise, from `low` on (NULL: from the first) and below `high` (NULL: to the last). The first key of an
 * inner page is empty and means `low`. */
static enum pv_err follow_nodes(struct tree *tree, uint64_t number, unsigned level, const uint8_t *page, size_t n,
                                const struct key *low, const struct key *high)
{
	const bool is_leaf = level == tree->head->depth;
	struct node node, next;
	const char *fault = get_node(tree->file, page, 0, is_leaf, &node);
	enum pv_err err;

	for (size_t i = 0; i < n; i++, node = next) {
		const bool is_first_inner = !is_leaf && i == 0;

		if (fault == NULL && i + 1 < n)
			fault = get_node(tree->file, page, i + 1, is_leaf, &next);
		if (fault == NULL && is_first_inner && node.key.len != 0)
			fault = "its first key is not empty";
		if (fault == NULL && !is_first_inner && low != NULL && compare_keys(tree->head, &node.key, low) < 0)
			fault = "a key is smaller than its place allows";
		if (fault == NULL && !is_first_inner && high != NULL && compare_keys(tree->head, &node.key, high) >= 0)
			fault = "a key is larger than its place allows";
		if (fault == NULL && !is_first_inner && i + 1 < n &&
		    compare_keys(tree->head, &node.key, &next.key) >= 0)
			fault = "its keys do not rise";
		if (fault != NULL)
			return bad(tree->file, number, fault);
		if (is_leaf)
			err = follow_leaf(tree, number, &node);
		else
			err = follow(tree, node.child, level + 1, is_first_inner ? low : &node.key,
			             i + 1 < n ? &next.key : high);
		if (err != PV_OK)
			return err;
	}
	return PV_OK;
}

static enum pv_err follow_page(struct tree *tree, uint64_t number, unsigned level, const uint8_t *page,
                               const struct key *low, const struct key *high)
{
	const bool is_leaf = level == tree->head->depth;
	const size_t lower = get_le16(page + 12), upper = get_le16(page + 14);

	if (pv_get_le64(page) != number || get_le16(page + 10) != (is_leaf ? P_LEAF : P_BRANCH))
		return bad(tree->file, number, "it is another page");
	if (lower < PAGE_HEAD || lower % 2 != 0 || upper < lower || upper > tree->file->page_size)
		return bad(tree->file, number, "its head is not possible");
	if (lower - PAGE_HEAD < (is_leaf ? 2 : 4)) /* one node in a leaf, two in an inner page */
		return bad(tree->file, number, "it holds too little");
	*(is_leaf ? &tree->seen.leaves : &tree->seen.inner) += 1;
	return follow_nodes(tree, number, level, page, (lower - PAGE_HEAD) / 2, low, high);
}

static enum pv_err follow(struct tree *tree, uint64_t number, unsigned level, const struct key *low,
                          const struct key *high)
{
	struct file *file = tree->file;
	enum pv_err err = mark(file, number, 1);
	uint8_t *page;

	if (err != PV_OK)
		return err;
	page = malloc(file->page_size);
	if (page == NULL)
		return pv_out_of_memory(file->msg, "cannot look at the journal");
	err = read_at(file, number, page, file->page_size, 0);
	if (err == PV_OK)
		err = follow_page(tree, number, level, page, low, high);
	free(page);
	return err;
}

static struct table get_table(const uint8_t *at)
{
	return (struct table){
		.flags = get_le16(at + 4),
		.depth = get_le16(at + 6),
		.inner = pv_get_le64(at + 8),
		.leaves = pv_get_le64(at + 16),
		.overflow = pv_get_le64(at + 24),
		.entries = pv_get_le64(at + 32),
		.root = pv_get_le64(at + 40),
	};
}

static enum pv_err follow_table(struct file *file, const struct table *head, leaf_fn *leaf)
{
	struct tree tree = { .file = file, .head = head, .leaf = leaf };
	enum pv_err err;

	if (head->root == NO_PAGE)
		return head->depth == 0 && head->entries == 0 && head->inner + head->leaves + head->overflow == 0
		           ? PV_OK
		           : bad_head(file, "a table without pages has entries");
	if (head->depth == 0 || head->depth > DEPTH_MAX)
		return bad(file, head->root, "its table has an impossible depth");
	err = follow(&tree, head->root, 1, NULL, NULL);
	if (err != PV_OK)
		return err;
	if (tree.seen.inner != head->inner || tree.seen.leaves != head->leaves ||
	    tree.seen.overflow != head->overflow || tree.seen.entries != head->entries)
		return bad(file, head->root, "its table is said to have another size");
	return PV_OK;
}

/* ---- what the trees hold ---- */

static enum pv_err leaf_of_tables(struct file *file, uint64_t page, const struct node *node)
{
	char before[sizeof(file->table)];
	struct table head;
	enum pv_err err;

	if (node->flags != N_SUBDATA || node->size != TABLE_SIZE || node->key.len > NAME_MAX_LEN)
		return bad(file, page, "an entry is no table");
	head = get_table(node->data);
	if (pv_get_le32(node->data) != 0 || head.flags != 0)
		return bad(file, page, "a table has flags that provium does not use");
	memcpy(before, file->table, sizeof(before));
	snprintf(file->table, sizeof(file->table), "the table %.*s", (int)node->key.len, (const char *)node->key.at);
	err = follow_table(file, &head, NULL);
	memcpy(file->table, before, sizeof(before));
	return err;
}

static enum pv_err mark_free(const struct file *file, uint64_t page, const uint8_t *list, size_t size)
{
	uint64_t count = size >= 8 ? pv_get_le64(list) : 0, before = NO_PAGE;
	enum pv_err err = PV_OK;

	if (size < 8 || count > (size - 8) / 8)
		return bad(file, page, "a list of free pages has an impossible length");
	for (uint64_t i = 0; i < count && err == PV_OK; i++) {
		const uint64_t number = pv_get_le64(list + 8 + 8 * i);

		if (number >= before)
			return bad(file, page, "a list of free pages is not in order");
		before = number;
		err = mark(file, number, 1);
	}
	return err;
}

static enum pv_err leaf_of_free(struct file *file, uint64_t page, const struct node *node)
{
	enum pv_err err;

	if (node->key.len != 8)
		return bad(file, page, "a key has another size than the number of a commit");
	file->last_freed = pv_get_le64(node->key.at);
	if (!(node->flags & N_BIGDATA))
		return mark_free(file, page, node->data, node->size);
	if (node->size > file->list_size) {
		uint8_t *list = realloc(file->list, node->size);

		if (list == NULL)
			return pv_out_of_memory(file->msg, "cannot look at the journal");
		file->list = list;
		file->list_size = node->size;
	}
	err = read_at(file, pv_get_le64(node->data), file->list, node->size, PAGE_HEAD);
	return err == PV_OK ? mark_free(file, page, file->list, node->size) : err;
}

/* ---- the file ---- */

/* Which of the two meta pages LMDB takes, if they go together. `metas`: both, with the heads of their pages. */
static enum pv_err choose_meta(struct file *file, uint8_t metas[2][PAGE_HEAD + META_SIZE], const uint8_t **out)
{
	const uint64_t a = pv_get_le64(metas[0] + META_TXNID), b = pv_get_le64(metas[1] + META_TXNID);
	const uint64_t newer = a < b ? b : a, older = a < b ? a : b;

	for (uint64_t i = 0; i < 2; i++)
		if (pv_get_le64(metas[i]) != i || get_le16(metas[i] + 10) != P_META ||
		    memcmp(metas[i] + PAGE_HEAD, metas[0] + PAGE_HEAD, 8) != 0)
			return bad_head(file, "it does not look like one");
	*out = metas[a < b];
	if (a == b) { /* a journal that went back to what was synced has one state in both */
		if (memcmp(metas[0] + PAGE_HEAD, metas[1] + PAGE_HEAD, META_SIZE) != 0)
			return bad_head(file, "both tell of the same commit and differ");
		return PV_OK;
	}
	if (newer - older != 1 || (b > a) != (newer & 1))
		return bad_head(file, "the two are not of commits that follow each other (a machine that died while it "
		                      "wrote leaves that too; then whoever appends goes back to what was synced)");
	return PV_OK;
}

static enum pv_err read_head(struct file *file, struct table *free_pages, struct table *tables)
{
	uint8_t metas[2][PAGE_HEAD + META_SIZE];
	const uint8_t *meta = NULL;
	enum pv_err err;

	file->page_size = PAGE_HEAD + META_SIZE;
	err = read_at(file, 0, metas[0], sizeof(metas[0]), 0);
	file->page_size = pv_get_le32(metas[0] + META_FREE);
	if (err == PV_OK &&
	    (file->page_size < 512 || file->page_size > 65536 || (file->page_size & (file->page_size - 1)) != 0))
		return bad_head(file, "the size of pages is not possible");
	if (err == PV_OK)
		err = read_at(file, 1, metas[1], sizeof(metas[1]), 0);
	if (err == PV_OK)
		err = choose_meta(file, metas, &meta);
	if (err != PV_OK)
		return err;
	*free_pages = get_table(meta + META_FREE);
	*tables = get_table(meta + META_MAIN);
	file->n_pages = pv_get_le64(meta + META_LAST) + 1;
	file->txnid = pv_get_le64(meta + META_TXNID);
	if (pv_get_le32(meta + META_FREE) != file->page_size || (free_pages->flags & ~NO_SUBDIR) != INTEGER_KEYS ||
	    pv_get_le32(meta + META_MAIN) != 0 || tables->flags != 0)
		return bad_head(file, "it has flags that provium does not use");
	if (file->n_pages < 2 || file->n_pages > 2 * (PV_JOURNAL_MAP_BYTES / file->page_size))
		return bad_head(file, "its number of pages is not possible");
	return PV_OK;
}

static enum pv_err check_pages(struct file *file)
{
	struct table free_pages, tables;
	enum pv_err err = read_head(file, &free_pages, &tables);

	if (err != PV_OK)
		return err;
	file->used = calloc(file->n_pages / 8 + 1, 1);
	if (file->used == NULL)
		return pv_out_of_memory(file->msg, "cannot look at the journal");
	snprintf(file->table, sizeof(file->table), "the list of tables");
	err = follow_table(file, &tables, leaf_of_tables);
	if (err == PV_OK) {
		snprintf(file->table, sizeof(file->table), "the list of free pages");
		err = follow_table(file, &free_pages, leaf_of_free);
	}
	/* Each commit but the first frees what it has replaced, under its own number. */
	if (err == PV_OK && file->txnid > 1 && file->last_freed != file->txnid)
		err = bad_head(file, "its number is not that of its state");
	for (uint64_t i = 2; err == PV_OK && i < file->n_pages; i++)
		if (!(file->used[i / 8] >> (i % 8) & 1))
			err = bad(file, i, "it is in no table, and not free");
	return err;
}

enum pv_err pv_journal_check_pages(const char *dir, struct pv_errmsg *msg)
{
	struct file file = { .dir = dir, .msg = msg, .table = "the meta pages" };
	enum pv_err err;
	int dir_fd;

	if (pv_journal_is_live(dir))
		return pv_err_set(msg, PV_ERR_BUSY, "the run in %s is live", dir);
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0)
		return pv_file_fail(msg, errno, "cannot open %s", dir);
	err = pv_journal_check_file(dir, dir_fd, msg);
	if (err == PV_OK) {
		file.fd = openat(dir_fd, PV_JOURNAL_FILE, O_RDONLY | O_CLOEXEC);
		if (file.fd < 0)
			err = pv_file_fail(msg, errno, "cannot open %s/" PV_JOURNAL_FILE, dir);
	}
	close(dir_fd);
	if (err != PV_OK)
		return err;
	err = check_pages(&file);
	close(file.fd);
	free(file.used);
	free(file.list);
	return err;
}
