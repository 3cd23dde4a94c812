/* What the script of a fixture's builder takes in: told to whoever builds. */
#ifndef PV_SCRIPT_SAW_H
#define PV_SCRIPT_SAW_H

#include "engine/script/script.h"

/* As the function of pv_script_builder; nothing in a script that builds no fixture. A relative `path` counts from the current directory. */
void pv_script_saw(struct pv_script *script, enum pv_script_saw what, const char *given, const char *path);

#endif
