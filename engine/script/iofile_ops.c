#include "engine/script/iofile.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/script/command.h"
#include "engine/script/intake.h"
#include "engine/script/script_internal.h"

#define NUMBER_MAX 200 /* characters of a number, as in Lua */

/* ---- the file behind a handle ---- */

static int flags_of(const char *mode)
{
	int access = strchr(mode, '+') != NULL ? O_RDWR : *mode == 'r' ? O_RDONLY : O_WRONLY;

	return access | (*mode == 'a' ? O_APPEND : 0) | O_CLOEXEC;
}

static FILE *open_again(const struct pv_iofile *file)
{
	int fd = open(file->path, flags_of(file->mode)), error;
	FILE *stream;

	if (fd < 0)
		return NULL;
	stream = fdopen(fd, file->mode);
	if (stream != NULL && (file->offset < 0 || fseeko(stream, file->offset, SEEK_SET) == 0))
		return stream;
	error = errno;
	if (stream != NULL)
		fclose(stream);
	else
		close(fd);
	errno = error;
	return NULL;
}

/* Every input of a file has the place after it as last result. */
static void add_place(struct pv_iofile *file, struct pv_intake *in)
{
	off_t place = file->offset;

	if (file->stream != NULL && file->kind <= PV_IOFILE_TEMPORARY)
		place = ftello(file->stream);
	pv_intake_integer(in, (lua_Integer)place);
}

/* Makes sure that the file is open. Else adds nil, text, number, and the place. */
static bool is_open(struct pv_iofile *file, struct pv_intake *in)
{
	char *text;
	int error;

	if (file->stream != NULL)
		return true;
	if (file->kind == PV_IOFILE_PATH)
		file->stream = open_again(file);
	if (file->stream != NULL)
		return true;
	error = file->kind == PV_IOFILE_PATH ? errno : ESTALE;
	if (file->kind == PV_IOFILE_PATH)
		text = pv_xasprintf("%s: cannot be opened again after the runner was interrupted: %s", file->path,
		                    strerror(error));
	else
		text = pv_xstrdup("the temporary file is gone with the runner that made it");
	pv_intake_nil(in);
	pv_intake_string(in, text, strlen(text));
	pv_intake_integer(in, error);
	add_place(file, in);
	free(text);
	return false;
}

struct op {
	struct pv_iofile *file;
	const char *path;         /* open */
	const char *const *texts; /* write */
	const size_t *lengths;
	size_t n;
	const struct pv_read_format *formats; /* read */
	int how;                              /* whence, mode of the buffer */
	lua_Integer offset;
};

/* Takes an input of the file: its number, and what is on the stack from `first` on, are the arguments. Pushes the results, without the place. */
static int take(lua_State *L, const char *name, struct op *op, int first, pv_intake_fn *fn)
{
	int n;

	luaL_checkstack(L, 4, NULL);
	lua_pushinteger(L, op->file->number);
	lua_insert(L, first);
	n = pv_intake(L, name, first, fn, op);
	lua_remove(L, first);
	op->file->offset = lua_tointeger(L, -1);
	lua_pop(L, 1);
	return n - 1;
}

/* ---- open ---- */

static void take_open(void *arg, struct pv_intake *in)
{
	struct op *op = arg;
	char mode[sizeof(op->file->mode) + 1];

	snprintf(mode, sizeof(mode), "%se", op->file->mode);
	op->file->stream = fopen(op->path, mode);
	pv_intake_done(in, op->file->stream != NULL, op->path, errno);
	add_place(op->file, in);
}

/* Leaves the handle, or nil, text, number. */
static int finish_open(lua_State *L, int handle, int n)
{
	struct pv_iofile *file = lua_touserdata(L, handle);

	file->closed = !lua_toboolean(L, -n);
	if (file->closed)
		return n;
	lua_pushvalue(L, handle);
	return 1;
}

int pv_iofile_open(lua_State *L, const char *path, const char *mode)
{
	struct op op = { .path = path };
	int handle;

	op.file = pv_iofile_push(L, PV_IOFILE_PATH);
	handle = lua_gettop(L);
	op.file->closed = true; /* until it is open */
	op.file->path = pv_xstrdup(path);
	snprintf(op.file->mode, sizeof(op.file->mode), "%s", mode);
	lua_pushstring(L, path);
	lua_pushstring(L, mode);
	return finish_open(L, handle, take(L, "io.open", &op, handle + 1, take_open));
}

