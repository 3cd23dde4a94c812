#include "vmctl/panic.h"

#include <string.h>

static const char begin_words[] = "Kernel panic - not syncing";
static const char end_words[] = "---[ end Kernel panic";

/* `words` where printk puts them: at the start of the line or behind "] ". */
static const char *find(const char *line, const char *words)
{
	for (const char *at = line; (at = strstr(at, words)) != NULL; at++) {
		if (at == line || (at - line >= 2 && at[-1] == ' ' && at[-2] == ']'))
			return at;
	}
	return NULL;
}

static void on_line(struct pv_panic *panic)
{
	const char *at;

	panic->line[panic->line_len] = '\0';
	if (panic->state == PV_PANIC_NONE && (at = find(panic->line, begin_words)) != NULL) {
		memcpy(panic->text, at, strlen(at) + 1);
		panic->state = PV_PANIC_BEGUN;
	} else if (panic->state == PV_PANIC_BEGUN && find(panic->line, end_words)) {
		panic->state = PV_PANIC_DONE;
	}
	panic->line_len = 0;
}

bool pv_panic_feed(struct pv_panic *panic, const void *data, size_t len)
{
	enum pv_panic_state before = panic->state;
	const char *text = data;

	for (size_t i = 0; i < len; i++) {
		if (text[i] == '\n')
			on_line(panic);
		else if (text[i] != '\r' && text[i] != '\0' && panic->line_len < PV_PANIC_LINE_MAX)
			panic->line[panic->line_len++] = text[i];
	}
	return panic->state != before;
}
