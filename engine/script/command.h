/* Commands of the host: os.execute and io.popen. They suspend only their task.
 *
 * Each is a call of the engine (host_run), and so is each read and write of its pipe (host_read, host_write). */
#ifndef PV_SCRIPT_COMMAND_H
#define PV_SCRIPT_COMMAND_H

#include <lua.h>

#include "engine/script/iofile.h"

int pv_io_popen(lua_State *L);

/* For handles of commands: as the functions of iofile.h. */

/* `formats`, of which there are `n`, lie in a userdata at `at`; what is above it is dropped. */
int pv_command_read(lua_State *L, struct pv_iofile *file, int at, size_t n);
/* The handle is at `handle`, the texts are at `first` and above. */
int pv_command_write(lua_State *L, struct pv_iofile *file, int handle, int first);
int pv_command_close(lua_State *L, struct pv_iofile *file);

#endif
