/* What a fixture's key is made of: a list of inputs, each with its kind, its name and its value; and the manifest of a cache entry, which
 * is such a list as JSON. Pure: no file is looked at.
 */
#ifndef PV_RUN_FIXTURE_INPUTS_H
#define PV_RUN_FIXTURE_INPUTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/err.h"
#include "proto/mem.h"

#define PV_FIXTURE_KEY_CHARS 64 /* hexadecimal digits of a key */

/* X(symbol, word): the words are part of keys and manifests. */
#define PV_FIXTURE_INPUT_LIST(X)                                                                                       \
	X(PV_FIXTURE_SOURCE, "source")   /* the builder; name of the fixture; hash of its text */                      \
	X(PV_FIXTURE_HELPER, "helper")   /* module name as required; hash of the text */                               \
	X(PV_FIXTURE_SCRIPT, "script")   /* a Lua file that was loaded by path; path; hash of the text */              \
	X(PV_FIXTURE_NESTED, "fixture")  /* name of the fixture; the key that the scan gives it */                     \
	X(PV_FIXTURE_FILE, "file")       /* path on the host; hash, with cache_identity "stat" also size and mtime */  \
	X(PV_FIXTURE_KERNEL, "kernel")   /* name of the profile; hash */                                               \
	X(PV_FIXTURE_INITRD, "initrd")   /* name of the profile; hash */                                               \
	X(PV_FIXTURE_CMDLINE, "cmdline") /* from here on: name of a profile that is used; the value itself */          \
	X(PV_FIXTURE_MEMORY, "memory")                                                                                 \
	X(PV_FIXTURE_CPUS, "cpus")                                                                                     \
	X(PV_FIXTURE_MACHINE, "machine")                                                                               \
	X(PV_FIXTURE_ACCEL, "accelerator")                                                                             \
	X(PV_FIXTURE_QEMU, "qemu")     /* version */                                                                   \
	X(PV_FIXTURE_AGENT, "agent")   /* hash; "none" if the image brings its own */                                  \
	X(PV_FIXTURE_FORMAT, "format") /* of snapshots */

enum pv_fixture_input_kind {
#define X(symbol, word) symbol,
	PV_FIXTURE_INPUT_LIST(X)
#undef X
};

/* The word of a kind, for people and manifests. */
const char *pv_fixture_input_word(enum pv_fixture_input_kind kind);

/* The value of what is not there. */
#define PV_FIXTURE_ABSENT "absent"

struct pv_fixture_input {
	enum pv_fixture_input_kind kind;
	char *name;
	char *value;
};

/* A zeroed struct is an empty list. */
struct pv_fixture_inputs {
	struct pv_fixture_input *items;
	size_t n;
};

void pv_fixture_inputs_free(struct pv_fixture_inputs *inputs);
/* Adds it unless one of that kind and name is there: the first value stays. True if it was added. */
bool pv_fixture_inputs_add(struct pv_fixture_inputs *inputs, enum pv_fixture_input_kind kind, const char *name,
                           const char *value);
/* NULL if it has none. */
const struct pv_fixture_input *pv_fixture_inputs_find(const struct pv_fixture_inputs *inputs,
                                                      enum pv_fixture_input_kind kind, const char *name);
/* By kind, then by name, bytewise. */
void pv_fixture_inputs_sort(struct pv_fixture_inputs *inputs);
void pv_fixture_inputs_copy(struct pv_fixture_inputs *to, const struct pv_fixture_inputs *from); /* adds all */

/* SHA-256 over both lists, sorted as one; `extra` may be NULL. Their order does not matter. */
void pv_fixture_inputs_key(const struct pv_fixture_inputs *inputs, const struct pv_fixture_inputs *extra,
                           char key[PV_FIXTURE_KEY_CHARS + 1]);

/* Adds a line a difference to `out`, "kind name: what" each: "changed", "new", "no longer an input"; of values that are not hashes both are
 * told. Returns their number. */
size_t pv_fixture_inputs_diff(const struct pv_fixture_inputs *before, const struct pv_fixture_inputs *now,
                              struct pv_buf *out);

/* ---- manifests ---- */

struct pv_fixture_manifest {
	char *fixture; /* name */
	char *kind;    /* "vm" or "lab" */
	char *root;    /* absolute directory: where it was built; for `stale` alone, no part of the key */
	char scan_key[PV_FIXTURE_KEY_CHARS + 1];
	char key[PV_FIXTURE_KEY_CHARS + 1]; /* of the entry: with the extra inputs */
	int64_t built_ns;                   /* CLOCK_REALTIME */
	struct pv_fixture_inputs inputs;    /* that the scan sees */
	struct pv_fixture_inputs extra;     /* that showed while it was built, its nested fixtures' among them */
};

/* The text; the caller frees it. */
char *pv_fixture_manifest_write(const struct pv_fixture_manifest *manifest);
/* `out` is filled on success only. PV_ERR_CORRUPT: no manifest, cut, or its keys are not those of its inputs; PV_ERR_VERSION: of a newer
 * provium. Free with pv_fixture_manifest_free(). */
enum pv_err pv_fixture_manifest_read(const char *text, size_t len, struct pv_fixture_manifest *out,
                                     struct pv_errmsg *msg) PV_MUST_CHECK;
void pv_fixture_manifest_free(struct pv_fixture_manifest *manifest);

#endif
