#include <string.h>

#include "engine/replay/viewer.h"

static const struct {
	const char *bytes;
	int key;
} sequences[] = {
	{ "\033[A", PV_KEY_UP },         { "\033[B", PV_KEY_DOWN }, { "\033[C", PV_KEY_RIGHT },
	{ "\033[D", PV_KEY_LEFT },       { "\033OA", PV_KEY_UP },   { "\033OB", PV_KEY_DOWN },
	{ "\033OC", PV_KEY_RIGHT },      { "\033OD", PV_KEY_LEFT }, { "\033[5~", PV_KEY_PAGE_UP },
	{ "\033[6~", PV_KEY_PAGE_DOWN }, { "\033[H", PV_KEY_HOME }, { "\033[F", PV_KEY_END },
	{ "\033[1~", PV_KEY_HOME },      { "\033[4~", PV_KEY_END }, { "\033OH", PV_KEY_HOME },
	{ "\033OF", PV_KEY_END },
};

/* Length of a control sequence (ECMA-48) at `bytes`, which begin with ESC [; 0 if its end is not there. */
static size_t control_length(const uint8_t *bytes, size_t n)
{
	for (size_t i = 2; i < n; i++) {
		if (bytes[i] >= 0x40 && bytes[i] <= 0x7e)
			return i + 1;
	}
	return 0;
}

static int escape(const uint8_t *bytes, size_t n, bool more, size_t *len)
{
	for (size_t i = 0; i < sizeof(sequences) / sizeof(sequences[0]); i++) {
		*len = strlen(sequences[i].bytes);
		if (n >= *len && memcmp(bytes, sequences[i].bytes, *len) == 0)
			return sequences[i].key;
	}
	*len = n >= 2 && bytes[1] == '[' ? control_length(bytes, n) : 0;
	if (*len > 0)
		return PV_KEY_UNKNOWN;
	if (more && (n == 1 || (bytes[1] == '[' && n < 16) || (bytes[1] == 'O' && n == 2))) {
		*len = 0;
		return 0;
	}
	*len = n == 1 || (bytes[1] != '[' && bytes[1] != 'O') ? 1 : n;
	return *len == 1 ? PV_KEY_ESCAPE : PV_KEY_UNKNOWN;
}

int pv_key_decode(const uint8_t *bytes, size_t n, bool more, size_t *len)
{
	*len = 0;
	if (n == 0)
		return 0;
	if (bytes[0] == 0x1b)
		return escape(bytes, n, more, len);
	*len = 1;
	if (bytes[0] == '\n')
		return PV_KEY_ENTER;
	if (bytes[0] == 0x08)
		return PV_KEY_BACKSPACE;
	return bytes[0] ? bytes[0] : PV_KEY_UNKNOWN;
}
