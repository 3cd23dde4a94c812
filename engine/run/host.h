/* What the host has to give, and what of it a run may use. */
#ifndef PV_RUN_HOST_H
#define PV_RUN_HOST_H

#include <stdint.h>

#include "engine/core/state.h"

#define PV_CPU_OVERCOMMIT_MIN 0.5
#define PV_CPU_OVERCOMMIT_MAX 8.0

uint64_t pv_host_memory_bytes(void);
uint32_t pv_host_cpus(void); /* online ones */

/* The pool of a run: `mem_bytes` 0: 80 % of the host's memory; `cpus` 0: those of the host; `overcommit` multiplies the vCPUs, is clamped,
 * and 0 stands for 1. At least 1 vCPU. */
struct pv_amount pv_host_pool(uint64_t mem_bytes, uint32_t cpus, double overcommit);

#endif
