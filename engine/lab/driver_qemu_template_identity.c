/* The UUID of a machine, which its firmware and its kernel have copied into the guest's memory (/sys/class/dmi/id/product_uuid): guests of one template
 * would all have its maker's. So the places are looked for once, and each guest gets its own there before it goes on. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/lab/driver_qemu_template.h"
#include "proto/mem.h"
#include "vmctl/hostfile.h"

#define PLACES_MAX 64u
#define TEXT_LEN   36u
#define WIRE_LEN   16u

/* As SMBIOS 2.6 has it: the first three fields are little-endian. */
static void to_wire(const char *text, uint8_t wire[WIRE_LEN])
{
	static const uint8_t order[WIRE_LEN] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };
	size_t n = 0;

	for (const char *at = text; *at != '\0' && n < WIRE_LEN;) {
		char pair[3] = { at[0], at[1], '\0' };

		if (*at == '-') {
			at++;
			continue;
		}
		wire[order[n++]] = (uint8_t)strtoul(pair, NULL, 16);
		at += 2;
	}
	PV_ASSERT(n == WIRE_LEN);
}

static void add_list(struct pv_buf *out, const struct qemu_identity *identity, bool text)
{
	const char *comma = "";

	for (size_t i = 0; i < identity->n; i++) {
		if (identity->places[i].text != text)
			continue;
		pv_buf_addf(out, "%s%llu", comma, (unsigned long long)identity->places[i].offset);
		comma = ", ";
	}
}

char *qemu_identity_text(const struct qemu_identity *identity)
{
	struct pv_buf out = { 0 };

	pv_buf_addf(&out, "{\"saved_ns\": %llu, \"uuid_text\": [", (unsigned long long)identity->saved_ns);
	add_list(&out, identity, true);
	pv_buf_addf(&out, "], \"uuid_bytes\": [");
	add_list(&out, identity, false);
	pv_buf_addf(&out, "]}\n");
	return pv_buf_steal(&out);
}

static void add_place(struct qemu_identity *identity, bool text, uint64_t offset)
{
	identity->places = pv_xrealloc(identity->places, (identity->n + 1) * sizeof(*identity->places));
	identity->places[identity->n++] = (struct qemu_identity_place){ text, offset };
}

/* Reads numbers up to the bracket. */
static bool parse_list(const char *all, const char *name, bool text, struct qemu_identity *identity)
{
	const char *at = strstr(all, name);
	char *end;

	if (at == NULL)
		return false;
	at += strlen(name);
	while (*at != ']') {
		unsigned long long offset = strtoull(at, &end, 10);

		if (end == at || identity->n == PLACES_MAX)
			return false;
		add_place(identity, text, offset);
		at = end + strspn(end, ", ");
	}
	return true;
}

static bool parse_saved(const char *all, uint64_t *saved_ns)
{
	static const char name[] = "\"saved_ns\": ";
	const char *at = strstr(all, name);

	if (at != NULL)
		*saved_ns = strtoull(at + strlen(name), NULL, 10);
	return at != NULL;
}

enum pv_err qemu_identity_load(const char *path, const struct pv_snapshot *snapshot, struct qemu_identity *identity,
                               struct pv_errmsg *msg)
{
	struct pv_buf text = { 0 };
	enum pv_err err = pv_hostfile_read(path, 64u << 10, &text, msg);

	if (err == PV_OK && (!parse_saved(pv_buf_str(&text), &identity->saved_ns) ||
	                     identity->saved_ns != pv_snapshot_manifest(snapshot)->saved_wall_ns))
		err = pv_err_set(msg, PV_ERR_CORRUPT, "%s is of another snapshot", path);
	if (err == PV_OK && (!parse_list(pv_buf_str(&text), "\"uuid_text\": [", true, identity) ||
	                     !parse_list(pv_buf_str(&text), "\"uuid_bytes\": [", false, identity)))
		err = pv_err_set(msg, PV_ERR_CORRUPT, "%s does not tell where the UUID is", path);
	if (err != PV_OK)
		qemu_identity_free(identity);
	pv_buf_free(&text);
	return err == PV_ERR_NOENT ? PV_ERR_CORRUPT : err;
}

enum pv_err qemu_identity_find(const struct pv_snapshot *snapshot, const char *uuid, struct qemu_identity *identity,
                               struct pv_errmsg *msg)
{
	struct pv_snapshot_hit *hits;
	uint8_t wire[WIRE_LEN];
	const struct pv_bytes needles[] = { { uuid, TEXT_LEN }, { wire, WIRE_LEN } };
	size_t n;
	enum pv_err err;

	to_wire(uuid, wire);
	identity->saved_ns = pv_snapshot_manifest(snapshot)->saved_wall_ns;
	err = pv_snapshot_find(snapshot, needles, 2, &hits, &n, msg);
	if (err == PV_OK && n > PLACES_MAX)
		err = pv_err_set(msg, PV_ERR_UNSUPPORTED, "the UUID is in %zu places of the memory", n);
	for (size_t i = 0; err == PV_OK && i < n; i++)
		add_place(identity, hits[i].needle == 0, hits[i].offset);
	free(hits);
	return err;
}

void qemu_identity_free(struct qemu_identity *identity)
{
	free(identity->places);
	*identity = (struct qemu_identity){ 0 };
}

void qemu_identity_patches(const struct qemu_identity *identity, const char *uuid, struct qemu_patches *out)
{
	memcpy(out->text, uuid, sizeof(out->text));
	to_wire(uuid, out->wire);
	out->n = identity->n;
	out->all = pv_xcalloc(identity->n + 1, sizeof(*out->all));
	for (size_t i = 0; i < identity->n; i++) {
		bool text = identity->places[i].text;

		out->all[i] = (struct pv_machine_patch){
			.offset = identity->places[i].offset,
			.data = text ? (const void *)out->text : out->wire,
			.len = text ? TEXT_LEN : WIRE_LEN,
		};
	}
}
