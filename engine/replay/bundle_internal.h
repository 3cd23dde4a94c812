/* Private to bundles: the archive's bytes. */
#ifndef PV_REPLAY_BUNDLE_INTERNAL_H
#define PV_REPLAY_BUNDLE_INTERNAL_H

#include "engine/replay/bundle.h"

#define PV_BUNDLE_MARKER  "provium-bundle"
#define PV_BUNDLE_JOURNAL "journal.mdb"
#define PV_BUNDLE_FORMAT  1

/* Small files beside a journal that go with it, where they are. */
#define PV_BUNDLE_NOTES                                                                                                \
	{                                                                                                              \
		"checkpoint", "redactions"                                                                             \
	}
#define PV_BUNDLE_NOTE_COUNT 2
#define PV_BUNDLE_NOTE_MAX   (1u << 20)

#define PV_TAR_BLOCK 512

/* One block of a tar archive. */
struct pv_tar_header {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100];
	char magic[6], version[2], user[32], group[32], major[8], minor[8], prefix[155], rest[12];
};
_Static_assert(sizeof(struct pv_tar_header) == PV_TAR_BLOCK, "a header is one block");

/* Sum of the bytes, those of the checksum itself as blanks. */
unsigned pv_tar_checksum(const struct pv_tar_header *header);

#endif
