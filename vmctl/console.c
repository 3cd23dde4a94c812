#include "vmctl/console.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Length of the terminal's escape sequence at `text`, which starts with ESC: CSI up to its final byte, OSC up to BEL or
 * ESC \, ESC with intermediate bytes and one final byte. A sequence that is cut off reaches to the end. */
static size_t escape_len(const uint8_t *text, size_t len)
{
	size_t i = 1;

	if (len < 2)
		return len;
	if (text[1] == '[') {
		for (i = 2; i < len && text[i] >= 0x20 && text[i] <= 0x3f; i++)
			;
		return i < len ? (text[i] >= 0x40 && text[i] <= 0x7e ? i + 1 : i) : len;
	}
	if (text[1] == ']') {
		for (i = 2; i < len && text[i] != '\a' && text[i] != '\n'; i++) {
			if (text[i] == '\033')
				return i + 1 < len && text[i + 1] == '\\' ? i + 2 : i;
		}
		return i < len && text[i] == '\a' ? i + 1 : i;
	}
	while (i < len && text[i] >= 0x20 && text[i] <= 0x2f)
		i++;
	return i < len && text[i] >= 0x30 && text[i] <= 0x7e ? i + 1 : i;
}

/* Length of the valid UTF-8 sequence at `text`, or 0. */
static size_t utf8_len(const uint8_t *text, size_t len)
{
	size_t n = text[0] < 0xc2 ? 0 : text[0] < 0xe0 ? 2 : text[0] < 0xf0 ? 3 : text[0] < 0xf5 ? 4 : 0;

	if (n == 0 || n > len)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((text[i] & 0xc0) != 0x80)
			return 0;
	}
	/* overlong forms, surrogates, above U+10FFFF */
	if ((text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xed && text[1] > 0x9f) ||
	    (text[0] == 0xf0 && text[1] < 0x90) || (text[0] == 0xf4 && text[1] > 0x8f))
		return 0;
	return n;
}

static void add_clean(struct pv_buf *out, const uint8_t *text, size_t len)
{
	for (size_t i = 0; i < len;) {
		size_t n = 1;

		if (text[i] == '\033') {
			n = escape_len(text + i, len - i);
		} else if (text[i] == '\n' || text[i] == '\t' || (text[i] >= 0x20 && text[i] < 0x7f)) {
			pv_buf_add(out, text + i, 1);
		} else if (text[i] != '\r') {
			n = utf8_len(text + i, len - i);
			pv_buf_add(out, n ? text + i : (const uint8_t *)"?", n ? n : 1);
			n = n ? n : 1;
		}
		i += n;
	}
}

/* Where to start in `text`, whose first byte is preceded by `text[-1]`: at the first line that is there as a whole, or, in
 * the middle of one endless line, at a whole character. */
static size_t first_line(const uint8_t *text, size_t len)
{
	size_t i = 0;

	if (text[-1] == '\n')
		return 0;
	while (i < len && text[i] != '\n')
		i++;
	if (i + 1 < len)
		return i + 1;
	for (i = 0; i < len && i < 3 && (text[i] & 0xc0) == 0x80; i++)
		;
	return i;
}

void pv_console_tail(const char *path, size_t max, struct pv_buf *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	uint8_t *text;
	struct stat st;
	size_t want, got = 0;
	off_t from;

	if (fd < 0)
		return;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || max == 0) {
		close(fd);
		return;
	}
	/* One byte more than asked for: it tells whether a line starts there. */
	want = (uint64_t)st.st_size > max ? max + 1 : (size_t)st.st_size;
	from = st.st_size - (off_t)want;
	text = pv_xmalloc(want + 1);
	while (got < want) {
		ssize_t n = pread(fd, text + got, want - got, from + (off_t)got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		got += (size_t)n;
	}
	if (want > max && got > 0) {
		size_t skip = 1 + first_line(text + 1, got - 1);

		add_clean(out, text + skip, got - skip);
	} else {
		add_clean(out, text, got);
	}
	free(text);
	close(fd);
}
