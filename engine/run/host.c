#include "engine/run/host.h"

#include <unistd.h>

uint64_t pv_host_memory_bytes(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);

	return pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : 0;
}

uint32_t pv_host_cpus(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	return n > 0 ? (uint32_t)n : 1;
}

struct pv_amount pv_host_pool(uint64_t mem_bytes, uint32_t cpus, double overcommit)
{
	double vcpus = cpus > 0 ? cpus : pv_host_cpus();

	if (overcommit > 0 && overcommit < PV_CPU_OVERCOMMIT_MIN)
		overcommit = PV_CPU_OVERCOMMIT_MIN;
	if (overcommit > PV_CPU_OVERCOMMIT_MAX)
		overcommit = PV_CPU_OVERCOMMIT_MAX;
	if (overcommit > 0)
		vcpus *= overcommit;
	return (struct pv_amount){
		.memory_bytes = mem_bytes > 0 ? mem_bytes : pv_host_memory_bytes() / 5 * 4,
		.cpus = vcpus < 1             ? 1
		        : vcpus >= UINT32_MAX ? UINT32_MAX
		                              : (uint32_t)vcpus,
	};
}
