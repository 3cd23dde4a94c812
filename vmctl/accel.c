#include "vmctl/accel.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "proto/mem.h"

#define BOUND_MS 800 /* a CPU needs about 5; the rest is for hosts under load */
#define KILL_MS  150

#if defined(__x86_64__)

#define GUEST_BYTES (2u << 20)
#define PML4        0x1000u
#define PDPT        0x2000u
#define PD          0x3000u
#define CODE        0x8000u
#define DATA        0x20000u
#define ROUNDS      2000000u
#define CPUID_MAX   256

/* What the guest runs: a loop with a store and a load in each round, SSE additions, a reload of CR3 and a CPUID, as a
 * kernel's first milliseconds would have. SSE comes first, since software that emulates a CPU for KVM gives up there at
 * once. It leaves 2 * (1 + 2 + ... + ROUNDS) in r8. */
static const uint8_t guest_code[] = {
	0x66, 0x48, 0x0f, 0x6e, 0xc0, /*       movq   xmm0, rax */
	0x66, 0x0f, 0xd4, 0xc0,       /*       paddq  xmm0, xmm0 */
	0xb9, 0x80, 0x84, 0x1e, 0x00, /*       mov    ecx, ROUNDS */
	0xbf, 0x00, 0x00, 0x02, 0x00, /*       mov    edi, DATA */
	0x31, 0xc0,                   /*       xor    eax, eax */
	0x48, 0x01, 0xc8,             /* loop: add    rax, rcx */
	0x48, 0x89, 0x07,             /*       mov    [rdi], rax */
	0x48, 0x8b, 0x07,             /*       mov    rax, [rdi] */
	0x48, 0xff, 0xc9,             /*       dec    rcx */
	0x75, 0xf2,                   /*       jnz    loop */
	0x66, 0x48, 0x0f, 0x6e, 0xc0, /*       movq   xmm0, rax */
	0x66, 0x0f, 0xd4, 0xc0,       /*       paddq  xmm0, xmm0 */
	0x66, 0x49, 0x0f, 0x7e, 0xc0, /*       movq   r8, xmm0 */
	0x0f, 0x20, 0xd8,             /*       mov    rax, cr3 */
	0x0f, 0x22, 0xd8,             /*       mov    cr3, rax */
	0x31, 0xc0,                   /*       xor    eax, eax */
	0x0f, 0xa2,                   /*       cpuid */
	0xf4,                         /*       hlt */
};

#define ANSWER ((uint64_t)ROUNDS * (ROUNDS + 1u))

static void set_code_and_tables(uint8_t *memory)
{
	/* present, writable; the last one maps 2 MiB */
	const uint64_t pml4e = PDPT | 0x3, pdpte = PD | 0x3, pde = 0x83;

	memcpy(memory + PML4, &pml4e, sizeof pml4e);
	memcpy(memory + PDPT, &pdpte, sizeof pdpte);
	memcpy(memory + PD, &pde, sizeof pde);
	memcpy(memory + CODE, guest_code, sizeof guest_code);
}

static struct kvm_segment segment(uint8_t type, uint16_t selector, bool code)
{
	return (struct kvm_segment){
		.limit = 0xffffffff,
		.selector = selector,
		.type = type,
		.present = 1,
		.s = 1,
		.g = 1,
		.l = code,
		.db = !code,
	};
}

static int set_long_mode(int vcpu)
{
	struct kvm_sregs sregs;
	struct kvm_regs regs = { .rip = CODE, .rflags = 0x2 };

	if (ioctl(vcpu, KVM_GET_SREGS, &sregs) < 0)
		return -1;
	sregs.cs = segment(0xb, 0x8, true);
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = segment(0x3, 0x10, false);
	sregs.cr3 = PML4;
	sregs.cr4 = 0x20 | 0x200;                /* PAE, OSFXSR */
	sregs.cr0 = 0x80000000 | 0x10000 | 0x33; /* PG, WP, NE, ET, MP, PE */
	sregs.efer = 0x400 | 0x100;              /* LMA, LME */
	if (ioctl(vcpu, KVM_SET_SREGS, &sregs) < 0)
		return -1;
	return ioctl(vcpu, KVM_SET_REGS, &regs);
}

static int set_cpuid(int kvm, int vcpu)
{
	struct kvm_cpuid2 *cpuid = pv_xcalloc(1, sizeof *cpuid + CPUID_MAX * sizeof cpuid->entries[0]);
	int rc;

	cpuid->nent = CPUID_MAX;
	rc = ioctl(kvm, KVM_GET_SUPPORTED_CPUID, cpuid);
	if (rc == 0)
		rc = ioctl(vcpu, KVM_SET_CPUID2, cpuid);
	free(cpuid);
	return rc;
}

/* The rest of the probe runs in a child: the process that dies or hangs in the kernel is not the runner. It writes its sentence
 * into shared memory. */
_Noreturn static void child_fails(char *why, size_t size, const char *what)
{
	snprintf(why, size, "KVM cannot %s: %s", what, strerror(errno));
	_exit(1);
}

