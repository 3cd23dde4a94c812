#include <stdlib.h>
#include <string.h>

#include "vmctl/net_switch_internal.h"

/* What may wait for a limited link: a tenth of a second of its bits, or this many bytes if they are more. */
#define BACKLOG_NS    100000000ull
#define BACKLOG_BYTES (64ull << 10)
#define SECOND_NS     1000000000ull

bool pv_net_rule_is_none(const struct pv_net_rule *rule)
{
	return !rule->cut && rule->latency_ns == 0 && rule->jitter_ns == 0 && !(rule->loss > 0) && rule->bps == 0;
}

bool pv_switch_is_plain(const struct pv_switch *sw)
{
	return sw->n_held == 0 && sw->n_pair_rules == 0 && pv_net_rule_is_none(&sw->rule);
}

struct link *pv_switch_link(struct pv_switch *sw, uint32_t from, uint32_t to)
{
	uint64_t key = (uint64_t)from << 32 | to;
	struct link *link;

	HASH_FIND(hh, sw->links, &key, sizeof(key), link);
	if (link == NULL) {
		link = PV_NEW(struct link);
		link->key = key;
		HASH_ADD(hh, sw->links, key, sizeof(link->key), link);
	}
	return link;
}

static void check_rule(const struct pv_net_rule *rule)
{
	PV_ASSERT(rule->latency_ns <= PV_NET_DELAY_MAX_NS && rule->jitter_ns <= PV_NET_DELAY_MAX_NS);
	PV_ASSERT(rule->loss >= 0 && rule->loss <= 1);
}

void pv_switch_set_rule(struct pv_switch *sw, const struct pv_net_rule *rule)
{
	PV_ASSERT(!rule->cut);
	check_rule(rule);
	sw->rule = *rule;
}

void pv_switch_set_pair_rule(struct pv_switch *sw, uint32_t from, uint32_t to, const struct pv_net_rule *rule)
{
	struct link *link = pv_switch_link(sw, from, to);

	check_rule(rule);
	sw->n_pair_rules -= pv_net_rule_is_none(&link->rule) ? 0 : 1;
	link->rule = *rule;
	sw->n_pair_rules += pv_net_rule_is_none(rule) ? 0 : 1;
}

void pv_switch_clear_pair_rules(struct pv_switch *sw)
{
	for (struct link *link = sw->links; link; link = link->hh.next)
		link->rule = (struct pv_net_rule){ .cut = false };
	sw->n_pair_rules = 0;
}

/* ---- randomness: SplitMix64, a stream for each (from, to), so that what one pair meets does not depend on what others send ---- */

static uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static uint64_t hash_text(uint64_t hash, const char *text)
{
	for (; *text != '\0'; text++)
		hash = (hash ^ (uint8_t)*text) * 0x100000001b3u;
	return (hash ^ 0xff) * 0x100000001b3u; /* an end: ("a", "bc") is not ("ab", "c") */
}

static void seed_link(struct pv_switch *sw, struct link *link, const char *from, const char *to)
{
	uint64_t state = hash_text(hash_text(0xcbf29ce484222325u, from), to) ^ sw->config.seed;

	link->random = next_random(&state);
	link->seeded = true;
}

static bool lost(struct link *link, const struct pv_net_rule *rule)
{
	return rule->loss > 0 && (double)(next_random(&link->random) >> 11) * 0x1p-53 < rule->loss;
}

/* -jitter .. +jitter */
static int64_t jitter(struct link *link, const struct pv_net_rule *rule)
{
	if (rule->jitter_ns == 0)
		return 0;
	return (int64_t)(next_random(&link->random) % (2 * rule->jitter_ns + 1)) - (int64_t)rule->jitter_ns;
}

/* ---- rates ---- */

/* True with the time at which a frame that comes at `t` has passed; false if too much waits already. */
static bool limit(struct limiter *limiter, uint64_t bps, size_t len, uint64_t t, uint64_t *left)
{
	uint64_t bits = (len > ETH_HEADER ? len - ETH_HEADER : 0) * 8;
	uint64_t start = limiter->free_at > t ? limiter->free_at : t;
	uint64_t room = BACKLOG_BYTES * 8 * SECOND_NS / bps;

	if (start - t > (room > BACKLOG_NS ? room : BACKLOG_NS))
		return false;
	limiter->free_at = start + bits * SECOND_NS / bps;
	*left = limiter->free_at;
	return true;
}

bool pv_switch_send_time(struct pv_switch *sw, struct pv_switch_port *from, size_t len, uint64_t t, uint64_t *left)
{
	*left = t;
	return sw->rule.bps == 0 || limit(&from->limiter, sw->rule.bps, len, t, left);
}

/* ---- a frame on a link ---- */

/* Whether it arrives, and when. */
static bool apply_rules(struct pv_switch *sw, struct link *link, size_t len, uint64_t left, uint64_t *due)
{
	bool on_bridge, on_link;
	int64_t delay;

	if (link->rule.cut)
		return false;
	/* Each is a trial of its own, and drawn whatever the other says. */
	on_bridge = lost(link, &sw->rule);
	on_link = lost(link, &link->rule);
	if (on_bridge || on_link)
		return false;
	if (link->rule.bps != 0 && !limit(&link->limiter, link->rule.bps, len, left, &left))
		return false;
	delay = (int64_t)(sw->rule.latency_ns + link->rule.latency_ns);
	delay += jitter(link, &sw->rule);
	delay += jitter(link, &link->rule);
	*due = left + (delay > 0 ? (uint64_t)delay : 0);
	if (sw->rule.jitter_ns == 0 && link->rule.jitter_ns == 0 && *due < link->last_due)
		*due = link->last_due;
	if (link->last_due < *due)
		link->last_due = *due;
	return true;
}

void pv_switch_pass(struct pv_switch *sw, struct pv_switch_port *from, struct pv_switch_port *to,
                    struct pv_net_frame *frame, uint64_t left, uint64_t now)
{
	struct link *link = pv_switch_link(sw, from->member, to->member);
	uint64_t due, t = pv_switch_time(sw, now);

	if (!link->seeded)
		seed_link(sw, link, from->name, to->name);
	if (!apply_rules(sw, link, frame->len, left, &due))
		return;
	if (due <= t && (sw->n_held == 0 || sw->heap[0].due > t)) {
		pv_switch_arrive(sw, from, to, frame, now);
		return;
	}
	if (!pv_switch_hold(sw, from, to, frame, due)) {
		/* Too much is under way: from this sender, or in all. */
		(from->held >= PV_SWITCH_HELD_SENDER ? from : to)->counters.errors++;
	}
}
