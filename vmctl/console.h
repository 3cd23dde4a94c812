/* The serial console of a guest, as QEMU logs it to a file: its tail, and news of it while it grows. */
#ifndef PV_VMCTL_CONSOLE_H
#define PV_VMCTL_CONSOLE_H

#include <stddef.h>
#include <stdint.h>

#include "proto/mem.h"

struct event_base;
struct pv_console_watch;

/* Appends the last `max` bytes of the log at `path` to `out`, starting at a line if one starts there, without
 * carriage returns and escape sequences, other control bytes as '?'. Nothing if there is no log. */
void pv_console_tail(const char *path, size_t max, struct pv_buf *out);

/* New bytes of the log. */
typedef void pv_console_cb(void *arg, const void *data, size_t len);

/* Follows the log at `path` (which must exist) from `offset` on, by inotify. NULL if the file cannot be watched. */
struct pv_console_watch *pv_console_watch_create(struct event_base *base, const char *path, uint64_t offset,
                                                 pv_console_cb *cb, void *arg);
void pv_console_watch_destroy(struct pv_console_watch *watch); /* NULL is fine; may be called inside the callback */

#endif
