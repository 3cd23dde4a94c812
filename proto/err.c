#include "proto/err.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *pv_err_name(enum pv_err err)
{
	switch (err) {
	case PV_OK:
		return "success";
#define X(symbol, text)                                                                                                \
	case symbol:                                                                                                   \
		return text;
		PV_ERR_LIST(X)
#undef X
	}
	return "unknown error";
}

enum pv_err pv_err_set(struct pv_errmsg *msg, enum pv_err err, const char *fmt, ...)
{
	va_list ap;

	if (msg == NULL)
		return err;
	va_start(ap, fmt);
	vsnprintf(msg->text, sizeof(msg->text), fmt, ap);
	va_end(ap);
	return err;
}

enum pv_err pv_err_sys(struct pv_errmsg *msg, enum pv_err err, int sys_errno, const char *fmt, ...)
{
	va_list ap;
	size_t len;

	if (msg == NULL)
		return err;
	va_start(ap, fmt);
	vsnprintf(msg->text, sizeof(msg->text), fmt, ap);
	va_end(ap);
	len = strlen(msg->text);
	snprintf(msg->text + len, sizeof(msg->text) - len, ": %s (%s)", strerror(sys_errno), pv_errno_name(sys_errno));
	return err;
}

enum pv_err pv_err_wrap(struct pv_errmsg *msg, enum pv_err err, const char *fmt, ...)
{
	struct pv_errmsg inner, outer;
	va_list ap;
	size_t len;

	if (msg == NULL)
		return err;
	inner = *msg;
	va_start(ap, fmt);
	vsnprintf(outer.text, sizeof(outer.text), fmt, ap); /* the arguments may point into msg */
	va_end(ap);
	*msg = outer;
	len = strlen(msg->text);
	snprintf(msg->text + len, sizeof(msg->text) - len, ": %s", inner.text);
	return err;
}

const char *pv_errno_name(int sys_errno)
{
	static char unknown[32];
	const char *name = strerrorname_np(sys_errno); /* glibc >= 2.32 */

	if (name != NULL)
		return name;
	snprintf(unknown, sizeof(unknown), "errno %d", sys_errno);
	return unknown;
}

void pv_bug(const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "provium: bug at %s:%d: ", file, line);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	abort();
}
