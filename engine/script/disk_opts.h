/* Entries that describe disks: of the boot option `disks`, and of vm:attach_disk. */
#ifndef PV_SCRIPT_DISK_OPTS_H
#define PV_SCRIPT_DISK_OPTS_H

#include <lua.h>
#include <stdbool.h>

#include "engine/core/disks.h"

#define PV_DISK_SIZE_DEFAULT (UINT64_C(4) << 30)

/* One entry. `disk` points into the struct, which must stay where it is. */
struct pv_disk_entry {
	Pv__Disk disk;
	char id[PV_DISK_ID_MAX + 1]; /* empty: it says none */
	char path[4096];
};

/* Reads the entry at `idx` (nil: an empty one). `listed`: one of `disks`, where a size makes a disk that the host can look at. What it says of a host file is
 * recorded. Raises, `what` in front. */
void pv_disk_entry_read(lua_State *L, int idx, const char *what, bool listed, struct pv_disk_entry *out);
/* Gives an entry without an id that of the VM. Raises if that is too long. */
void pv_disk_entry_name(lua_State *L, const char *what, const char *vm, Pv__Disk *disk);

#endif
