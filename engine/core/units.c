#include "engine/core/units.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define QUOTE_MAX 100 /* bytes of an input that a message repeats */

/* Reads the digits at *text and moves behind them. False on overflow; no digit leaves *text where it was. */
static bool read_digits(const char **text, uint64_t *value)
{
	*value = 0;
	for (; **text >= '0' && **text <= '9'; (*text)++) {
		if (__builtin_mul_overflow(*value, (uint64_t)10, value) ||
		    __builtin_add_overflow(*value, (uint64_t)(**text - '0'), value))
			return false;
	}
	return true;
}

/* ---- sizes ---- */

static bool size_unit(const char *suffix, uint64_t *factor)
{
	static const char letters[] = "KMGT";
	const char *at;
	char upper;

	*factor = 1;
	if (suffix[0] == '\0')
		return true;
	upper = suffix[0] >= 'a' && suffix[0] <= 'z' ? (char)(suffix[0] - 'a' + 'A') : suffix[0];
	at = strchr(letters, upper);
	if (at == NULL || suffix[1] != '\0')
		return false;
	*factor = UINT64_C(1) << (10 * (at - letters + 1));
	return true;
}

enum pv_err pv_parse_size(const char *text, uint64_t *bytes, struct pv_errmsg *msg)
{
	const char *at = text;
	uint64_t value, factor;

	if (!read_digits(&at, &value))
		return pv_err_set(msg, PV_ERR_INVAL, "the size \"%.*s\" is too large: 16E is the limit", QUOTE_MAX,
		                  text);
	if (at == text || !size_unit(at, &factor))
		return pv_err_set(
		    msg, PV_ERR_INVAL,
		    "bad size \"%.*s\": expected digits, then nothing (bytes) or one of K, M, G, T (powers of "
		    "1024), such as \"512M\"",
		    QUOTE_MAX, text);
	if (__builtin_mul_overflow(value, factor, bytes))
		return pv_err_set(msg, PV_ERR_INVAL, "the size \"%.*s\" is too large: 16E is the limit", QUOTE_MAX,
		                  text);
	return PV_OK;
}

const char *pv_format_size(uint64_t bytes, char out[32])
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	size_t unit = 0;
	uint64_t whole, tenths;

	while (unit < 6 && bytes >> (10 * (unit + 1)) > 0)
		unit++;
	whole = bytes >> (10 * unit);
	/* the rest is below 2^60, so ten times it fits */
	tenths = ((bytes - (whole << (10 * unit))) * 10 + (UINT64_C(1) << (10 * unit)) / 2) >> (10 * unit);
	if (tenths == 10) {
		whole++;
		tenths = 0;
	}
	if (whole == 1024 && unit < 6) {
		whole = 1;
		unit++;
	}
	if (tenths > 0)
		snprintf(out, 32, "%" PRIu64 ".%" PRIu64 " %s", whole, tenths, units[unit]);
	else
		snprintf(out, 32, "%" PRIu64 " %s", whole, units[unit]);
	return out;
}

/* ---- durations ---- */

#define NS_PER_US UINT64_C(1000)
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S  UINT64_C(1000000000)

static bool duration_unit(const char *suffix, bool plain_seconds, uint64_t *factor)
{
	static const struct {
		const char *suffix;
		uint64_t ns;
	} units[] = { { "ms", NS_PER_MS }, { "s", NS_PER_S }, { "m", 60 * NS_PER_S }, { "h", 3600 * NS_PER_S } };

	if (suffix[0] == '\0' && plain_seconds) {
		*factor = NS_PER_S;
		return true;
	}
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(suffix, units[i].suffix) == 0) {
			*factor = units[i].ns;
			return true;
		}
	}
	return false;
}

/* The digits behind the point as nanoseconds; finer ones are dropped. False if there is anything else, or nothing. */
static bool read_fraction(const char *digits, uint64_t *ns)
{
	uint64_t place = NS_PER_S / 10;

	*ns = 0;
	if (digits[0] == '\0' || digits[strspn(digits, "0123456789")] != '\0')
		return false;
	for (; *digits != '\0'; digits++, place /= 10)
		*ns += (uint64_t)(*digits - '0') * place;
	return true;
}

enum pv_err pv_parse_duration(const char *text, bool plain_seconds, uint64_t *ns, struct pv_errmsg *msg)
{
	const char *at = text;
	uint64_t value, factor = 0, fraction = 0;
	bool fits = read_digits(&at, &value);
	bool good = at > text;

	if (fits && plain_seconds && *at == '.') {
		good = good && read_fraction(at + 1, &fraction);
		factor = NS_PER_S;
	} else if (fits) {
		good = good && duration_unit(at, plain_seconds, &factor);
	}
	if (!good)
		return pv_err_set(msg, PV_ERR_INVAL,
		                  "bad timeout string \"%.*s\": expected digits and a unit, such as \"500ms\", \"5s\", "
		                  "\"5m\", \"2h\"%s",
		                  QUOTE_MAX, text, plain_seconds ? ", or seconds, such as \"2\" or \"0.5\"" : "");
	if (!fits || __builtin_mul_overflow(value, factor, &value) || __builtin_add_overflow(value, fraction, ns))
		return pv_err_set(msg, PV_ERR_INVAL,
		                  "bad timeout string \"%.*s\": too long, 5124095h (584 years) is the limit", QUOTE_MAX,
		                  text);
	return PV_OK;
}

const char *pv_format_duration(uint64_t ns, char out[32])
{
	uint64_t s = ns / NS_PER_S;

	if (ns < NS_PER_US)
		snprintf(out, 32, "%" PRIu64 "ns", ns);
	else if (ns < NS_PER_MS)
		snprintf(out, 32, "%" PRIu64 "us", ns / NS_PER_US);
	else if (ns < 100 * NS_PER_MS)
		snprintf(out, 32, "%" PRIu64 ".%" PRIu64 "ms", ns / NS_PER_MS, ns % NS_PER_MS / (NS_PER_MS / 10));
	else if (ns < NS_PER_S)
		snprintf(out, 32, "%" PRIu64 "ms", ns / NS_PER_MS);
	else if (s < 60)
		snprintf(out, 32, "%" PRIu64 ".%03" PRIu64 "s", s, ns % NS_PER_S / NS_PER_MS);
	else if (s < 3600)
		snprintf(out, 32, "%" PRIu64 "m%02" PRIu64 "s", s / 60, s % 60);
	else
		snprintf(out, 32, "%" PRIu64 "h%02" PRIu64 "m%02" PRIu64 "s", s / 3600, s / 60 % 60, s % 60);
	return out;
}
