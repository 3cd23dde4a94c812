/* A bounded table that forgets: when it is full, what was not refreshed for longest makes room; what is older than an age is not found. For
 * addresses that guests choose, so it never grows. */
#ifndef PV_VMCTL_NET_TABLE_H
#define PV_VMCTL_NET_TABLE_H

#include <stddef.h>
#include <stdint.h>

#define PV_NET_KEY 16u /* bytes of a key; shorter ones are padded with zeros by the caller */

struct pv_net_table;

struct pv_net_entry {
	uint8_t key[PV_NET_KEY];
	uint64_t value;
	uint64_t seen; /* time of the last pv_net_table_set() */
};

/* `seed` goes into the hash, so that guests cannot choose keys that collide. */
struct pv_net_table *pv_net_table_create(uint32_t capacity, uint64_t max_age, uint64_t seed);
void pv_net_table_destroy(struct pv_net_table *table); /* NULL is fine */

void pv_net_table_set(struct pv_net_table *table, const uint8_t key[PV_NET_KEY], uint64_t value, uint64_t now);
/* NULL: not there, or too old. Valid until the next change. */
const struct pv_net_entry *pv_net_table_get(const struct pv_net_table *table, const uint8_t key[PV_NET_KEY],
                                            uint64_t now);
void pv_net_table_drop_value(struct pv_net_table *table, uint64_t value); /* every entry with it */
void pv_net_table_clear(struct pv_net_table *table);

uint32_t pv_net_table_len(const struct pv_net_table *table);
/* For saving: from the one that was not refreshed for longest on. NULL behind the last. */
const struct pv_net_entry *pv_net_table_oldest(const struct pv_net_table *table);
const struct pv_net_entry *pv_net_table_next(const struct pv_net_table *table, const struct pv_net_entry *entry);

#endif
