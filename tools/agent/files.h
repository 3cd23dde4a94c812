/* Files that the host reads and writes: ReadFile and WriteFile. */
#ifndef PV_TOOLS_AGENT_FILES_H
#define PV_TOOLS_AGENT_FILES_H

#include "proto/agent.pb-c.h"

struct call;
struct server;

void pv_files_read(struct server *server, struct call *call, const Pva__ReadFile *request);
void pv_files_write(struct server *server, struct call *call, const Pva__WriteFile *request);

/* Closes the files that are kept open between two pieces: nobody will ask for the next one. */
void pv_files_forget(struct server *server);

#endif
