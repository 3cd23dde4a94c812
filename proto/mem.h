/* Allocation that cannot fail, and a growable byte buffer.
 *
 * For every room but `journal`, which must survive a failing allocation and uses malloc itself: running out of
 * memory prints one line and aborts, and the journal makes the run resumable.
 */
#ifndef PV_PROTO_MEM_H
#define PV_PROTO_MEM_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

void *pv_xmalloc(size_t size);
void *pv_xcalloc(size_t count, size_t size); /* zeroed; overflow of the product aborts */
void *pv_xrealloc(void *ptr, size_t size);
void *pv_xmemdup(const void *src, size_t size); /* size 0 gives a non-NULL block */
char *pv_xstrdup(const char *src);
char *pv_xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
char *pv_xvasprintf(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0)));

#define PV_NEW(type) ((type *)pv_xcalloc(1, sizeof(type)))

/* Bytes of someone else. */
struct pv_bytes {
	const void *data;
	size_t len;
};

/* A growable byte buffer. Invariant: `data` is NULL or holds `cap` > `len` bytes and data[len] is 0, so text in it
 * is a C string. A zeroed struct is an empty buffer. */
struct pv_buf {
	uint8_t *data;
	size_t len;
	size_t cap;
};

void pv_buf_add(struct pv_buf *buf, const void *data, size_t len);
void pv_buf_addstr(struct pv_buf *buf, const char *text);
void pv_buf_addf(struct pv_buf *buf, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void pv_buf_reserve(struct pv_buf *buf, size_t extra); /* room for `extra` more bytes behind len */
void pv_buf_drain(struct pv_buf *buf, size_t len);     /* drops the first `len` bytes */
void pv_buf_clear(struct pv_buf *buf);                 /* len = 0, memory kept */
void pv_buf_free(struct pv_buf *buf);                  /* memory freed, struct zeroed */
const char *pv_buf_str(const struct pv_buf *buf);      /* the bytes as text; "" if empty; dies with the next change */
char *pv_buf_steal(struct pv_buf *buf);                /* the caller frees the text; the buffer is empty afterwards */

#endif
