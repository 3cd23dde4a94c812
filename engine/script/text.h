/* UTF-8, as far as a script needs it. */
#ifndef PV_SCRIPT_TEXT_H
#define PV_SCRIPT_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the well-formed character at the start of `bytes`; 0 if there is none (RFC 3629: no overlong forms, no surrogates). */
size_t pv_utf8_length(const char *bytes, size_t len);

bool pv_utf8_valid(const char *bytes, size_t len);

/* Encodes `code` (not checked to be a character) into `out`; returns the bytes used, 1 to 4. */
size_t pv_utf8_encode(uint32_t code, char out[4]);

#endif
