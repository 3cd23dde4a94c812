/* The command line of QEMU for a machine: a pure function, so that it can be read and tested. */
#ifndef PV_VMCTL_QEMU_ARGS_H
#define PV_VMCTL_QEMU_ARGS_H

#include "vmctl/machine.h"

struct pv_qemu_fds {
	int qmp; /* numbers in the QEMU process of listening unix sockets */
	int agent;
	int console;
	int keeper;   /* the second monitor */
	int memory;   /* with config->from: the file that the guest's memory is mapped from, */
	int incoming; /* and where the device state is read from */
};

/* NULL-terminated argv; free with pv_qemu_args_free(). Names and paths are quoted for QEMU's option syntax (a comma is
 * doubled). With config->from the machine waits for its device state and then for "cont". `console_log` NULL: the console leads nowhere (fds->console is not
 * looked at). */
char **pv_qemu_args(const struct pv_machine_config *config, const struct pv_qemu_fds *fds, const char *console_log);
void pv_qemu_args_free(char **argv);

/* Version of a binary ("7.2.19") by `qemu --version`, waited for at most 10 s, and remembered until the file changes. PV_ERR_NOENT if it is not there,
 * PV_ERR_VERSION if it is older than 7.2 (message says both versions and what to install), PV_ERR_FOREIGN if it is no
 * QEMU. Blocks. */
enum pv_err pv_qemu_version(const char *qemu, char out[32], struct pv_errmsg *msg) PV_MUST_CHECK;

#endif