static void take_temporary(void *arg, struct pv_intake *in)
{
	struct op *op = arg;

	op->file->stream = tmpfile();
	pv_intake_done(in, op->file->stream != NULL, NULL, errno);
	if (op->file->stream != NULL)
		fcntl(fileno(op->file->stream), F_SETFD, FD_CLOEXEC);
	add_place(op->file, in);
}

int pv_iofile_open_temporary(lua_State *L)
{
	struct op op = { 0 };
	int handle;

	op.file = pv_iofile_push(L, PV_IOFILE_TEMPORARY);
	handle = lua_gettop(L);
	op.file->closed = true;
	return finish_open(L, handle, take(L, "io.tmpfile", &op, handle + 1, take_temporary));
}

/* ---- read ---- */

size_t pv_read_formats(lua_State *L, int first, int last, struct pv_read_format out[PV_FORMATS_MAX])
{
	size_t n = 0;

	if (last < first)
		out[n++].letter = 'l';
	if (last - first >= PV_FORMATS_MAX)
		luaL_error(L, "too many arguments");
	for (int i = first; i <= last; i++) {
		const char *text;

		if (lua_type(L, i) == LUA_TNUMBER) {
			out[n++] = (struct pv_read_format){ .letter = 'c', .count = (size_t)luaL_checkinteger(L, i) };
			continue;
		}
		text = luaL_checkstring(L, i);
		text += *text == '*';
		if (*text == '\0' || strchr("nlLa", *text) == NULL)
			luaL_argerror(L, i, "invalid format");
		out[n++].letter = *text;
	}
	return n;
}

static bool read_line(FILE *stream, bool keep_end, struct pv_buf *out)
{
	int c = getc(stream);
	bool any = c != EOF;

	for (; c != EOF && c != '\n'; c = getc(stream))
		pv_buf_add(out, &(char){ (char)c }, 1);
	if (c == '\n' && keep_end)
		pv_buf_add(out, "\n", 1);
	return any;
}

static void read_all(FILE *stream, struct pv_buf *out)
{
	size_t n;

	do {
		pv_buf_reserve(out, BUFSIZ);
		n = fread(out->data + out->len, 1, BUFSIZ, stream);
		out->len += n;
		out->data[out->len] = 0;
	} while (n == BUFSIZ);
}

static bool read_count(FILE *stream, size_t count, struct pv_buf *out)
{
	int c;

	if (count == 0) {
		c = getc(stream);
		ungetc(c, stream);
		return c != EOF;
	}
	while (out->len < count) {
		size_t wanted = count - out->len < BUFSIZ ? count - out->len : BUFSIZ, n;

		pv_buf_reserve(out, wanted);
		n = fread(out->data + out->len, 1, wanted, stream);
		out->len += n;
		out->data[out->len] = 0;
		if (n < wanted)
			break;
	}
	return out->len > 0;
}

/* Takes the next character if it is one of `set`. */
static bool accept(FILE *stream, const char *set, struct pv_buf *out)
{
	int c = getc(stream);

	if (c != EOF && c != '\0' && strchr(set, c) != NULL && out->len < NUMBER_MAX) {
		pv_buf_add(out, &(char){ (char)c }, 1);
		return true;
	}
	ungetc(c, stream);
	return false;
}

static bool accept_digits(FILE *stream, bool hex, struct pv_buf *out)
{
	bool any = false;

	while (accept(stream, hex ? "0123456789abcdefABCDEF" : "0123456789", out))
		any = true;
	return any;
}

bool pv_read_number(FILE *stream, struct pv_buf *out)
{
	bool hex = false, any;
	char *end;
	int c;

	do {
		c = getc(stream);
	} while (isspace(c));
	ungetc(c, stream);
	accept(stream, "+-", out);
	any = accept(stream, "0", out);
	if (any && accept(stream, "xX", out)) {
		hex = true;
		any = false;
	}
	any |= accept_digits(stream, hex, out);
	if (accept(stream, ".", out))
		any |= accept_digits(stream, hex, out);
	if (any && accept(stream, hex ? "pP" : "eE", out)) {
		accept(stream, "+-", out);
		accept_digits(stream, false, out);
	}
	strtod(pv_buf_str(out), &end);
	return out->len > 0 && out->len < NUMBER_MAX && *end == '\0';
}

