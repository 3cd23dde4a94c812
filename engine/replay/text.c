#include "engine/replay/text.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static bool is_continuation(uint8_t c)
{
	return (c & 0xc0) == 0x80;
}

/* Length of the well-formed sequence at `p`, of which `len` > 0 bytes are there; 0 if there is none. The ranges of the second byte
 * exclude overlong forms, surrogates and what lies above U+10FFFF. */
static size_t sequence(const uint8_t *p, size_t len)
{
	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		return len >= 2 && is_continuation(p[1]) ? 2 : 0;
	if (p[0] >= 0xe0 && p[0] <= 0xef) {
		uint8_t low = p[0] == 0xe0 ? 0xa0 : 0x80, high = p[0] == 0xed ? 0x9f : 0xbf;
		return len >= 3 && p[1] >= low && p[1] <= high && is_continuation(p[2]) ? 3 : 0;
	}
	if (p[0] >= 0xf0 && p[0] <= 0xf4) {
		uint8_t low = p[0] == 0xf0 ? 0x90 : 0x80, high = p[0] == 0xf4 ? 0x8f : 0xbf;
		return len >= 4 && p[1] >= low && p[1] <= high && is_continuation(p[2]) && is_continuation(p[3]) ? 4
		                                                                                                 : 0;
	}
	return 0;
}

char *pv_text_utf8(const char *text)
{
	struct pv_buf out = { .data = NULL };
	const uint8_t *p = (const uint8_t *)text;
	size_t left = strlen(text);

	pv_buf_reserve(&out, left);
	while (left > 0) {
		size_t n = sequence(p, left);
		if (n > 0)
			pv_buf_add(&out, p, n);
		else
			pv_buf_addstr(&out, "\xef\xbf\xbd");
		n = n ? n : 1;
		p += n;
		left -= n;
	}
	return pv_buf_steal(&out);
}

static void add_escaped(struct pv_buf *out, uint8_t c)
{
	if (c == '\n')
		pv_buf_addstr(out, "\\n");
	else if (c == '\t')
		pv_buf_addstr(out, "\\t");
	else
		pv_buf_addf(out, "\\x%02x", c);
}

void pv_text_line(struct pv_buf *out, const void *text, size_t len, size_t max)
{
	const uint8_t *p = text;
	size_t start = out->len;

	while (len > 0) {
		size_t n = sequence(p, len);
		if (out->len - start >= max) {
			pv_buf_addstr(out, "...");
			return;
		}
		/* U+0080 to U+009F are controls to some terminals. */
		bool control =
		    n == 0 || (n == 1 && (p[0] < 0x20 || p[0] == 0x7f)) || (n == 2 && p[0] == 0xc2 && p[1] < 0xa0);
		if (!control) {
			pv_buf_add(out, p, n);
		} else {
			n = n ? n : 1;
			for (size_t i = 0; i < n; i++)
				add_escaped(out, p[i]);
		}
		p += n;
		len -= n;
	}
}
