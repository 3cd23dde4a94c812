/* Pressure stall information of the host: how much work waits for a CPU. */
#ifndef PV_RUN_PSI_H
#define PV_RUN_PSI_H

#include <stdbool.h>

#define PV_PSI_CPU "/proc/pressure/cpu"

/* `some avg10` of the file at `path`, in percent. False if there is none (old kernel, psi=0). */
bool pv_psi_some_avg10(const char *path, double *percent);

#endif
