/* A synthetic guest: the two sockets that QEMU would have, and frames to send. */
#ifndef NET_PEER_H
#define NET_PEER_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmctl/net.h"

struct peer {
	int fd; /* bound at guest_path, not connected; as QEMU's */
	struct pv_port *port;
	struct pv_net_addr addr;
	char guest_path[100], switch_path[100];
};

struct peer_net {
	struct event_base *base;
	struct pv_net *net;
	char dir[32];
};

void peer_net_open(struct peer_net *net);
void peer_net_close(struct peer_net *net); /* fails if anything is left in the directory */
struct pv_bridge *peer_bridge(struct peer_net *net, const char *name, uint32_t number);

/* Attaches member `n` ("vm<n>") and binds the guest's socket. */
void peer_attach(struct peer_net *net, struct pv_bridge *bridge, struct peer *peer, uint32_t n);
void peer_bind(struct peer *peer);
void peer_close(struct peer *peer); /* the guest's side alone */

/* Turns of the loop until `ms` have passed. */
void peer_turn(struct peer_net *net, unsigned ms);

/* Sends a datagram; the frame's bytes are given. False: the switch's socket is full. */
bool peer_send(struct peer *peer, const void *data, size_t len);
/* A frame of `len` bytes from `from` to the MAC, numbered `n` behind the header. */
size_t peer_frame(uint8_t *out, const uint8_t to[6], const uint8_t from[6], uint32_t n, size_t len);
uint32_t peer_number(const uint8_t *frame);
/* The next datagram, or 0 if there is none. */
size_t peer_recv(struct peer *peer, uint8_t *out, size_t room);
/* Turns of the loop until one comes, at most `ms`; 0: none. */
size_t peer_wait(struct peer_net *net, struct peer *peer, uint8_t *out, size_t room, unsigned ms);

uint64_t peer_now_ns(void);

extern const uint8_t peer_everyone[6];

#endif
