/* A small epoll loop: descriptors, SIGCHLD and SIGTERM, and one deadline, in one thread. */
#ifndef PV_TOOLS_AGENT_LOOP_H
#define PV_TOOLS_AGENT_LOOP_H

#include <stdbool.h>
#include <stdint.h>

/* A watched descriptor, part of the object that `arg` is. `fd` is -1 when nothing is watched. */
struct watch {
	int fd;
	void (*fn)(struct watch *watch, uint32_t events);
	void *arg;
};

struct loop_hooks {
	void (*child)(void *arg);           /* a child may have ended */
	void (*terminate)(void *arg);       /* SIGTERM */
	uint64_t (*deadline_ms)(void *arg); /* of pv_loop_now_ms(); UINT64_MAX: none */
	void (*expired)(void *arg);         /* the deadline may have passed */
	void *arg;
};

struct loop;

/* Blocks all signals of the calling thread but those of a crash. */
struct loop *pv_loop_create(const struct loop_hooks *hooks);

/* Watches `fd` for epoll `events`. */
void pv_loop_add(struct loop *loop, struct watch *watch, int fd, uint32_t events);
void pv_loop_change(struct loop *loop, struct watch *watch, uint32_t events);

/* Stops watching; the descriptor stays open. */
void pv_loop_unwatch(struct loop *loop, struct watch *watch);

/* Stops watching and closes the descriptor. An event of it that is already fetched is dropped. */
void pv_loop_close(struct loop *loop, struct watch *watch);

/* From now on descriptors may be shared with a process that has not closed them yet. */
void pv_loop_forks(struct loop *loop);

/* free()s `ptr`, which may hold a watch, when no fetched event can refer to it any more. */
void pv_loop_free_later(struct loop *loop, void *ptr);

/* Runs until pv_loop_stop(). */
void pv_loop_run(struct loop *loop);
void pv_loop_stop(struct loop *loop);

/* CLOCK_MONOTONIC, which stands still with the VM; up to a tick behind, and cheap: the exact clock is a device access in a
 * guest without KVM. */
uint64_t pv_loop_now_ms(void);

/* The time `ms` from now, by the exact clock, so that it never passes too early. */
uint64_t pv_loop_deadline_ms(uint64_t ms);

#endif
