/* CRC-32C (Castagnoli, reflected polynomial 0x82F63B78, RFC 3720 appendix B.4), by SSE4.2 where the CPU has it. */
#ifndef PV_PROTO_CRC32C_H
#define PV_PROTO_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The CRC of `len` bytes, continuing from `crc`; start with 0. pv_crc32c(0, "123456789", 9) is 0xE3069283. */
uint32_t pv_crc32c(uint32_t crc, const void *data, size_t len);

/* The same without the instruction, as on a CPU that lacks it. For tests. */
uint32_t pv_crc32c_by_table(uint32_t crc, const void *data, size_t len);

#endif
