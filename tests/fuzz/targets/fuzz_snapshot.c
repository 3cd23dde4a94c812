/* Snapshot files that someone forged: opened or refused, read and unpacked or refused. An even first byte: the rest is a file as it is. Odd: two bytes
 * of length, a manifest, and what lies in front of it; the checksums are put right, so that what is behind them is reached. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proto/crc32c.h"
#include "vmctl/snapshot_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put_right(Pvs__Section *section, const uint8_t *file, size_t len)
{
	if (!section || section->offset > len || section->size > len - section->offset)
		return;
	section->has_crc32c = true;
	section->crc32c = pv_crc32c(0, file + section->offset, section->size);
}

static void put_manifest_right(Pvs__Manifest *manifest, const struct pv_buf *file)
{
	put_right(manifest->devices, file->data, file->len);
	put_right(manifest->firmware, file->data, file->len);
	put_right(manifest->console, file->data, file->len);
	for (size_t i = 0; i < manifest->n_memory_chunks; i++)
		put_right(manifest->memory_chunks[i], file->data, file->len);
}

static void make_file(const uint8_t *data, size_t size, struct pv_buf *file)
{
	struct pv_snapshot_footer footer = { .kind = PV_SNAPSHOT_PACKED };
	size_t len = size > 2 ? (size_t)(data[1] | data[2] << 8) : 0;
	uint8_t end[PV_SNAPSHOT_FOOTER_BYTES];
	Pvs__Manifest *manifest;

	if (size < 3 || len > size - 3)
		return;
	if ((data[0] & 2) != 0)
		footer.kind = PV_SNAPSHOT_MAPPABLE;
	manifest = pvs__manifest__unpack(NULL, len, data + 3);
	pv_buf_add(file, data + 3 + len, size - 3 - len);
	footer.manifest_at = file->len;
	if (manifest) {
		put_manifest_right(manifest, file);
		footer.manifest_bytes = (uint32_t)pvs__manifest__get_packed_size(manifest);
		pv_buf_reserve(file, footer.manifest_bytes);
		pvs__manifest__pack(manifest, file->data + file->len);
		pvs__manifest__free_unpacked(manifest, NULL);
	} else {
		footer.manifest_bytes = (uint32_t)len;
		pv_buf_reserve(file, len);
		memcpy(file->data + file->len, data + 3, len);
	}
	footer.manifest_crc = pv_crc32c(0, file->data + file->len, footer.manifest_bytes);
	file->len += footer.manifest_bytes;
	footer.file_bytes = file->len + sizeof(end);
	pv_snapshot_footer_encode(&footer, end);
	pv_buf_add(file, end, sizeof(end));
}

static void read_all(const struct pv_snapshot *snapshot)
{
	const Pvs__Manifest *manifest = pv_snapshot_manifest(snapshot);
	const Pvs__Section *sections[] = { manifest->devices, manifest->firmware, manifest->console };
	struct pv_buf out = { 0 };
	struct pv_errmsg msg;
	char path[64];

	for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++)
		if (pv_snapshot_read(snapshot, sections[i], &out, &msg) != PV_OK && msg.text[0] == '\0')
			abort();
	pv_buf_free(&out);
	(void)snprintf(path, sizeof(path), "/dev/shm/pv-fuzz-%d", (int)getpid());
	if (!pv_snapshot_is_mappable(snapshot) && pv_snapshot_unpack(snapshot, path, NULL, &msg) == PV_OK)
		unlink(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pv_snapshot *snapshot;
	struct pv_buf file = { 0 };
	struct pv_errmsg msg;
	int fd;

	if (size > 0 && (data[0] & 1) != 0)
		make_file(data, size, &file);
	else if (size > 0)
		pv_buf_add(&file, data + 1, size - 1);
	fd = memfd_create("fuzz", MFD_CLOEXEC);
	if (fd < 0 || pv_snapshot_write_at(fd, "fuzz", file.data, file.len, 0, &msg) != PV_OK)
		abort();
	pv_buf_free(&file);
	if (pv_snapshot_open_fd(fd, "fuzz", &snapshot, &msg) != PV_OK)
		return 0;
	read_all(snapshot);
	pv_snapshot_close(snapshot);
	return 0;
}
