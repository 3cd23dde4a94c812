/* A profile: what a VM of that name boots, as provium.toml or the built default guest gives it. Plain data. */
#ifndef PV_LAB_PROFILE_H
#define PV_LAB_PROFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pv_profile {
	char *name;
	char *kernel; /* absolute paths */
	char *initrd;
	char *cmdline;
	bool inject_agent;
	char *agent_overlay; /* NULL: the agent beside the binary */
	char *modules;       /* NULL: drivers built into the kernel */
	uint64_t memory_bytes;
	uint32_t cpus;
	char *machine; /* QEMU machine type */
	char *accel;   /* "auto", "kvm", "tcg" */
	char *qemu;
	bool net; /* false: net = "none" */
};

#endif
