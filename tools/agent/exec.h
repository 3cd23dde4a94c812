/* Programs that the host runs: Exec, WriteStdin and ReadOutput. */
#ifndef PV_TOOLS_AGENT_EXEC_H
#define PV_TOOLS_AGENT_EXEC_H

#include <stdint.h>

#include "proto/agent.pb-c.h"

struct call;
struct exec;
struct server;

void pv_exec_start(struct server *server, struct call *call, const Pva__Exec *request);
void pv_exec_write_stdin(struct server *server, struct call *call, const Pva__WriteStdin *request);
void pv_exec_read_output(struct server *server, struct call *call, const Pva__ReadOutput *request);

/* Hooks of the loop; the argument is the server. */
void pv_exec_reap(void *arg);
uint64_t pv_exec_deadline(void *arg);
void pv_exec_expire(void *arg);

/* SIGKILL to the process groups of all programs that run. */
void pv_exec_kill_all(struct server *server);

/* Programs run on and are nobody's: end of file on standard input, what they write is dropped, no time limit. Nobody is answered. */
void pv_exec_disown_all(struct server *server);

/* Makes the pipes of the next program while the host thinks: called when an answer has gone out. Does nothing while a program
 * runs, whose time that would take. */
void pv_exec_prepare(struct server *server);
/* Closes them: before a fork whose child would hold their ends open. */
void pv_exec_drop_prepared(struct server *server);

/* Frees a program that has ended. */
void pv_exec_free(struct server *server, struct exec *exec);

#endif
