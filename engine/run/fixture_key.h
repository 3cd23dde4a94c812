/* The key of a fixture as the scan of its sources gives it: names found, files and images hashed, versions asked.
 *
 * With cache_identity "stat" a host file counts with path, size, mtime and content, and the kernel and initrd of every profile count. With
 * "content" names are relative to the root of the fixture (unless the source itself names an absolute path), files count by content,
 * and profiles only if they are used. Blocks while it reads; what was hashed is remembered while the files do not change.
 */
#ifndef PV_RUN_FIXTURE_KEY_H
#define PV_RUN_FIXTURE_KEY_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/lab/profile.h"
#include "engine/run/fixture_inputs.h"
#include "engine/run/fixture_name.h"
#include "proto/err.h"

/* What keys depend on beside the sources. Borrowed by what is made from it. */
struct pv_fixture_world {
	const char *const *roots; /* absolute, in their order: the first that has a name wins */
	size_t n_roots;
	const struct pv_profile *profiles;
	size_t n_profiles;
	const char *accel; /* --accel; NULL: the profile's */
	const char *agent; /* provium-agent, for profiles without an overlay of their own */
	bool by_content;   /* cache_identity = "content" */
	/* Asked once a binary and once in all; NULL: pv_qemu_version(), pv_accel_kvm_works(). */
	enum pv_err (*qemu_version)(const char *qemu, char out[32], struct pv_errmsg *msg);
	bool (*kvm_works)(struct pv_errmsg *why);
};

struct pv_fixture_keys;

struct pv_fixture_keys *pv_fixture_keys_create(const struct pv_fixture_world *world);
void pv_fixture_keys_destroy(struct pv_fixture_keys *keys); /* NULL is fine */
const struct pv_fixture_world *pv_fixture_keys_world(const struct pv_fixture_keys *keys);

/* The inputs that the scan sees, sorted, and where the builder is. Inputs that cannot be had count as absent (building tells then what is
 * wrong). PV_ERR_NOENT, PV_ERR_INVAL: see pv_fixture_find(); PV_ERR_STATE: fixtures that need each other, with the chain ("a -> b -> a").
 * On success the caller frees out and place->path. */
enum pv_err pv_fixture_key(struct pv_fixture_keys *keys, const char *name, struct pv_fixture_inputs *out,
                           struct pv_fixture_place *place, struct pv_errmsg *msg) PV_MUST_CHECK;

/* The value that an input has now, for a fixture below `root`. The caller frees it. */
char *pv_fixture_value(struct pv_fixture_keys *keys, const char *root, enum pv_fixture_input_kind kind,
                       const char *name);

/* The name under which a host file counts: `path` absolute, what is opened; `given`, the path as the script has it. The caller frees it. */
char *pv_fixture_file_name(const struct pv_fixture_keys *keys, const char *root, const char *given, const char *path);

/* The file that `module` means by the roots; NULL if none has it. The caller frees it. */
char *pv_fixture_module(const struct pv_fixture_keys *keys, const char *module);

#endif
