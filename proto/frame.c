#include "proto/frame.h"

#include <string.h>

#include "proto/crc32c.h"

static const uint8_t magic[4] = { 'P', 'V', 'A', '1' };

static void put_le32(uint8_t *p, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(value >> (8 * i));
}

static uint32_t get_le32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

void pv_frame_add(struct pv_buf *out, const void *payload, size_t len)
{
	uint8_t header[PV_FRAME_HEADER];

	PV_ASSERT(len <= PV_FRAME_MAX);
	memcpy(header, magic, sizeof(magic));
	put_le32(header + 4, (uint32_t)len);
	put_le32(header + 8, pv_crc32c(0, payload, len));
	put_le32(header + 12, pv_crc32c(0, header, 12));
	pv_buf_reserve(out, sizeof(header) + len);
	pv_buf_add(out, header, sizeof(header));
	pv_buf_add(out, payload, len);
}

/* Drops the frame handed out by the previous pv_frame_next(), which had to stay valid until now. */
static void drop_taken(struct pv_frame_reader *reader)
{
	pv_buf_drain(&reader->in, reader->taken);
	reader->taken = 0;
}

void pv_frame_feed(struct pv_frame_reader *reader, const void *data, size_t len)
{
	drop_taken(reader);
	pv_buf_add(&reader->in, data, len);
}

static void skip(struct pv_frame_reader *reader, size_t len)
{
	reader->skipped += len;
	reader->skipped_total += len;
	reader->taken += len;
}

/* Skips to where a header may begin: the next magic, or a tail that could be the start of one. */
static void skip_noise(struct pv_frame_reader *reader, size_t from)
{
	size_t len = reader->in.len - reader->taken;
	const uint8_t *p;
	size_t at = from;

	if (len == 0)
		return;
	p = reader->in.data + reader->taken;
	for (; at < len; at++) {
		size_t have = len - at < sizeof(magic) ? len - at : sizeof(magic);

		if (memcmp(p + at, magic, have) == 0)
			break;
	}
	skip(reader, at);
}

enum pv_err pv_frame_next(struct pv_frame_reader *reader, const uint8_t **payload, size_t *len, struct pv_errmsg *msg)
{
	*payload = NULL;
	*len = 0;
	for (;;) {
		const uint8_t *p;
		size_t have;
		uint32_t size;

		skip_noise(reader, 0);
		if (reader->skipped > PV_FRAME_SKIP_MAX)
			return pv_err_set(msg, PV_ERR_PROTOCOL, "%llu bytes without a frame in them",
			                  (unsigned long long)reader->skipped);
		have = reader->in.len - reader->taken;
		if (have < PV_FRAME_HEADER)
			break;
		p = reader->in.data + reader->taken;
		if (get_le32(p + 12) != pv_crc32c(0, p, 12)) {
			skip_noise(reader, 1);
			continue;
		}
		size = get_le32(p + 4);
		if (size > PV_FRAME_MAX)
			return pv_err_set(msg, PV_ERR_PROTOCOL,
			                  "a frame of %lu bytes was announced, at most %u are allowed",
			                  (unsigned long)size, PV_FRAME_MAX);
		if (have < PV_FRAME_HEADER + size)
			break;
		if (get_le32(p + 8) != pv_crc32c(0, p + PV_FRAME_HEADER, size)) {
			if (++reader->damaged > PV_FRAME_DAMAGED_MAX)
				return pv_err_set(msg, PV_ERR_PROTOCOL, "%u damaged frames in a row", reader->damaged);
			skip_noise(reader, 1);
			continue;
		}
		*payload = p + PV_FRAME_HEADER;
		*len = size;
		reader->taken += PV_FRAME_HEADER + size;
		reader->skipped = 0;
		reader->damaged = 0;
		return PV_OK;
	}
	drop_taken(reader);
	return PV_OK;
}

void pv_frame_reader_free(struct pv_frame_reader *reader)
{
	pv_buf_free(&reader->in);
	memset(reader, 0, sizeof(*reader));
}
