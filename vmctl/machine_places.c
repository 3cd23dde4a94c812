/* Where in the QEMU process the guest's memory and firmware lie.
 *
 * The firmware matters because QEMU (7.2) leaves ROMs empty in a machine that gets its state from outside: whoever restores one puts it back, or
 * the next reset finds no code.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "vmctl/keeper_wire.h"
#include "vmctl/machine_internal.h"
#include "vmctl/process.h"
#include "vmctl/qmp.h"

#define FOUR_GIB 0x100000000u

/* Firmware of pc and q35, and of microvm. */
static const size_t firmware_sizes[] = { 256u << 10, 128u << 10 };

static void ask_address(struct pv_machine *machine, uint64_t address, pv_qmp_reply_cb *reply)
{
	struct json_object *args = json_object_new_object();
	char line[64];

	snprintf(line, sizeof line, "gpa2hva 0x%" PRIx64, address);
	json_object_object_add(args, "command-line", json_object_new_string(line));
	pv_qmp_execute(machine->qmp, "human-monitor-command", args, 0, reply, machine);
}

/* "Host virtual address for 0x0 (pc.ram) is 0x7f95d0200000"; 0 for anything else. */
static uint64_t address_in(struct json_object *ret)
{
	const char *text = json_object_is_type(ret, json_type_string) ? json_object_get_string(ret) : "";
	const char *at = strncmp(text, "Host virtual address", 20) == 0 ? strstr(text, ") is 0x") : NULL;

	return at ? strtoull(at + 5, NULL, 16) : 0;
}

static void on_memory(void *arg, enum pv_err err, struct json_object *ret, const struct pv_errmsg *msg)
{
	struct pv_machine *machine = arg;

	(void)msg;
	machine->places.memory = err ? 0 : address_in(ret);
}

static void on_size(void *arg, enum pv_err err, struct json_object *ret, const struct pv_errmsg *msg)
{
	struct pv_machine *machine = arg;
	struct json_object *base;

	(void)msg;
	if (!err && json_object_object_get_ex(ret, "base-memory", &base))
		machine->memory_bytes = json_object_get_uint64(base);
}

static void on_larger_firmware(void *arg, enum pv_err err, struct json_object *ret, const struct pv_errmsg *msg)
{
	struct pv_machine *machine = arg;

	(void)msg;
	machine->places.firmware = err ? 0 : address_in(ret);
	machine->places.firmware_size = firmware_sizes[0];
}

/* The last answer. */
static void on_smaller_firmware(void *arg, enum pv_err err, struct json_object *ret, const struct pv_errmsg *msg)
{
	struct pv_machine *machine = arg;
	struct pv_machine_places *places = &machine->places;
	pv_machine_places_cb *done = places->asked;
	struct pv_errmsg *why;

	places->asked = NULL;
	if (err == PV_ERR_LOST)
		return; /* the machine's end tells more */
	if (!err && places->firmware == 0) {
		places->firmware = address_in(ret);
		places->firmware_size = firmware_sizes[1];
	}
	places->known = !err && places->memory != 0 && places->firmware != 0 && machine->memory_bytes != 0;
	if (places->known) {
		done(machine, PV_OK, NULL);
		return;
	}
	why = PV_NEW(struct pv_errmsg);
	if (!err)
		err = pv_err_set(why, PV_ERR_UNSUPPORTED, "QEMU does not tell where the %s of VM %s lies",
		                 places->memory == 0 || machine->memory_bytes == 0 ? "memory" : "firmware",
		                 machine->name);
	done(machine, err, why->text[0] ? why : msg);
	free(why);
}

void pv_machine_find_places(struct pv_machine *machine, pv_machine_places_cb *done)
{
	PV_ASSERT(!machine->places.asked);
	machine->places.asked = done;
	if (machine->memory_bytes == 0)
		pv_qmp_execute(machine->qmp, "query-memory-size-summary", NULL, 0, on_size, machine);
	ask_address(machine, 0, on_memory);
	ask_address(machine, FOUR_GIB - firmware_sizes[0], on_larger_firmware);
	ask_address(machine, FOUR_GIB - firmware_sizes[1], on_smaller_firmware);
}

enum pv_err pv_machine_read_firmware(const struct pv_machine *machine, struct pv_buf *out, struct pv_errmsg *msg)
{
	size_t size = machine->places.firmware_size;
	struct iovec to, from = { (void *)(uintptr_t)machine->places.firmware, size };
	ssize_t n;

	pv_buf_clear(out);
	pv_buf_reserve(out, size);
	to = (struct iovec){ out->data, size };
	n = process_vm_readv(pv_process_pid(machine->process), &to, 1, &from, 1, 0);
	if (n == (ssize_t)size) {
		out->len = size;
		return PV_OK;
	}
	if (n < 0 && errno == EPERM)
		return pv_err_set(msg, PV_ERR_DENIED,
		                  "the memory of QEMU of VM %s cannot be read: it is no child of this process, and "
		                  "kernel.yama.ptrace_scope allows no other",
		                  machine->name);
	return pv_err_sys(msg, n < 0 && errno == ESRCH ? PV_ERR_LOST : PV_ERR_IO, n < 0 ? errno : EFAULT,
	                  "the firmware of VM %s cannot be read", machine->name);
}

/* /proc/PID/mem writes as a debugger does: also to pages that are read-only to QEMU's own code. */
static enum pv_err write_memory(const struct pv_machine *machine, const char *what, uint64_t at, const void *data,
                                size_t len, struct pv_errmsg *msg)
{
	char path[64];
	ssize_t n;
	int fd, rc;

	snprintf(path, sizeof path, "/proc/%d/mem", (int)pv_process_pid(machine->process));
	fd = open(path, O_RDWR | O_CLOEXEC);
	n = fd < 0 ? -1 : pwrite(fd, data, len, (off_t)at);
	rc = n < 0 ? errno : EFAULT;
	if (fd >= 0)
		close(fd);
	if (n == (ssize_t)len)
		return PV_OK;
	return pv_err_sys(msg, rc == EACCES || rc == EPERM ? PV_ERR_DENIED : PV_ERR_IO, rc,
	                  "the %s of VM %s cannot be put in place", what, machine->name);
}

enum pv_err pv_machine_write_firmware(const struct pv_machine *machine, const struct pv_buf *firmware,
                                      struct pv_errmsg *msg)
{
	uint64_t at = machine->places.firmware + machine->places.firmware_size - firmware->len;

	if (firmware->len > machine->places.firmware_size)
		return pv_err_set(msg, PV_ERR_INVAL, "the firmware of VM %s has %zu bytes, that of the snapshot %zu",
		                  machine->name, machine->places.firmware_size, firmware->len);
	return write_memory(machine, "firmware", at, firmware->data, firmware->len, msg);
}

enum pv_err pv_machine_write_patches(const struct pv_machine *machine, const struct pv_buf *patches,
                                     struct pv_errmsg *msg)
{
	const uint8_t *at = patches->data;
	size_t left = patches->len;
	enum pv_err err = PV_OK;

	while (!err && left > 0) {
		uint64_t head[2];

		memcpy(head, at, sizeof head);
		at += sizeof head;
		if (head[0] > machine->memory_bytes || head[1] > machine->memory_bytes - head[0])
			return pv_err_set(msg, PV_ERR_INVAL, "a patch of VM %s lies outside its memory", machine->name);
		err = write_memory(machine, "memory", machine->places.memory + head[0], at, (size_t)head[1], msg);
		at += head[1];
		left -= sizeof head + (size_t)head[1];
	}
	return err;
}
