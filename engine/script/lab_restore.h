/* Inside of lab:restore: what its files share. */
#ifndef PV_SCRIPT_LAB_RESTORE_H
#define PV_SCRIPT_LAB_RESTORE_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/core/state.h"
#include "engine/script/lab_frames.h"
#include "engine/script/snapshot.h"
#include "engine/script/undo.h"

#define PV_RESTORE_VM     PV__MEMBER_KIND__MEMBER_KIND_VM
#define PV_RESTORE_BRIDGE PV__MEMBER_KIND__MEMBER_KIND_BRIDGE

struct pv_restored_vm {
	uint32_t vm;   /* 0: to be declared */
	bool has_file; /* was up */
	bool runs;     /* ran */
};

/* User values. */
enum {
	PV_RESTORE_INDEX = 1,
	PV_RESTORE_DIR,
	PV_RESTORE_ERROR,
	PV_RESTORE_HELD,
	PV_RESTORE_MADE,
	PV_RESTORE_COUNT = PV_RESTORE_MADE
};

/* A userdata; every wait lies right above it. */
struct pv_restore {
	const char *what;
	pv_snapshot_then *then;
	uint32_t lab;
	int at;               /* its index */
	struct pv_held *held; /* bridges with frames; by PV_RESTORE_HELD */
	struct pv_buf *made;  /* what was declared for it; by PV_RESTORE_MADE */
	size_t n;
	struct pv_restored_vm vms[];
};

const struct pv_state *pv_restore_state(lua_State *L);

/* ---- lab_restore_index.c: reading lab.json; all that a damaged one can hold raises ---- */

/* Pushes the table that the text of lab.json in `dir` holds. */
void pv_restore_push_json(lua_State *L, const char *what, const char *dir);
_Noreturn void pv_restore_damaged(lua_State *L, const struct pv_restore *plan, const char *reason);
/* The text in a field of the table on top; belongs to the table. NULL: absent. */
const char *pv_restore_text(lua_State *L, const struct pv_restore *plan, const char *key);
const char *pv_restore_need_text(lua_State *L, const struct pv_restore *plan, const char *key);
/* Pushes the array `key` of the index, and gives its length. */
size_t pv_restore_push_list(lua_State *L, const struct pv_restore *plan, const char *key);
/* Pushes entry `i` of the list on top. */
void pv_restore_push_entry(lua_State *L, const struct pv_restore *plan, size_t i);
/* Pushes the path of a file in the directory. */
const char *pv_restore_push_path(lua_State *L, const struct pv_restore *plan, const char *file);
/* 0: there is none yet. */
uint32_t pv_restore_find(lua_State *L, const struct pv_restore *plan, Pv__MemberKind kind, const char *lab,
                         const char *name);

/* ---- lab_restore_check.c ---- */

/* Checks all of it, and fills in the VMs. Nothing changes. */
void pv_restore_check(lua_State *L, struct pv_restore *plan);

/* ---- lab_restore_declare.c ---- */

/* Labs, bridges and VMs that are missing; fills in the VMs. */
void pv_restore_declare(lua_State *L, struct pv_restore *plan);

#endif
