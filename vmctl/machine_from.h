/* What a machine that is started for a snapshot and one that was started ahead share. */
#ifndef PV_VMCTL_MACHINE_FROM_H
#define PV_VMCTL_MACHINE_FROM_H

#include "vmctl/machine_internal.h"

/* What of a snapshot is not mapped. */
struct pv_machine_state {
	struct pv_buf devices;
	struct pv_buf firmware;
	struct pv_buf console;
	struct pv_buf patches; /* of the config; each as offset and length (u64 of this host) and its bytes */
};

/* Checks that the machine of `config` can go on from config->from, as far as that is the machine's to check, and reads it. */
enum pv_err pv_machine_state_read(const struct pv_machine_config *config, struct pv_machine_state *state,
                                  struct pv_errmsg *msg) PV_MUST_CHECK;
void pv_machine_state_free(struct pv_machine_state *state);

/* Appends what the guest had written to its console to the log in `dir`; `before`: the log's size until then. */
enum pv_err pv_machine_put_console(const char *dir, const struct pv_buf *text, uint64_t *before,
                                   struct pv_errmsg *msg) PV_MUST_CHECK;

/* The state is on its way to QEMU: the machine is stopped, and `loaded` comes when it is there. Takes firmware and patches out of `state`. */
void pv_machine_loads(struct pv_machine *machine, const char *path, struct pv_machine_state *state,
                      pv_machine_cb *loaded, void *arg);
/* Something has come that the load waited for. */
void pv_machine_check_loaded(struct pv_machine *machine);
/* Asks for the places if nobody has. */
void pv_machine_places_ahead(struct pv_machine *machine);

#endif