static int child_makes_vcpu(int kvm, char *why, size_t size)
{
	uint8_t *memory = mmap(NULL, GUEST_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct kvm_userspace_memory_region region = {
		.memory_size = GUEST_BYTES,
		.userspace_addr = (uintptr_t)memory,
	};
	int vm, vcpu;

	if (memory == MAP_FAILED)
		child_fails(why, size, "get memory for a guest");
	set_code_and_tables(memory);
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm < 0)
		child_fails(why, size, "make a VM");
	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		child_fails(why, size, "give a VM memory");
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	if (vcpu < 0)
		child_fails(why, size, "make a vCPU");
	if (set_cpuid(kvm, vcpu) < 0 || set_long_mode(vcpu) < 0)
		child_fails(why, size, "put a vCPU into 64-bit mode");
	return vcpu;
}

_Noreturn static void child_probes(int kvm, char *why, size_t size)
{
	int vcpu = child_makes_vcpu(kvm, why, size);
	int run_bytes = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	struct kvm_regs regs;
	struct kvm_run *run;

	if (run_bytes < (int)sizeof *run)
		child_fails(why, size, "tell the size of its run structure");
	run = mmap(NULL, (size_t)run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (run == MAP_FAILED)
		child_fails(why, size, "map its run structure");
	if (ioctl(vcpu, KVM_RUN, 0) < 0)
		child_fails(why, size, "run a vCPU");
	if (run->exit_reason == KVM_EXIT_INTERNAL_ERROR) {
		snprintf(why, size, "KVM ended a small 64-bit guest with an internal error (suberror %u)",
		         run->internal.suberror);
		_exit(1);
	}
	if (run->exit_reason != KVM_EXIT_HLT) {
		snprintf(why, size, "KVM ended a small 64-bit guest before its HLT (exit reason %u)", run->exit_reason);
		_exit(1);
	}
	if (ioctl(vcpu, KVM_GET_REGS, &regs) < 0)
		child_fails(why, size, "read a vCPU's registers");
	if (regs.r8 != ANSWER) {
		snprintf(why, size, "KVM ran a small 64-bit guest wrongly: it computed %llu instead of %llu",
		         (unsigned long long)regs.r8, (unsigned long long)ANSWER);
		_exit(1);
	}
	_exit(0);
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static bool ends_within(int pidfd, unsigned ms)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	uint64_t deadline_ms = now_ms() + ms, now;
	int rc;

	do {
		now = now_ms();
		rc = poll(&p, 1, now < deadline_ms ? (int)(deadline_ms - now) : 0);
	} while (rc < 0 && errno == EINTR);
	return rc > 0;
}

/* True if the child has ended well. */
static bool judge(pid_t pid, int pidfd, const char *child_why, struct pv_errmsg *why)
{
	int status = 0;

	if (!ends_within(pidfd, BOUND_MS)) {
		kill(pid, SIGKILL);
		if (ends_within(pidfd, KILL_MS))
			waitpid(pid, NULL, WNOHANG);
		pv_err_set(why, PV_ERR_UNSUPPORTED,
		           "KVM does not run guest code at the speed of a CPU: a loop of %u rounds, which takes some "
		           "milliseconds, did not end within %u ms, so /dev/kvm is an emulation here",
		           ROUNDS, BOUND_MS);
		return false;
	}
	waitpid(pid, &status, WNOHANG);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return true;
	if (WIFSIGNALED(status))
		pv_err_set(why, PV_ERR_UNSUPPORTED, "a process that ran a vCPU under KVM was killed by signal %d",
		           WTERMSIG(status));
	else
		pv_err_set(why, PV_ERR_UNSUPPORTED, "%s", child_why);
	return false;
}

static bool probe(int kvm, struct pv_errmsg *why)
{
	const size_t size = 256;
	char *child_why = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	bool works = false;
	int pidfd;
	pid_t pid;

	if (child_why == MAP_FAILED) {
		pv_err_sys(why, PV_ERR_IO, errno, "KVM was not tried, no shared memory");
		return false;
	}
	pid = fork();
	if (pid == 0)
		child_probes(kvm, child_why, size);
	pidfd = pid < 0 ? -1 : pidfd_open(pid, 0);
	if (pidfd < 0) {
		pv_err_sys(why, PV_ERR_IO, errno, "KVM was not tried, no process for it");
		if (pid > 0) {
			kill(pid, SIGKILL);
			waitpid(pid, NULL, 0);
		}
	} else {
		works = judge(pid, pidfd, child_why, why);
		close(pidfd);
	}
	munmap(child_why, size);
	return works;
}

static bool try_kvm(struct pv_errmsg *why)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), version;
	bool works = false;

	if (kvm < 0) {
		pv_err_sys(why, PV_ERR_UNSUPPORTED, errno, "/dev/kvm cannot be opened");
		return false;
	}
	version = ioctl(kvm, KVM_GET_API_VERSION, 0);
	if (version != KVM_API_VERSION)
		pv_err_set(why, PV_ERR_UNSUPPORTED, "/dev/kvm speaks version %d instead of %d", version,
		           KVM_API_VERSION);
	else
		works = probe(kvm, why);
	close(kvm);
	return works;
}

#else

static bool try_kvm(struct pv_errmsg *why)
{
	pv_err_set(why, PV_ERR_UNSUPPORTED, "this build can try KVM on x86-64 only");
	return false;
}

#endif

bool pv_accel_kvm_works(struct pv_errmsg *why)
{
	static struct pv_errmsg *reason; /* of the first answer, which holds for the life of the process */
	static bool works;

	if (!reason) {
		reason = PV_NEW(struct pv_errmsg);
		works = try_kvm(reason);
	}
	if (!works && why)
		*why = *reason;
	return works;
}
