/* What programs need that run in a guest in place of the agent. */
#ifndef GUEST_COMMON_H
#define GUEST_COMMON_H

/* Mounts what init would, loads the modules of the overlay, waits for the agent's port and opens it. */
int guest_start(void);

#endif
