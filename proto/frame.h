/* Frames of the agent channel: how messages of agent.proto travel over a byte stream that may lose its middle.
 *
 * A virtio-serial port keeps no message boundaries, and bytes in flight are lost or cut when either end goes away
 * (QEMU 7.2: a reconnect of the host socket, a reset of the guest). So each frame is self-delimiting and checked:
 *
 *   offset  size  field
 *        0     4  magic "PVA1"
 *        4     4  payload length, little-endian, at most PV_FRAME_MAX
 *        8     4  CRC-32C of the payload, little-endian
 *       12     4  CRC-32C of bytes 0..11, little-endian
 *       16     n  payload: one packed Pva__ToGuest or Pva__ToHost
 *
 * A reader that meets bytes which are no valid header skips to the next magic. A valid header that announces more
 * than PV_FRAME_MAX is a protocol violation (a hostile or foreign peer), not noise. Nothing is allocated from a
 * length that has not been checked.
 */
#ifndef PV_PROTO_FRAME_H
#define PV_PROTO_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "proto/err.h"
#include "proto/mem.h"

#define PV_FRAME_HEADER 16u
#define PV_FRAME_MAX    (1u << 20) /* bytes of payload */
#define PV_FRAME_DAMAGED_MAX                                                                                           \
	16u /* damaged frames in a row before the peer is given up: each costs a CRC of its length */
#define PV_FRAME_SKIP_MAX (4u << 20) /* noise in a row, in bytes, before the peer is given up */

/* Appends one frame around `payload` to `out`. `len` must be at most PV_FRAME_MAX (a bug otherwise). */
void pv_frame_add(struct pv_buf *out, const void *payload, size_t len);

/* Incremental reader. A zeroed struct is ready for use. */
struct pv_frame_reader {
	struct pv_buf in;       /* bytes received and not yet dropped */
	size_t taken;           /* of those, consumed: dropped with the next call */
	unsigned damaged;       /* frames with a bad payload CRC since the last good frame */
	uint64_t skipped;       /* noise bytes skipped since the last good frame */
	uint64_t skipped_total; /* noise bytes skipped since the start */
};

/* Hands `len` received bytes to the reader. */
void pv_frame_feed(struct pv_frame_reader *reader, const void *data, size_t len);

/* Takes the next frame. Returns PV_OK with *payload and *len set (valid until the next call on this reader), or with
 * *payload NULL if more bytes are needed. Errors: PV_ERR_PROTOCOL with the reason in `msg` (length above
 * PV_FRAME_MAX; more than PV_FRAME_SKIP_MAX bytes of noise or PV_FRAME_DAMAGED_MAX damaged frames in a row); the reader must then be thrown away. */
enum pv_err pv_frame_next(struct pv_frame_reader *reader, const uint8_t **payload, size_t *len,
                          struct pv_errmsg *msg) PV_MUST_CHECK;

void pv_frame_reader_free(struct pv_frame_reader *reader);

#endif
