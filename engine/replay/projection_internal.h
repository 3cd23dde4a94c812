/* Private to the projection: what it remembers, and its parts. */
#ifndef PV_REPLAY_PROJECTION_INTERNAL_H
#define PV_REPLAY_PROJECTION_INTERNAL_H

#include <json-c/json.h>
#include <stdbool.h>
#include <uthash.h>

#include "engine/replay/projection.h"

struct projected_file {
	uint32_t id;
	char *path;      /* of a builder: of the file that asked */
	bool is_builder; /* of a fixture: no file of the channel */
	bool dispatched;
	uint64_t void_before;
	uint32_t test; /* running */
	uint32_t attempt;
	char *test_name;
	struct json_object *meta;
	UT_hash_handle hh;
};

/* A VM as far as its uptime goes. */
struct projected_vm {
	uint32_t id;
	uint32_t file;
	char *name;
	char *profile;
	bool up;
	uint64_t up_since_ns;
	uint32_t life;      /* how often it went down */
	uint64_t lifecycle; /* call that moves it; 0: none */
	bool stopping;      /* that call is a shutdown */
	UT_hash_handle hh;
};

struct projected_call {
	uint64_t id;
	uint32_t vm;
	uint32_t life;
	bool is_boot, is_shutdown, is_lifecycle;
	UT_hash_handle hh;
};

struct retried_test {
	uint32_t id;
	UT_hash_handle hh;
};

struct pv_projection {
	struct projected_file *files;
	struct projected_vm *vms;
	struct projected_call *calls;
	struct retried_test *retried;
};

struct projected_file *pv_projected_file(const struct pv_projection *projection, uint32_t id);
const char *pv_projected_path(const struct pv_projection *projection, uint32_t file);

/* projection_vms.c: a payload and its kind, or NULL. */
struct json_object *pv_projection_vm_event(struct pv_projection *projection, const Pv__Event *event, const char **kind);
void pv_projection_forget_vms(struct pv_projection *projection, uint32_t file); /* 0: all */

/* A value of test metadata. NULL is JSON's null. */
struct json_object *pv_projection_value(const Pv__Value *value);
/* That of a whole table; `{}` for none, and for an empty one. */
struct json_object *pv_projection_meta(const Pv__Value *value);

#endif
