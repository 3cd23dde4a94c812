/* Finds the kernel's report of a panic in what a Linux guest writes to its console. Pure. */
#ifndef PV_VMCTL_PANIC_H
#define PV_VMCTL_PANIC_H

#include <stdbool.h>
#include <stddef.h>

#define PV_PANIC_LINE_MAX 512 /* bytes; the rest of a longer line is not looked at */

enum pv_panic_state {
	PV_PANIC_NONE,
	PV_PANIC_BEGUN, /* the line "Kernel panic - not syncing: ..." is complete; a backtrace may follow */
	PV_PANIC_DONE,  /* the kernel has said all it will ("---[ end Kernel panic") */
};

/* A zeroed struct is ready for use. */
struct pv_panic {
	enum pv_panic_state state;
	char text[PV_PANIC_LINE_MAX + 1]; /* from "Kernel panic" to the end of the line, once BEGUN */
	char line[PV_PANIC_LINE_MAX + 1]; /* the line being read */
	size_t line_len;
};

/* Hands over console output in pieces of any size; true if `state` has changed.
 * A line counts if the kernel could have written it: "Kernel panic - not syncing" stands at its start, or after the "] " of a
 * printk timestamp. So a program that prints the words in mid-line is not taken for a panic. */
bool pv_panic_feed(struct pv_panic *panic, const void *data, size_t len);

#endif
