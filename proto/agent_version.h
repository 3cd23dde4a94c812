/* Version of the agent protocol (agent.proto and frame.h) spoken by this build. */
#ifndef PV_PROTO_AGENT_VERSION_H
#define PV_PROTO_AGENT_VERSION_H

#define PV_AGENT_PROTOCOL 1u

#define PV_AGENT_PORT_NAME   "org.provium.agent.0" /* name of the virtio-serial port */
#define PV_AGENT_DATA_MAX    (768u << 10)          /* bytes in one Data, WriteFile or WriteStdin */
#define PV_AGENT_HEAD_MAX    (256u << 10)          /* bytes of each stream that ExecDone carries itself */
#define PV_AGENT_OUTPUT_MAX  (64u << 20)           /* bytes of output kept for each stream of an Exec or process */
#define PV_AGENT_OUTPUT_REST (1u << 20) /* of a process also what was left in a pipe at its end, up to so much */

#endif
