#include "engine/run/recorded_source.h"

#include <stdlib.h>

enum pv_err pv_recorded_source(struct pv_journal *journal, const Pv__FileDispatched *dispatched, struct pv_buf *out,
                               struct pv_errmsg *msg)
{
	const Pv__Payload *source = dispatched->source;
	enum pv_err err;
	void *data;
	size_t len;

	pv_buf_clear(out);
	pv_buf_reserve(out, 1);
	if (source && source->kind_case == PV__PAYLOAD__KIND_DATA) {
		pv_buf_add(out, source->data.data, source->data.len);
		return PV_OK;
	}
	if (!source || source->kind_case != PV__PAYLOAD__KIND_BLOB || source->blob->sha256.len != PV_SHA256_BYTES)
		return pv_err_set(msg, PV_ERR_NOENT, "the journal does not have the source");
	err = pv_journal_blob_get(journal, source->blob->sha256.data, &data, &len, msg);
	if (err)
		return err;
	pv_buf_add(out, data, len);
	free(data);
	return PV_OK;
}
