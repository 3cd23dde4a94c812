/* Bytes of guests and scripts made fit for formats and terminals. */
#ifndef PV_REPLAY_TEXT_H
#define PV_REPLAY_TEXT_H

#include <stddef.h>

#include "proto/mem.h"

/* A copy of `text` in which each byte that is not part of well-formed UTF-8 (RFC 3629) has become U+FFFD. The caller frees it. */
char *pv_text_utf8(const char *text);

/* Appends `len` bytes of `text` to `out` as one line that a terminal shows as it is: control bytes and bytes that are not UTF-8 become
 * \n, \t, \xNN. At most about `max` bytes, then "...". */
void pv_text_line(struct pv_buf *out, const void *text, size_t len, size_t max);

#endif
