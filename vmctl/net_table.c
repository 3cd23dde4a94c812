#include "vmctl/net_table.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "proto/mem.h"

struct node {
	struct pv_net_entry entry; /* first: a pointer to it is one to the node */
	TAILQ_ENTRY(node) age;
	struct node *chain;
};

struct pv_net_table {
	uint32_t capacity, used;
	uint32_t mask; /* buckets - 1, a power of two */
	uint64_t max_age, seed;
	struct node *nodes;
	struct node **buckets;
	TAILQ_HEAD(ages, node) ages; /* in use, oldest first */
	struct node *spare;          /* not in use, linked by `chain` */
};

struct pv_net_table *pv_net_table_create(uint32_t capacity, uint64_t max_age, uint64_t seed)
{
	struct pv_net_table *table = PV_NEW(struct pv_net_table);
	uint32_t buckets = 16;

	while (buckets < capacity)
		buckets *= 2;
	table->capacity = capacity;
	table->max_age = max_age;
	table->seed = seed;
	table->mask = buckets - 1;
	table->nodes = pv_xcalloc(capacity, sizeof(*table->nodes));
	table->buckets = pv_xcalloc(buckets, sizeof(struct node *));
	pv_net_table_clear(table);
	return table;
}

void pv_net_table_destroy(struct pv_net_table *table)
{
	if (table == NULL)
		return;
	free(table->nodes);
	free(table->buckets);
	free(table);
}

void pv_net_table_clear(struct pv_net_table *table)
{
	TAILQ_INIT(&table->ages);
	table->used = 0;
	table->spare = NULL;
	memset(table->buckets, 0, (table->mask + 1ul) * sizeof(struct node *));
	for (uint32_t i = table->capacity; i-- > 0;) {
		table->nodes[i].chain = table->spare;
		table->spare = &table->nodes[i];
	}
}

static struct node **bucket_of(const struct pv_net_table *table, const uint8_t key[PV_NET_KEY])
{
	uint64_t a, b;

	memcpy(&a, key, 8);
	memcpy(&b, key + 8, 8);
	a = (a ^ table->seed) * 0x9e3779b97f4a7c15u;
	a = (a ^ a >> 32 ^ b) * 0xbf58476d1ce4e5b9u;
	return &table->buckets[(uint32_t)((a ^ a >> 32) * 0x94d049bb133111ebu >> 40) & table->mask];
}

static struct node *find(const struct pv_net_table *table, const uint8_t key[PV_NET_KEY])
{
	struct node *node = *bucket_of(table, key);

	while (node && memcmp(node->entry.key, key, PV_NET_KEY) != 0)
		node = node->chain;
	return node;
}

static void drop(struct pv_net_table *table, struct node *node)
{
	struct node **at = bucket_of(table, node->entry.key);

	while (*at != node)
		at = &(*at)->chain;
	*at = node->chain;
	TAILQ_REMOVE(&table->ages, node, age);
	node->chain = table->spare;
	table->spare = node;
	table->used--;
}

void pv_net_table_set(struct pv_net_table *table, const uint8_t key[PV_NET_KEY], uint64_t value, uint64_t now)
{
	struct node *node = find(table, key), **bucket;

	if (node) {
		TAILQ_REMOVE(&table->ages, node, age);
	} else {
		if (table->spare == NULL)
			drop(table, TAILQ_FIRST(&table->ages));
		node = table->spare;
		table->spare = node->chain;
		memcpy(node->entry.key, key, PV_NET_KEY);
		bucket = bucket_of(table, key);
		node->chain = *bucket;
		*bucket = node;
		table->used++;
	}
	node->entry.value = value;
	node->entry.seen = now;
	TAILQ_INSERT_TAIL(&table->ages, node, age);
}

const struct pv_net_entry *pv_net_table_get(const struct pv_net_table *table, const uint8_t key[PV_NET_KEY],
                                            uint64_t now)
{
	const struct node *node = find(table, key);

	return node && now - node->entry.seen <= table->max_age ? &node->entry : NULL;
}

void pv_net_table_drop_value(struct pv_net_table *table, uint64_t value)
{
	struct node *node, *next;

	for (node = TAILQ_FIRST(&table->ages); node; node = next) {
		next = TAILQ_NEXT(node, age);
		if (node->entry.value == value)
			drop(table, node);
	}
}

uint32_t pv_net_table_len(const struct pv_net_table *table)
{
	return table->used;
}

const struct pv_net_entry *pv_net_table_oldest(const struct pv_net_table *table)
{
	const struct node *node = TAILQ_FIRST(&table->ages);

	return node ? &node->entry : NULL;
}

const struct pv_net_entry *pv_net_table_next(const struct pv_net_table *table, const struct pv_net_entry *entry)
{
	const struct node *node = TAILQ_NEXT((const struct node *)(const void *)entry, age);

	(void)table;
	return node ? &node->entry : NULL;
}
