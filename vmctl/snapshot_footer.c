/* The last 64 bytes of a snapshot file. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "proto/crc32c.h"
#include "vmctl/snapshot_internal.h"

#define BOOT_ID_FILE "/proc/sys/kernel/random/boot_id"

static const char magic[8] = { 'P', 'V', 'S', 'N', 'A', 'P', 'S', 'H' };

enum {
	AT_FORMAT = 8,
	AT_KIND = 12,
	AT_FILE_BYTES = 16,
	AT_MANIFEST = 24,
	AT_MANIFEST_BYTES = 32,
	AT_MANIFEST_CRC = 36,
	AT_BOOT_ID = 40,
	AT_CRC = 60, /* 56 to 59 are zeros */
};

static void put32(uint8_t *out, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		out[i] = (uint8_t)(value >> (8 * i));
}

static void put64(uint8_t *out, uint64_t value)
{
	put32(out, (uint32_t)value);
	put32(out + 4, (uint32_t)(value >> 32));
}

static uint32_t get32(const uint8_t *in)
{
	return (uint32_t)in[0] | (uint32_t)in[1] << 8 | (uint32_t)in[2] << 16 | (uint32_t)in[3] << 24;
}

static uint64_t get64(const uint8_t *in)
{
	return get32(in) | (uint64_t)get32(in + 4) << 32;
}

void pv_snapshot_footer_encode(const struct pv_snapshot_footer *footer, uint8_t out[PV_SNAPSHOT_FOOTER_BYTES])
{
	memset(out, 0, PV_SNAPSHOT_FOOTER_BYTES);
	memcpy(out, magic, sizeof(magic));
	put32(out + AT_FORMAT, PV_SNAPSHOT_FORMAT);
	put32(out + AT_KIND, footer->kind);
	put64(out + AT_FILE_BYTES, footer->file_bytes);
	put64(out + AT_MANIFEST, footer->manifest_at);
	put32(out + AT_MANIFEST_BYTES, footer->manifest_bytes);
	put32(out + AT_MANIFEST_CRC, footer->manifest_crc);
	memcpy(out + AT_BOOT_ID, footer->boot_id, PV_SNAPSHOT_BOOT_ID);
	put32(out + AT_CRC, pv_crc32c(0, out, AT_CRC));
}

static enum pv_err check_places(const struct pv_snapshot_footer *footer, uint64_t file_bytes, struct pv_errmsg *msg)
{
	const uint64_t end = file_bytes - PV_SNAPSHOT_FOOTER_BYTES;

	if (footer->kind != PV_SNAPSHOT_MAPPABLE && footer->kind != PV_SNAPSHOT_PACKED)
		return pv_err_set(msg, PV_ERR_CORRUPT, "it is of an unknown kind (%u)", (unsigned)footer->kind);
	if (footer->file_bytes != file_bytes)
		return pv_err_set(msg, PV_ERR_CORRUPT, "it has %" PRIu64 " bytes, and had %" PRIu64 " when it was made",
		                  file_bytes, footer->file_bytes);
	if (footer->manifest_bytes > PV_SNAPSHOT_MANIFEST_MAX || footer->manifest_at > end ||
	    end - footer->manifest_at != footer->manifest_bytes)
		return pv_err_set(msg, PV_ERR_CORRUPT, "its manifest is not in front of its footer");
	return PV_OK;
}

enum pv_err pv_snapshot_footer_decode(const uint8_t bytes[PV_SNAPSHOT_FOOTER_BYTES], uint64_t file_bytes,
                                      struct pv_snapshot_footer *out, struct pv_errmsg *msg)
{
	if (memcmp(bytes, magic, sizeof(magic)) != 0)
		return pv_err_set(msg, PV_ERR_FOREIGN, "it is no snapshot, or its end is missing");
	if (get32(bytes + AT_CRC) != pv_crc32c(0, bytes, AT_CRC))
		return pv_err_set(msg, PV_ERR_CORRUPT, "the checksum of its footer is wrong");
	if (get32(bytes + AT_FORMAT) != PV_SNAPSHOT_FORMAT)
		return pv_err_set(msg, PV_ERR_VERSION,
		                  "it has format %" PRIu32 ", and this provium knows format %u; make it again",
		                  get32(bytes + AT_FORMAT), PV_SNAPSHOT_FORMAT);
	out->kind = (enum pv_snapshot_kind)get32(bytes + AT_KIND);
	out->file_bytes = get64(bytes + AT_FILE_BYTES);
	out->manifest_at = get64(bytes + AT_MANIFEST);
	out->manifest_bytes = get32(bytes + AT_MANIFEST_BYTES);
	out->manifest_crc = get32(bytes + AT_MANIFEST_CRC);
	memcpy(out->boot_id, bytes + AT_BOOT_ID, PV_SNAPSHOT_BOOT_ID);
	return check_places(out, file_bytes, msg);
}

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

enum pv_err pv_snapshot_boot_id(uint8_t out[PV_SNAPSHOT_BOOT_ID], struct pv_errmsg *msg)
{
	char text[64];
	int fd = open(BOOT_ID_FILE, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd >= 0 ? read(fd, text, sizeof(text)) : -1;
	const int failed = errno;
	size_t nibbles = 0;

	if (fd >= 0)
		close(fd);
	if (len < 0)
		return pv_err_sys(msg, PV_ERR_IO, failed, "cannot read " BOOT_ID_FILE);
	memset(out, 0, PV_SNAPSHOT_BOOT_ID);
	for (ssize_t i = 0; i < len && nibbles < 2 * PV_SNAPSHOT_BOOT_ID; i++) {
		int value = digit(text[i]);

		if (value < 0)
			continue;
		out[nibbles / 2] = (uint8_t)(out[nibbles / 2] << 4 | value);
		nibbles++;
	}
	return nibbles == 2 * PV_SNAPSHOT_BOOT_ID ? PV_OK : pv_err_set(msg, PV_ERR_IO, BOOT_ID_FILE " has no boot id");
}
