/* Files of the host, whole. */
#ifndef PV_SCRIPT_HOST_FILE_H
#define PV_SCRIPT_HOST_FILE_H

#include <stdbool.h>
#include <stdio.h>

#include "proto/mem.h"

/* Appends the whole file to `out`: 0, or errno. */
int pv_read_stream(FILE *file, struct pv_buf *out);
/* The same for a path. *opened (may be NULL): false if it could not be opened. */
int pv_read_file(const char *path, struct pv_buf *out, bool *opened);

#endif
