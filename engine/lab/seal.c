/* Payloads as the journal stores them: large ones as blobs beside it, secrets as keyed hashes.
 *
 * Events are built with their bytes inline, since the driver and the waiting script want them. Only while an event is
 * appended and applied do its payloads take the stored form. */
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

#include "engine/lab/engine_internal.h"
#include "journal/journal.h"
#include "proto/mem.h"

static void remember(struct pv_seal *seal, Pv__Payload *payload)
{
	if (seal->n == seal->cap) {
		seal->cap = seal->cap > 0 ? seal->cap * 2 : 4;
		seal->entries = pv_xrealloc(seal->entries, seal->cap * sizeof(*seal->entries));
	}
	seal->entries[seal->n++] = (struct pv_seal_entry){ .payload = payload, .inline_form = *payload };
}

static enum pv_err seal_large(struct pv_engine *engine, Pv__Payload *payload, struct pv_seal *seal,
                              struct pv_errmsg *msg)
{
	uint8_t sha256[PV_SHA256_BYTES];
	enum pv_err err;
	Pv__Blob *blob;

	if (payload == NULL || payload->kind_case != PV__PAYLOAD__KIND_DATA ||
	    payload->data.len <= PV_PAYLOAD_INLINE_MAX)
		return PV_OK;
	err = pv_journal_blob_put(engine->config.journal, payload->data.data, payload->data.len, sha256, msg);
	if (err != PV_OK)
		return err;
	remember(seal, payload);
	blob = pv_xmalloc(sizeof(*blob));
	pv__blob__init(blob);
	blob->has_sha256 = 1;
	blob->sha256.data = pv_xmemdup(sha256, sizeof(sha256));
	blob->sha256.len = sizeof(sha256);
	blob->has_size = 1;
	blob->size = payload->data.len;
	payload->kind_case = PV__PAYLOAD__KIND_BLOB;
	payload->blob = blob;
	return PV_OK;
}

static void seal_secret(struct pv_engine *engine, Pv__Payload *payload, struct pv_seal *seal)
{
	uint8_t *mac;
	unsigned mac_len = PV_SHA256_BYTES;

	if (payload == NULL || payload->kind_case != PV__PAYLOAD__KIND_DATA)
		return;
	mac = pv_xmalloc(PV_SHA256_BYTES);
	if (HMAC(EVP_sha256(), engine->mac_key, sizeof(engine->mac_key), payload->data.data, payload->data.len, mac,
	         &mac_len) == NULL)
		PV_BUG("HMAC-SHA-256 is not available in libcrypto");
	remember(seal, payload);
	payload->kind_case = PV__PAYLOAD__KIND_MAC;
	payload->mac.data = mac;
	payload->mac.len = mac_len;
}

static enum pv_err seal_spec(struct pv_engine *engine, Pv__VmSpec *spec, struct pv_seal *seal, struct pv_errmsg *msg)
{
	for (size_t i = 0; spec != NULL && i < spec->n_files; i++) {
		enum pv_err err = seal_large(engine, spec->files[i]->content, seal, msg);

		if (err != PV_OK)
			return err;
	}
	return PV_OK;
}

static enum pv_err seal_run(struct pv_engine *engine, Pv__RunCall *run, struct pv_seal *seal, struct pv_errmsg *msg)
{
	for (size_t i = 0; i < run->n_env; i++)
		seal_secret(engine, run->env[i]->value, seal);
	return seal_large(engine, run->stdin_data, seal, msg);
}

static enum pv_err seal_intent(struct pv_engine *engine, Pv__CallStarted *call, struct pv_seal *seal,
                               struct pv_errmsg *msg)
{
	switch (call->op_case) {
	case PV__CALL_STARTED__OP_BOOT:
		return seal_spec(engine, call->boot->spec, seal, msg);
	case PV__CALL_STARTED__OP_RESTORE:
		return seal_spec(engine, call->restore->spec, seal, msg);
	case PV__CALL_STARTED__OP_RUN:
		return seal_run(engine, call->run, seal, msg);
	case PV__CALL_STARTED__OP_SPAWN:
		return seal_run(engine, call->spawn->run, seal, msg);
	case PV__CALL_STARTED__OP_WORKER_RUN:
		return seal_run(engine, call->worker_run->run, seal, msg);
	case PV__CALL_STARTED__OP_STDIN_WRITE:
		return seal_large(engine, call->stdin_write->content, seal, msg);
	case PV__CALL_STARTED__OP_HOST_WRITE:
		return seal_large(engine, call->host_write->content, seal, msg);
	case PV__CALL_STARTED__OP_WRITE_SECTORS:
		return seal_large(engine, call->write_sectors->content, seal, msg);
	case PV__CALL_STARTED__OP_WRITE_FILE:
		return seal_large(engine, call->write_file->content, seal, msg);
	default:
		return PV_OK;
	}
}

