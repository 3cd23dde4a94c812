#include "proto/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/err.h"

static _Noreturn void out_of_memory(size_t size)
{
	fprintf(stderr, "provium: out of memory (%zu bytes wanted)\n", size);
	abort();
}

void *pv_xmalloc(size_t size)
{
	void *ptr = malloc(size > 0 ? size : 1);

	if (ptr == NULL)
		out_of_memory(size);
	return ptr;
}

void *pv_xcalloc(size_t count, size_t size)
{
	void *ptr = calloc(count > 0 ? count : 1, size > 0 ? size : 1);

	if (ptr == NULL)
		out_of_memory(size);
	return ptr;
}

void *pv_xrealloc(void *ptr, size_t size)
{
	void *moved = realloc(ptr, size > 0 ? size : 1);

	if (moved == NULL)
		out_of_memory(size);
	return moved;
}

void *pv_xmemdup(const void *src, size_t size)
{
	void *copy = pv_xmalloc(size);

	if (size > 0)
		memcpy(copy, src, size);
	return copy;
}

char *pv_xstrdup(const char *src)
{
	return pv_xmemdup(src, strlen(src) + 1);
}

char *pv_xvasprintf(const char *fmt, va_list ap)
{
	char *text;

	if (vasprintf(&text, fmt, ap) < 0)
		out_of_memory(0);
	return text;
}

char *pv_xasprintf(const char *fmt, ...)
{
	va_list ap;
	char *text;

	va_start(ap, fmt);
	text = pv_xvasprintf(fmt, ap);
	va_end(ap);
	return text;
}

void pv_buf_reserve(struct pv_buf *buf, size_t extra)
{
	size_t need = buf->len + extra + 1;
	size_t cap = buf->cap > 0 ? buf->cap : 64;

	PV_ASSERT(need > extra);
	if (need <= buf->cap)
		return;
	while (cap < need)
		cap *= 2;
	buf->data = pv_xrealloc(buf->data, cap);
	buf->cap = cap;
	buf->data[buf->len] = 0;
}

void pv_buf_add(struct pv_buf *buf, const void *data, size_t len)
{
	pv_buf_reserve(buf, len);
	if (len > 0)
		memcpy(buf->data + buf->len, data, len);
	buf->len += len;
	buf->data[buf->len] = 0;
}

void pv_buf_addstr(struct pv_buf *buf, const char *text)
{
	pv_buf_add(buf, text, strlen(text));
}

void pv_buf_addf(struct pv_buf *buf, const char *fmt, ...)
{
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	PV_ASSERT(len >= 0);
	pv_buf_reserve(buf, (size_t)len);
	va_start(ap, fmt);
	vsnprintf((char *)buf->data + buf->len, (size_t)len + 1, fmt, ap);
	va_end(ap);
	buf->len += (size_t)len;
}

void pv_buf_drain(struct pv_buf *buf, size_t len)
{
	PV_ASSERT(len <= buf->len);
	if (len == 0)
		return;
	memmove(buf->data, buf->data + len, buf->len - len);
	buf->len -= len;
	buf->data[buf->len] = 0;
}

void pv_buf_clear(struct pv_buf *buf)
{
	buf->len = 0;
	if (buf->data != NULL)
		buf->data[0] = 0;
}

void pv_buf_free(struct pv_buf *buf)
{
	free(buf->data);
	memset(buf, 0, sizeof(*buf));
}

const char *pv_buf_str(const struct pv_buf *buf)
{
	return buf->data != NULL ? (const char *)buf->data : "";
}

char *pv_buf_steal(struct pv_buf *buf)
{
	char *text;

	pv_buf_reserve(buf, 0);
	text = (char *)buf->data;
	memset(buf, 0, sizeof(*buf));
	return text;
}
