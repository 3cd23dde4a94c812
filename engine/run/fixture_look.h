/* Looking a fixture up in the cache, and the name under which a built one is installed.
 *
 * The scan of the sources gives the *scan key*: it is known before anything runs, and who builds holds its lock. Inputs that show only while
 * building (computed paths and names) are reported by the builder's run. If there are none, the entry's key is the scan key; else it is
 * the SHA-256 over both, so that an entry never stands for something else and two checkouts do not fight for one place. The manifest beside
 * the entry tells its scan key and which extra inputs it had: a look-up hashes those again, and hits if the key comes out the same.
 * A nested fixture counts by its scan key; its extra inputs are extra inputs of all that is built on it.
 *
 *   pv_fixture_look()      hit: restore from look.path
 *   | miss                 pv_store_lock(look.scan_key) -> pv_fixture_look() again -> run the builder at look.builder
 *   |                      while it runs: pv_fixture_saw_...() for all that it uses
 *   | pv_fixture_sign()    look.key and the manifest's text for pv_store_install(); then pv_store_unlock()
 *   pv_fixture_look_free()
 */
#ifndef PV_RUN_FIXTURE_LOOK_H
#define PV_RUN_FIXTURE_LOOK_H

#include <stdbool.h>

#include "engine/run/fixture_key.h"
#include "vmctl/snapshot_store.h"

struct pv_fixture_look {
	char *name;
	enum pv_store_kind kind;
	char *builder;    /* absolute path of its file */
	const char *root; /* the root that has it; of the world */
	char scan_key[PV_FIXTURE_KEY_CHARS + 1];
	struct pv_fixture_inputs inputs; /* by the scan */
	struct pv_fixture_inputs
	    extra; /* of a hit: the manifest's, for what is built on it; of a miss: none at first */

	bool hit;
	char key[PV_FIXTURE_KEY_CHARS + 1]; /* of the entry: a hit, a corrupt one, or what was signed; else "" */
	char *path;                         /* of the entry, a hit only */
	bool corrupt; /* an entry is there but damaged, see `why`: warn, pv_store_remove(key), build */
	char *why;    /* of a miss, lines: "never built", or each changed input */
};

/* Errors as of pv_fixture_key(), and PV_ERR_IO of the cache. `out` is filled on success only; free it with pv_fixture_look_free().
 * Does not mark the entry as used: pv_store_touch() when it is restored. */
enum pv_err pv_fixture_look(struct pv_fixture_keys *keys, struct pv_store *store, const char *name,
                            enum pv_store_kind kind, struct pv_fixture_look *out, struct pv_errmsg *msg) PV_MUST_CHECK;
void pv_fixture_look_free(struct pv_fixture_look *look); /* zeroed is fine */

/* ---- while the builder runs; what the scan saw already adds nothing ---- */

/* depends_on_file, push_file (but with auto_dep = false): the path as the script gave it, and what is opened. Call it before the file is
 * read: it is hashed now. */
void pv_fixture_saw_file(struct pv_fixture_keys *keys, struct pv_fixture_look *look, const char *given,
                         const char *path);
/* require: the module, and the file that it was found in. */
void pv_fixture_saw_module(struct pv_fixture_keys *keys, struct pv_fixture_look *look, const char *module,
                           const char *path);
/* dofile, loadfile: the path as the script gave it, which counts from the current directory. */
void pv_fixture_saw_script(struct pv_fixture_keys *keys, struct pv_fixture_look *look, const char *path);
/* lab:vm with it. */
void pv_fixture_saw_profile(struct pv_fixture_keys *keys, struct pv_fixture_look *look, const char *profile);
/* vm_fixture, lab_fixture in the builder, when that is there: a hit, or signed. */
void pv_fixture_saw_fixture(struct pv_fixture_keys *keys, struct pv_fixture_look *look,
                            const struct pv_fixture_look *nested);

/* The builder is done: fills look->key and gives the manifest's text, which the caller frees. PV_ERR_STATE if an input changed while it ran
 * (the message says which): what was built belongs to no key, build again. */
enum pv_err pv_fixture_sign(struct pv_fixture_keys *keys, struct pv_fixture_look *look, char **manifest,
                            struct pv_errmsg *msg) PV_MUST_CHECK;

#endif
