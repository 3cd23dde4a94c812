/* Host files of scripts: the handles of the io library.
 *
 * What is read, and what came of writing, seeking and closing is recorded. A handle that was opened while the record of a run is gone through
 * again has no open file behind it; the first thing that is really done with it opens the file anew, without cutting it, where it was. What the
 * script writes is flushed at once, so that it is in the file when the record says so. */
#ifndef PV_SCRIPT_IOFILE_H
#define PV_SCRIPT_IOFILE_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "proto/mem.h"

#define PV_IOFILE_TYPE "FILE*"
#define PV_FORMATS_MAX 250

struct pv_command;

enum pv_iofile_kind {
	PV_IOFILE_PATH,
	PV_IOFILE_TEMPORARY,
	PV_IOFILE_INPUT, /* the process's standard input */
	PV_IOFILE_OUTPUT, /* its standard output or error: nobody observes what is written there, so it is not recorded */
	PV_IOFILE_COMMAND, /* of io.popen */
};

struct pv_iofile {
	enum pv_iofile_kind kind;
	bool closed;
	FILE *stream;       /* NULL: closed, or not opened in this process */
	lua_Integer number; /* names it in inputs; from 1 in a script */
	char *path;
	char mode[8];
	struct pv_command *command; /* with COMMAND; lives in the user value */
	int64_t offset;             /* where reading and writing are, as last recorded; -1: it has no places */
};

/* Pushes a new handle. */
struct pv_iofile *pv_iofile_push(lua_State *L, enum pv_iofile_kind kind);

/* The handle at `idx`; raises if it is none, or closed. */
struct pv_iofile *pv_iofile_check(lua_State *L, int idx);

/* ---- iofile_ops.c: what is done to the file; each pushes what the Lua function returns ---- */

/* Opens `path`: pushes the handle; or nil, text, number. */
int pv_iofile_open(lua_State *L, const char *path, const char *mode);
int pv_iofile_open_temporary(lua_State *L);
/* The formats are the values from `first` on. */
int pv_iofile_read(lua_State *L, struct pv_iofile *file, int first);
/* Writes the values from `first` on; pushes the handle, which is at `handle`, if all is well. */
int pv_iofile_write(lua_State *L, struct pv_iofile *file, int handle, int first);
int pv_iofile_seek(lua_State *L, struct pv_iofile *file, int whence, lua_Integer offset);
int pv_iofile_set_buffer(lua_State *L, struct pv_iofile *file, int mode, size_t size);
int pv_iofile_flush(lua_State *L, struct pv_iofile *file);
int pv_iofile_close(lua_State *L, struct pv_iofile *file);

/* Pushes the function that file:lines returns; the file is at 1, the formats are behind it. `close_at_end`: the file is closed there. */
void pv_lines_push(lua_State *L, bool close_at_end);

/* ---- formats of read ---- */

struct pv_read_format {
	char letter; /* 'n', 'l', 'L', 'a', or 'c': `count` bytes */
	size_t count;
};

/* Reads the formats at `first` to `last` ("l" if there are none); returns their number. Raises. */
size_t pv_read_formats(lua_State *L, int first, int last, struct pv_read_format out[PV_FORMATS_MAX]);

/* The longest beginning of `stream`, behind blanks, that may be a number, as text. False if it is none. */
bool pv_read_number(FILE *stream, struct pv_buf *out);

#endif
