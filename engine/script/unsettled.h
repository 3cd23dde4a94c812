/* VMs and bridges that a lab's snapshot or restore has in hand: stopped, or half way back. If its task is cancelled they are settled at the end of the test:
 * they run on, or go down. */
#ifndef PV_SCRIPT_UNSETTLED_H
#define PV_SCRIPT_UNSETTLED_H

#include <stdbool.h>
#include <stdint.h>

struct pv_script;
struct pv_unsettled;

/* `down`: what is to become of it; else it is to run on. */
void pv_unsettled_add(struct pv_script *script, uint32_t vm, bool down);
/* It is where it should be. Unknown ones are ignored. */
void pv_unsettled_remove(struct pv_script *script, uint32_t vm);

/* The same for a bridge whose time stands still: it goes on. */
void pv_unsettled_add_bridge(struct pv_script *script, uint32_t bridge);
void pv_unsettled_remove_bridge(struct pv_script *script, uint32_t bridge);

/* The same for a directory that is being made (copied): it is removed. */
void pv_unsettled_add_dir(struct pv_script *script, const char *dir);
void pv_unsettled_remove_dir(struct pv_script *script, const char *dir);

/* Goes on settling; true if there is nothing left to do. Else a turn of the script follows. Behind the last task of a test. */
bool pv_unsettled_settle(struct pv_script *script);

void pv_unsettled_destroy(struct pv_script *script);

#endif