static bool read_one(FILE *stream, const struct pv_read_format *format, struct pv_buf *out)
{
	switch (format->letter) {
	case 'n':
		return pv_read_number(stream, out);
	case 'a':
		read_all(stream, out);
		return true;
	case 'c':
		return read_count(stream, format->count, out);
	default:
		return read_line(stream, format->letter == 'L', out);
	}
}

static void take_read(void *arg, struct pv_intake *in)
{
	struct op *op = arg;
	FILE *stream;
	bool found = true;

	if (!is_open(op->file, in))
		return;
	stream = op->file->stream;
	clearerr(stream);
	for (size_t i = 0; i < op->n && found; i++) {
		struct pv_buf out = { 0 };

		errno = 0;
		found = read_one(stream, &op->formats[i], &out);
		if (found)
			pv_intake_string(in, pv_buf_str(&out), out.len);
		else
			pv_intake_nil(in);
		pv_buf_free(&out);
	}
	if (ferror(stream)) {
		int error = errno;

		pv_intake_cut(in, 0);
		pv_intake_failed(in, NULL, error);
	}
	add_place(op->file, in);
}

/* Texts of numbers become numbers. */
static int finish_read(lua_State *L, const struct op *op, int n)
{
	for (int i = 0; i < n && (size_t)i < op->n; i++) {
		if (op->formats[i].letter != 'n' || lua_type(L, i - n) != LUA_TSTRING)
			continue;
		if (lua_stringtonumber(L, lua_tostring(L, i - n)) == 0)
			lua_pushnil(L);
		lua_replace(L, i - n - 1);
	}
	return n;
}

int pv_iofile_read(lua_State *L, struct pv_iofile *file, int first)
{
	struct pv_read_format *formats;
	struct op op = { .file = file };
	int last = lua_gettop(L);

	luaL_checkstack(L, PV_FORMATS_MAX, "too many arguments");
	formats = lua_newuserdatauv(L, PV_FORMATS_MAX * sizeof(*formats), 0);
	op.n = pv_read_formats(L, first, last, formats);
	op.formats = formats;
	lua_insert(L, first);
	if (file->kind == PV_IOFILE_COMMAND)
		return pv_command_read(L, file, first, op.n);
	return finish_read(L, &op, take(L, "file:read", &op, first + 1, take_read));
}

/* ---- write ---- */

static void take_write(void *arg, struct pv_intake *in)
{
	struct op *op = arg;
	bool ok = true;

	if (!is_open(op->file, in))
		return;
	for (size_t i = 0; i < op->n; i++)
		ok = fwrite(op->texts[i], 1, op->lengths[i], op->file->stream) == op->lengths[i] && ok;
	ok = fflush(op->file->stream) == 0 && ok;
	pv_intake_done(in, ok, NULL, errno);
	add_place(op->file, in);
}

/* The number at `idx` as io.write shows it. */
static void show_number(lua_State *L, int idx)
{
	char text[64];

	if (lua_isinteger(L, idx))
		snprintf(text, sizeof(text), LUA_INTEGER_FMT, (LUAI_UACINT)lua_tointeger(L, idx));
	else
		snprintf(text, sizeof(text), LUA_NUMBER_FMT, (LUAI_UACNUMBER)lua_tonumber(L, idx));
	lua_pushstring(L, text);
	lua_replace(L, idx);
}

static void print_texts(lua_State *L, const struct op *op)
{
	if (pv_is_again(L))
		return;
	for (size_t i = 0; i < op->n; i++)
		fwrite(op->texts[i], 1, op->lengths[i], op->file->stream);
	fflush(op->file->stream);
}

