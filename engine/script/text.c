#include "engine/script/text.h"

static bool continues(const unsigned char *at, size_t n)
{
	for (size_t i = 1; i < n; i++)
		if ((at[i] & 0xC0) != 0x80)
			return false;
	return true;
}

size_t pv_utf8_length(const char *bytes, size_t len)
{
	const unsigned char *at = (const unsigned char *)bytes;

	if (len == 0)
		return 0;
	if (at[0] < 0x80)
		return 1;
	if (at[0] >= 0xC2 && at[0] <= 0xDF)
		return len >= 2 && continues(at, 2) ? 2 : 0;
	if (at[0] >= 0xE0 && at[0] <= 0xEF) {
		if (len < 3 || !continues(at, 3) || (at[0] == 0xE0 && at[1] < 0xA0) || (at[0] == 0xED && at[1] > 0x9F))
			return 0;
		return 3;
	}
	if (at[0] >= 0xF0 && at[0] <= 0xF4) {
		if (len < 4 || !continues(at, 4) || (at[0] == 0xF0 && at[1] < 0x90) || (at[0] == 0xF4 && at[1] > 0x8F))
			return 0;
		return 4;
	}
	return 0;
}

bool pv_utf8_valid(const char *bytes, size_t len)
{
	while (len > 0) {
		size_t n = pv_utf8_length(bytes, len);

		if (n == 0)
			return false;
		bytes += n;
		len -= n;
	}
	return true;
}

size_t pv_utf8_encode(uint32_t code, char out[4])
{
	if (code < 0x80) {
		out[0] = (char)code;
		return 1;
	}
	if (code < 0x800) {
		out[0] = (char)(0xC0 | code >> 6);
		out[1] = (char)(0x80 | (code & 0x3F));
		return 2;
	}
	if (code < 0x10000) {
		out[0] = (char)(0xE0 | code >> 12);
		out[1] = (char)(0x80 | (code >> 6 & 0x3F));
		out[2] = (char)(0x80 | (code & 0x3F));
		return 3;
	}
	out[0] = (char)(0xF0 | code >> 18);
	out[1] = (char)(0x80 | (code >> 12 & 0x3F));
	out[2] = (char)(0x80 | (code >> 6 & 0x3F));
	out[3] = (char)(0x80 | (code & 0x3F));
	return 4;
}
