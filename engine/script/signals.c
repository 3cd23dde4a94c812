/* Signals as scripts name them. */
#include <ctype.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/script/args.h"
#include "engine/script/objects.h"
#include "engine/script/script_internal.h"

#define SIGNAL_MAX 64

/* Linux numbers of the guest, which are those of the host. */
static const struct {
	const char *name;
	int number;
} names[] = {
	{ "term", SIGTERM }, { "int", SIGINT },   { "hup", SIGHUP },     { "quit", SIGQUIT }, { "kill", SIGKILL },
	{ "stop", SIGSTOP }, { "cont", SIGCONT }, { "usr1", SIGUSR1 },   { "usr2", SIGUSR2 }, { "alrm", SIGALRM },
	{ "pipe", SIGPIPE }, { "chld", SIGCHLD }, { "winch", SIGWINCH },
};

static int number_of(const char *text)
{
	const char *name = strncasecmp(text, "sig", 3) == 0 ? text + 3 : text;
	char *end;
	long number;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcasecmp(names[i].name, name) == 0)
			return names[i].number;
	if (!isdigit((unsigned char)*text))
		return -1;
	number = strtol(text, &end, 10);
	return *end == '\0' && number <= SIGNAL_MAX ? (int)number : -1;
}

int pv_arg_signal(lua_State *L, int idx, const char *what)
{
	int number;

	if (lua_type(L, idx) == LUA_TNUMBER) {
		lua_Integer value = pv_arg_integer(L, idx, what);

		if (value < 0 || value > SIGNAL_MAX)
			pv_raise(L, "%s: unknown signal number %I", what, (LUAI_UACINT)value);
		return (int)value;
	}
	if (lua_type(L, idx) != LUA_TSTRING)
		pv_raise(L, "%s: a signal (name or number) expected, got %s", what, luaL_typename(L, idx));
	number = number_of(lua_tostring(L, idx));
	if (number < 0)
		pv_raise(L, "%s: unknown signal name `%s`", what, lua_tostring(L, idx));
	return number;
}