int pv_iofile_write(lua_State *L, struct pv_iofile *file, int handle, int first)
{
	int last = lua_gettop(L);
	struct op op = { .file = file, .n = (size_t)(last - first + 1) };
	const char **texts;
	size_t *lengths;

	handle = lua_absindex(L, handle);
	for (int i = first; i <= last; i++) {
		if (lua_type(L, i) == LUA_TNUMBER)
			show_number(L, i);
		else
			luaL_checkstring(L, i);
	}
	texts = lua_newuserdatauv(L, (op.n + 1) * (sizeof(*texts) + sizeof(*lengths)), 0);
	lengths = (size_t *)(void *)(texts + op.n);
	for (size_t i = 0; i < op.n; i++)
		texts[i] = lua_tolstring(L, first + (int)i, &lengths[i]);
	op.texts = texts;
	op.lengths = lengths;
	lua_pushvalue(L, handle);
	lua_rotate(L, first, 2); /* handle, texts, arguments */
	if (file->kind == PV_IOFILE_OUTPUT) {
		print_texts(L, &op);
	} else if (file->kind == PV_IOFILE_COMMAND) {
		return pv_command_write(L, file, first + 1, first + 2);
	} else {
		int n = take(L, "file:write", &op, first + 2, take_write);

		if (!lua_toboolean(L, -n))
			return n;
	}
	lua_pushvalue(L, first + 1);
	return 1;
}

/* ---- seek, setvbuf, flush, close ---- */

static void take_seek(void *arg, struct pv_intake *in)
{
	static const int whence[] = { SEEK_SET, SEEK_CUR, SEEK_END };
	struct op *op = arg;

	if (!is_open(op->file, in))
		return;
	if (fseeko(op->file->stream, (off_t)op->offset, whence[op->how]) != 0)
		pv_intake_failed(in, NULL, errno);
	else
		pv_intake_integer(in, (lua_Integer)ftello(op->file->stream));
	add_place(op->file, in);
}

int pv_iofile_seek(lua_State *L, struct pv_iofile *file, int whence, lua_Integer offset)
{
	struct op op = { .file = file, .how = whence, .offset = offset };

	if (file->kind == PV_IOFILE_COMMAND) {
		lua_pushnil(L);
		lua_pushstring(L, strerror(ESPIPE));
		lua_pushinteger(L, ESPIPE);
		return 3;
	}
	lua_pushinteger(L, whence);
	lua_pushinteger(L, offset);
	return take(L, "file:seek", &op, lua_gettop(L) - 1, take_seek);
}

static void take_set_buffer(void *arg, struct pv_intake *in)
{
	static const int modes[] = { _IONBF, _IOFBF, _IOLBF };
	struct op *op = arg;
	bool ok;

	if (!is_open(op->file, in))
		return;
	ok = setvbuf(op->file->stream, NULL, modes[op->how], (size_t)op->offset) == 0;
	pv_intake_done(in, ok, NULL, errno);
	add_place(op->file, in);
}

int pv_iofile_set_buffer(lua_State *L, struct pv_iofile *file, int mode, size_t size)
{
	struct op op = { .file = file, .how = mode, .offset = (lua_Integer)size };

	if (file->kind == PV_IOFILE_COMMAND) {
		lua_pushboolean(L, true);
		return 1;
	}
	lua_pushinteger(L, mode);
	lua_pushinteger(L, (lua_Integer)size);
	return take(L, "file:setvbuf", &op, lua_gettop(L) - 1, take_set_buffer);
}

static void take_flush(void *arg, struct pv_intake *in)
{
	struct op *op = arg;

	if (!is_open(op->file, in))
		return;
	pv_intake_done(in, fflush(op->file->stream) == 0, NULL, errno);
	add_place(op->file, in);
}

int pv_iofile_flush(lua_State *L, struct pv_iofile *file)
{
	struct op op = { .file = file };

	if (file->kind == PV_IOFILE_COMMAND || file->kind == PV_IOFILE_OUTPUT) {
		lua_pushboolean(L, true); /* they keep nothing back */
		return 1;
	}
	return take(L, "file:flush", &op, lua_gettop(L) + 1, take_flush);
}

static void take_close(void *arg, struct pv_intake *in)
{
	struct op *op = arg;
	FILE *stream = op->file->stream;

	op->file->stream = NULL;
	/* What was not opened again needs no closing. */
	pv_intake_done(in, stream == NULL || fclose(stream) == 0, NULL, errno);
	add_place(op->file, in);
}

int pv_iofile_close(lua_State *L, struct pv_iofile *file)
{
	struct op op = { .file = file };

	if (file->kind == PV_IOFILE_INPUT || file->kind == PV_IOFILE_OUTPUT) {
		lua_pushnil(L);
		lua_pushliteral(L, "cannot close standard file");
		return 2;
	}
	file->closed = true;
	if (file->kind == PV_IOFILE_COMMAND)
		return pv_command_close(L, file);
	return take(L, "file:close", &op, lua_gettop(L) + 1, take_close);
}
