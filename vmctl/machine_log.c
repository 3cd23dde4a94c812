/* What a machine left in its logs, for messages. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "proto/mem.h"
#include "vmctl/console.h"
#include "vmctl/machine_internal.h"

#define TAIL_MAX      4096
#define LAST_LINE_MAX 512

/* Appends at most `max` bytes of the end of `path`, nothing from before `start`. */
static void add_own_tail(const char *path, uint64_t start, size_t max, struct pv_buf *out)
{
	struct stat st;

	if (!path || stat(path, &st) < 0 || (uint64_t)st.st_size <= start)
		return;
	if ((uint64_t)st.st_size - start < max)
		max = (size_t)((uint64_t)st.st_size - start);
	pv_console_tail(path, max, out);
	while (out->len > 0 && out->data[out->len - 1] == '\n')
		out->data[--out->len] = '\0';
}

void pv_machine_add_tail(const struct pv_machine *machine, struct pv_errmsg *msg)
{
	size_t used = strlen(msg->text);
	struct pv_buf tail = { 0 };

	if (!machine->load) /* else nothing has run */
		add_own_tail(machine->console_log, machine->console_log_start, TAIL_MAX, &tail);
	if (tail.len == 0)
		add_own_tail(machine->qemu_log, machine->qemu_log_start, TAIL_MAX, &tail);
	if (tail.len > 0)
		snprintf(msg->text + used, sizeof msg->text - used, "\n%s", pv_buf_str(&tail));
	pv_buf_free(&tail);
}

char *pv_machine_last_qemu_line(const struct pv_machine *machine)
{
	struct pv_buf tail = { 0 };
	char *line = NULL;
	const char *text, *newline;

	add_own_tail(machine->qemu_log, machine->qemu_log_start, LAST_LINE_MAX, &tail);
	if (tail.len > 0) {
		text = pv_buf_str(&tail);
		newline = strrchr(text, '\n');
		line = pv_xstrdup(newline ? newline + 1 : text);
	}
	pv_buf_free(&tail);
	return line;
}