static enum pv_err seal_outcome(struct pv_engine *engine, Pv__CallEnded *call, struct pv_seal *seal,
                                struct pv_errmsg *msg)
{
	enum pv_err err;

	switch (call->outcome_case) {
	case PV__CALL_ENDED__OUTCOME_RUN:
		err = seal_large(engine, call->run->stdout_data, seal, msg);
		if (err == PV_OK)
			err = seal_large(engine, call->run->stderr_data, seal, msg);
		return err;
	case PV__CALL_ENDED__OUTCOME_DATA:
		return seal_large(engine, call->data, seal, msg);
	case PV__CALL_ENDED__OUTCOME_STREAM_DATA:
		return seal_large(engine, call->stream_data->data, seal, msg);
	default:
		return PV_OK;
	}
}

enum pv_err pv_seal_event(struct pv_engine *engine, Pv__Event *event, struct pv_seal *seal, struct pv_errmsg *msg)
{
	enum pv_err err = PV_OK;

	switch (event->body_case) {
	case PV__EVENT__BODY_VM_DECLARED:
		err = seal_spec(engine, event->vm_declared->spec, seal, msg);
		break;
	case PV__EVENT__BODY_FILE_DISPATCHED:
		err = seal_large(engine, event->file_dispatched->source, seal, msg);
		break;
	case PV__EVENT__BODY_SCRIPT_INPUT:
		err = seal_large(engine, event->script_input->data, seal, msg);
		break;
	case PV__EVENT__BODY_CALL_STARTED:
		err = seal_intent(engine, event->call_started, seal, msg);
		break;
	case PV__EVENT__BODY_CALL_ENDED:
		err = seal_outcome(engine, event->call_ended, seal, msg);
		break;
	default:
		break;
	}
	if (err != PV_OK)
		pv_seal_undo(seal);
	return err;
}

/* ---- and back ---- */

static enum pv_err unseal(struct pv_journal *journal, Pv__Payload *payload, struct pv_errmsg *msg)
{
	void *data;
	size_t len;
	enum pv_err err;

	if (payload == NULL || payload->kind_case != PV__PAYLOAD__KIND_BLOB)
		return PV_OK;
	if (payload->blob->sha256.len != PV_SHA256_BYTES)
		return pv_err_set(msg, PV_ERR_CORRUPT, "an event names a blob without a hash");
	err = pv_journal_blob_get(journal, payload->blob->sha256.data, &data, &len, msg);
	if (err != PV_OK)
		return err;
	pv__blob__free_unpacked(payload->blob, NULL);
	payload->kind_case = PV__PAYLOAD__KIND_DATA;
	payload->data.data = data;
	payload->data.len = len;
	return PV_OK;
}

enum pv_err pv_unseal_event(struct pv_journal *journal, Pv__Event *event, struct pv_errmsg *msg)
{
	Pv__CallEnded *ended = event->call_ended;
	enum pv_err err;

	if (event->body_case == PV__EVENT__BODY_SCRIPT_INPUT)
		return unseal(journal, event->script_input->data, msg);
	if (event->body_case != PV__EVENT__BODY_CALL_ENDED)
		return PV_OK;
	switch (ended->outcome_case) {
	case PV__CALL_ENDED__OUTCOME_RUN:
		err = unseal(journal, ended->run->stdout_data, msg);
		return err == PV_OK ? unseal(journal, ended->run->stderr_data, msg) : err;
	case PV__CALL_ENDED__OUTCOME_DATA:
		return unseal(journal, ended->data, msg);
	case PV__CALL_ENDED__OUTCOME_STREAM_DATA:
		return unseal(journal, ended->stream_data->data, msg);
	default:
		return PV_OK;
	}
}

void pv_seal_undo(struct pv_seal *seal)
{
	for (size_t i = 0; i < seal->n; i++) {
		Pv__Payload *payload = seal->entries[i].payload;

		if (payload->kind_case == PV__PAYLOAD__KIND_BLOB) {
			free(payload->blob->sha256.data);
			free(payload->blob);
		} else {
			free(payload->mac.data);
		}
		*payload = seal->entries[i].inline_form;
	}
	free(seal->entries);
	memset(seal, 0, sizeof(*seal));
}
