/* Commands of the host that scripts run (os.execute, io.popen): who carries out calls that need no VM.
 *
 * A command is a process in a session of its own, "/bin/sh -c command", killed with its process group when nobody waits for it any more or its file
 * ends. What it writes is read only when a host_read asks for it, so that a command that writes much waits for its reader. */
#ifndef PV_LAB_HOST_RUN_H
#define PV_LAB_HOST_RUN_H

#include "engine/lab/engine.h"

#define PV_HOST_READ_MAX 65536u /* bytes that one host_read gives at most */

struct pv_host;

struct pv_host *pv_host_create(struct pv_engine *engine);
/* Kills what still runs. */
void pv_host_destroy(struct pv_host *host);

/* As the functions of pv_driver_ops. */
void pv_host_start(struct pv_host *host, const Pv__CallStarted *call);
/* A call that was at work when the runner died: nobody knows what became of it. Its outcome is an error. */
void pv_host_lost(struct pv_host *host, uint64_t call);
void pv_host_cancel(struct pv_host *host, uint64_t call);

#endif
