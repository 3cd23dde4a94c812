/* Compressed kernel modules. */
#include <lzma.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "vmctl/image_internal.h"

#define MODULE_MAX (256u << 20) /* bytes, packed or not; the largest drivers have about 30 MB */
#define XZ_MEMORY  (256u << 20)
#define OUT_STEP   (256u << 10)

static bool has_suffix(const char *text, const char *suffix)
{
	size_t len = strlen(text), suffix_len = strlen(suffix);

	return len > suffix_len && !strcmp(text + len - suffix_len, suffix);
}

static enum pv_err unpack_xz(const char *path, const struct pv_buf *packed, struct pv_buf *out, struct pv_errmsg *msg)
{
	lzma_stream lzma = LZMA_STREAM_INIT;
	lzma_ret ret = lzma_stream_decoder(&lzma, XZ_MEMORY, LZMA_CONCATENATED);

	lzma.next_in = packed->data;
	lzma.avail_in = packed->len;
	while (ret == LZMA_OK && out->len <= MODULE_MAX) {
		pv_buf_reserve(out, OUT_STEP);
		lzma.next_out = out->data + out->len;
		lzma.avail_out = OUT_STEP;
		ret = lzma_code(&lzma, LZMA_FINISH);
		out->len += OUT_STEP - lzma.avail_out;
	}
	lzma_end(&lzma);
	if (ret != LZMA_STREAM_END)
		return pv_err_set(msg, PV_ERR_CORRUPT, "cannot unpack %s: damaged xz data (liblzma error %d)", path,
		                  (int)ret);
	return PV_OK;
}

static enum pv_err unpack_zstd(const char *path, const struct pv_buf *packed, struct pv_buf *out, struct pv_errmsg *msg)
{
	ZSTD_DStream *stream = ZSTD_createDStream();
	ZSTD_inBuffer in = { packed->data, packed->len, 0 };
	size_t ret = 1; /* 0: a frame is complete */
	bool stuck = false;

	while ((ret != 0 || in.pos < in.size) && !ZSTD_isError(ret) && !stuck && out->len <= MODULE_MAX) {
		ZSTD_outBuffer to;
		size_t pos = in.pos;

		pv_buf_reserve(out, OUT_STEP);
		to = (ZSTD_outBuffer){ out->data + out->len, OUT_STEP, 0 };
		ret = ZSTD_decompressStream(stream, &to, &in);
		stuck = !ZSTD_isError(ret) && to.pos == 0 && in.pos == pos; /* the data ends too early */
		out->len += to.pos;
	}
	ZSTD_freeDStream(stream);
	if (ret != 0)
		return pv_err_set(msg, PV_ERR_CORRUPT, "cannot unpack %s: damaged zstd data (%s)", path,
		                  ZSTD_isError(ret) ? ZSTD_getErrorName(ret) : "cut off");
	return PV_OK;
}

enum pv_err pv_image_read_unpacked(const char *path, struct pv_buf *out, struct pv_errmsg *msg)
{
	struct pv_buf packed = { 0 };
	enum pv_err err;

	if (has_suffix(path, ".gz"))
		return pv_err_set(msg, PV_ERR_UNSUPPORTED,
		                  "cannot unpack %s: modules compressed with gzip are not supported; unpack them in a "
		                  "copy of the directory (gunzip -r)",
		                  path);
	if (!has_suffix(path, ".xz") && !has_suffix(path, ".zst"))
		return pv_hostfile_read(path, MODULE_MAX, out, msg);
	err = pv_hostfile_read(path, MODULE_MAX, &packed, msg);
	if (!err && has_suffix(path, ".xz"))
		err = unpack_xz(path, &packed, out, msg);
	else if (!err)
		err = unpack_zstd(path, &packed, out, msg);
	pv_buf_free(&packed);
	if (out->data)
		out->data[out->len] = 0;
	return err;
}
