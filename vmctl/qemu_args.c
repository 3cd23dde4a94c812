#include "vmctl/qemu_args.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "proto/agent_version.h"
#include "proto/mem.h"

/* Addresses are fixed, so that a snapshot finds every device where it was. 1 is the chipset's; from 0x10 on lies what is
 * plugged in later. */
#define SERIAL_ADDR "0x3"
#define RNG_ADDR    "0x4"

struct args {
	char **v;
	size_t n;
};

static void take(struct args *args, char *text)
{
	args->v = pv_xrealloc(args->v, (args->n + 2) * sizeof *args->v);
	args->v[args->n++] = text;
	args->v[args->n] = NULL;
}

static void add(struct args *args, const char *option, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static void add(struct args *args, const char *option, const char *fmt, ...)
{
	va_list ap;

	take(args, pv_xstrdup(option));
	va_start(ap, fmt);
	take(args, pv_xvasprintf(fmt, ap));
	va_end(ap);
}

/* A value inside an option list: QEMU ends it at a comma unless the comma is doubled. */
static char *quoted(const char *text)
{
	char *out = pv_xmalloc(2 * strlen(text) + 1), *to = out;

	for (; *text; text++) {
		if (*text == ',')
			*to++ = ',';
		*to++ = *text;
	}
	*to = '\0';
	return out;
}

static void add_identity(struct args *args, const struct pv_machine_config *config)
{
	char *name = quoted(config->name);

	add(args, "-name", "guest=%s,process=provium:%s", name, name);
	add(args, "-uuid", "%s", config->uuid);
	free(name);
}

static void add_board(struct args *args, const struct pv_machine_config *config)
{
	char *machine = quoted(config->machine);
	/* Options that only the i440fx and q35 boards know. */
	bool board = strncmp(machine, "pc", 2) == 0 || strncmp(machine, "q35", 3) == 0;

	add(args, "-machine", "%s,accel=%s,usb=off,dump-guest-core=off,suppress-vmdesc=on%s%s", machine,
	    config->kvm ? "kvm" : "tcg", board ? ",vmport=off" : "", config->from ? ",memory-backend=ram" : "");
	add(args, "-cpu", "max");
	add(args, "-smp", "%" PRIu32, config->cpus);
	add(args, "-m", "size=%" PRIu64 "B", config->memory_bytes);
	free(machine);
}

/* The battery clock counts from 1970 to 2099 (century byte of the RTC); a start outside of that is left to whoever sets the clock later. */
static void add_clock(struct args *args, const struct pv_machine_config *config)
{
	time_t seconds = (time_t)config->rtc_s;
	struct tm tm;
	char text[64];

	if (!config->has_rtc || seconds < 0 || gmtime_r(&seconds, &tm) == NULL || tm.tm_year + 1900 > 2099)
		return;
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	add(args, "-rtc", "base=%s", text);
}

static void add_devices(struct args *args, const struct pv_machine_config *config, const struct pv_qemu_fds *fds,
                        const char *console_log)
{
	char *log = console_log ? quoted(console_log) : NULL;

	add(args, "-chardev", "socket,id=qmp,fd=%d,server=on,wait=off", fds->qmp);
	add(args, "-mon", "chardev=qmp,mode=control");
	add(args, "-chardev", "socket,id=keeper,fd=%d,server=on,wait=off", fds->keeper);
	add(args, "-mon", "chardev=keeper,mode=control");
	if (log)
		add(args, "-chardev", "socket,id=console,fd=%d,server=on,wait=off,logfile=%s,logappend=on",
		    fds->console, log);
	else
		add(args, "-chardev", "null,id=console");
	add(args, "-serial", "chardev:console");
	/* Each port costs the guest two queues at boot; port 0 is reserved for a console. */
	add(args, "-device", "virtio-serial-pci,id=serial,max_ports=2,addr=" SERIAL_ADDR);
	add(args, "-chardev", "socket,id=agent,fd=%d,server=on,wait=off", fds->agent);
	add(args, "-device", "virtserialport,bus=serial.0,nr=1,chardev=agent,name=" PV_AGENT_PORT_NAME);
	/* With -seed, rng-builtin gives a stream that is endless and the same at each start. */
	if (config->has_rng_seed)
		add(args, "-seed", "%" PRIu64, config->rng_seed);
	add(args, "-object", "rng-builtin,id=rng");
	add(args, "-device", "virtio-rng-pci,rng=rng,addr=" RNG_ADDR);
	free(log);
}

/* As machine_nic.c plugs them later. The bus address is the same when the machine is restored from a snapshot. */
static void add_nics(struct args *args, const struct pv_machine_config *config)
{
	for (size_t i = 0; i < config->n_nics; i++) {
		const struct pv_machine_nic *nic = &config->nics[i];
		char *guest = quoted(nic->guest_path), *other = quoted(nic->switch_path);

		add(args, "-netdev", "dgram,id=%s-net,local.type=unix,local.path=%s,remote.type=unix,remote.path=%s",
		    nic->id, guest, other);
		add(args, "-device", "virtio-net-pci,id=%s,netdev=%s-net,mac=%s,addr=0x%" PRIx32 ",romfile=", nic->id,
		    nic->id, nic->mac, nic->pci);
		free(guest);
		free(other);
	}
}

/* As machine_disk.c plugs them later. Holes stay holes: what the guest discards is punched out. */
static void add_disks(struct args *args, const struct pv_machine_config *config)
{
	for (size_t i = 0; i < config->n_disks; i++) {
		const struct pv_machine_disk *disk = &config->disks[i];
		char *path = quoted(disk->path), *serial = quoted(disk->serial);

		add(args, "-blockdev",
		    "driver=raw,node-name=%s,discard=unmap,file.driver=file,file.discard=unmap,file.filename=%s",
		    disk->id, path);
		add(args, "-device", "virtio-blk-pci,id=%s,drive=%s,serial=%s,addr=0x%" PRIx32, disk->id, disk->id,
		    serial, disk->pci);
		free(path);
		free(serial);
	}
}

/* The snapshot file is opened by way of the descriptor, whatever has become of its name; with share=off what the guest writes is its own. Device state
 * without memory (xen-save-devices-state) has no configuration section; its events are the only sign that it is loaded. */
static void add_incoming(struct args *args, const struct pv_machine_config *config, const struct pv_qemu_fds *fds)
{
	add(args, "-object", "memory-backend-file,id=ram,size=%" PRIu64 "B,mem-path=/proc/self/fd/%d,share=off",
	    config->memory_bytes, fds->memory);
	take(args, pv_xstrdup("-S"));
	add(args, "-incoming", "fd:%d", fds->incoming);
	add(args, "-global", "migration.send-configuration=off");
	add(args, "-global", "migration.x-events=on");
}

char **pv_qemu_args(const struct pv_machine_config *config, const struct pv_qemu_fds *fds, const char *console_log)
{
	struct args args = { 0 };

	take(&args, pv_xstrdup(config->qemu));
	take(&args, pv_xstrdup("-nodefaults"));
	take(&args, pv_xstrdup("-no-user-config"));
	add(&args, "-display", "none");
	add(&args, "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
	add_identity(&args, config);
	add_board(&args, config);
	add_clock(&args, config);
	add_devices(&args, config, fds, console_log);
	add_nics(&args, config);
	add_disks(&args, config);
	if (config->from)
		add_incoming(&args, config, fds);
	add(&args, "-kernel", "%s", config->kernel);
	add(&args, "-initrd", "%s", config->initrd);
	add(&args, "-append", "%s", config->cmdline);
	return args.v;
}

void pv_qemu_args_free(char **argv)
{
	for (char **arg = argv; arg && *arg; arg++)
		free(*arg);
	free(argv);
}
