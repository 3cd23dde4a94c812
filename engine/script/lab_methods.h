/* Methods of a Lab that have files of their own. */
#ifndef PV_SCRIPT_LAB_METHODS_H
#define PV_SCRIPT_LAB_METHODS_H

#include <lauxlib.h>

extern const luaL_Reg pv_lab_member_methods[];
extern const luaL_Reg pv_lab_batch_methods[];
extern const luaL_Reg pv_lab_claim_methods[];
extern const luaL_Reg pv_lab_depends_methods[];
extern const luaL_Reg pv_lab_barrier_methods[];
extern const luaL_Reg pv_lab_save_methods[];
extern const luaL_Reg pv_lab_restore_methods[];
extern const luaL_Reg pv_lab_fixture_methods[];

#endif
