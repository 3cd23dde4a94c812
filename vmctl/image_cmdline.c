/* The kernel's command line. */
#include <stdlib.h>
#include <string.h>

#include "vmctl/image_internal.h"

#define AGENT_INIT "/sbin/provium-agent"

/* Length of the parameter at `at`: up to a blank outside of double quotes, as the kernel splits them. */
static size_t param_len(const char *at)
{
	bool quoted = false;
	size_t len = 0;

	for (; at[len] && (quoted || !strchr(" \t\n", at[len])); len++)
		if (at[len] == '"')
			quoted = !quoted;
	return len;
}

/* The value if the parameter is `key`=value; a quote in front of the key belongs to the value's quoting. */
static const char *value_of(const char *param, size_t len, const char *key, size_t *value_len)
{
	size_t key_len = strlen(key);

	if (len && *param == '"') {
		param++;
		len--;
		if (len && param[len - 1] == '"')
			len--;
	}
	if (len <= key_len || strncmp(param, key, key_len) || param[key_len] != '=')
		return NULL;
	*value_len = len - key_len - 1;
	return param + key_len + 1;
}

enum pv_err pv_image_cmdline(const char *cmdline, bool inject_agent, char **out, struct pv_errmsg *msg)
{
	bool console = false, init = false;
	const char *end = cmdline, *at = cmdline + strspn(cmdline, " \t\n"), *value;
	size_t len, value_len;

	for (; *at; at += len, at += strspn(at, " \t\n")) {
		len = param_len(at);
		/* What follows "--" goes to init; additions of ours must come before. */
		if (len == 2 && !strncmp(at, "--", 2))
			break;
		end = at + len;
		console = console || value_of(at, len, "console", &value_len);
		value = value_of(at, len, "rdinit", &value_len);
		if (!value || !inject_agent)
			continue;
		if (value_len != strlen(AGENT_INIT) || strncmp(value, AGENT_INIT, value_len))
			return pv_err_set(
			    msg, PV_ERR_INVAL,
			    "the kernel command line has rdinit=%.*s, but injecting the agent needs "
			    "rdinit=" AGENT_INIT
			    ": drop it (the image's /init runs after the agent), or set inject_agent = false",
			    (int)value_len, value);
		init = true;
	}
	*out = pv_xasprintf("%.*s%s%s%s%s", (int)(end - cmdline), cmdline, console ? "" : " console=ttyS0",
	                    inject_agent && !init ? " rdinit=" AGENT_INIT : "", *at ? " " : "", at);
	if (end == cmdline) /* nothing came before our additions */
		memmove(*out, *out + strspn(*out, " "), strlen(*out + strspn(*out, " ")) + 1);
	return PV_OK;
}
