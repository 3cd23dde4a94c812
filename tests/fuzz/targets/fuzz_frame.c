/* The frame reader: any bytes in any pieces give whole frames, noise or a violation; what it holds stays bounded. */
#include <stdint.h>
#include <stdlib.h>

#include "proto/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pv_frame_reader reader = { 0 };
	const uint8_t *payload;
	size_t len, piece = size > 0 ? 1u + data[0] : 1;
	struct pv_errmsg msg;

	for (size_t at = 0; at < size; at += piece) {
		pv_frame_feed(&reader, data + at, size - at < piece ? size - at : piece);
		do {
			if (pv_frame_next(&reader, &payload, &len, &msg) != PV_OK)
				goto out;
			if (payload != NULL && len > PV_FRAME_MAX)
				abort();
		} while (payload != NULL);
		if (reader.in.len > PV_FRAME_HEADER + PV_FRAME_MAX + piece)
			abort();
	}
out:
	pv_frame_reader_free(&reader);
	return 0;
}
