#include <stdlib.h>
#include <string.h>

#include "exec_internal.h"

static char *copy_string(const ProtobufCBinaryData *bytes)
{
	char *text;

	if (bytes->len > 0 && memchr(bytes->data, '\0', bytes->len) != NULL)
		return NULL;
	text = pv_xmalloc(bytes->len + 1);
	if (bytes->len > 0)
		memcpy(text, bytes->data, bytes->len);
	text[bytes->len] = '\0';
	return text;
}

void pv_exec_strings_free(char **strings)
{
	if (strings == NULL)
		return;
	for (size_t i = 0; strings[i] != NULL; i++)
		free(strings[i]);
	free(strings);
}

char **pv_exec_argv(const Pva__Exec *request)
{
	char **argv = pv_xcalloc(request->n_argv + 1, sizeof(*argv));

	for (size_t i = 0; i < request->n_argv; i++) {
		argv[i] = copy_string(&request->argv[i]);
		if (argv[i] == NULL) {
			pv_exec_strings_free(argv);
			return NULL;
		}
	}
	return argv;
}

static bool names(const char *entry, const char *name)
{
	size_t len = strlen(name);

	return strncmp(entry, name, len) == 0 && entry[len] == '=';
}

const char *pv_exec_getenv(char *const *envp, const char *name)
{
	for (; *envp != NULL; envp++) {
		if (names(*envp, name))
			return *envp + strlen(name) + 1;
	}
	return NULL;
}

static char *make_entry(const Pva__EnvVar *var)
{
	char *value, *entry;

	if (var->name == NULL || var->name[0] == '\0' || strchr(var->name, '=') != NULL)
		return NULL;
	value = copy_string(&var->value);
	if (value == NULL)
		return NULL;
	entry = pv_xasprintf("%s=%s", var->name, value);
	free(value);
	return entry;
}

/* Replaces the entry of the same name or appends one; there is room. */
static void set_entry(char **envp, char *entry, const char *name)
{
	size_t i = 0;

	while (envp[i] != NULL && !names(envp[i], name))
		i++;
	free(envp[i]);
	envp[i] = entry;
}

char **pv_exec_envp(const Pva__Exec *request, char *const *base)
{
	size_t n = 0;
	char **envp;

	while (base[n] != NULL)
		n++;
	envp = pv_xcalloc(n + request->n_env + 1, sizeof(*envp));
	for (size_t i = 0; i < n && !request->env_clear; i++)
		envp[i] = pv_xstrdup(base[i]);
	for (size_t i = 0; i < request->n_env; i++) {
		char *entry = make_entry(request->env[i]);

		if (entry == NULL) {
			pv_exec_strings_free(envp);
			return NULL;
		}
		set_entry(envp, entry, request->env[i]->name);
	}
	return envp;
}
