#include "tools/provium/repl.h"

#include <histedit.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/err.h"
#include "proto/mem.h"

#define HISTORY_LINES 500
#define TEXT_MAX      (1u << 20) /* bytes of one piece of Lua */

/* ---- lines from a terminal ---- */

struct pv_repl_editor {
	EditLine *edit;
	History *history;
	const char *prompt;
	bool cleared; /* by Ctrl-C */
};

static const char *prompt_of(EditLine *edit)
{
	struct pv_repl_editor *editor = NULL;

	el_get(edit, EL_CLIENTDATA, &editor);
	return editor->prompt;
}

/* Ctrl-C, which is a key here: the terminal makes no signal of it while a line is edited. */
static unsigned char clear_line(EditLine *edit, int key)
{
	struct pv_repl_editor *editor = NULL;

	(void)key;
	el_get(edit, EL_CLIENTDATA, &editor);
	editor->cleared = true;
	fputs("^C\n", stdout);
	fflush(stdout);
	return CC_NEWLINE;
}

static struct pv_repl_editor *create_editor(FILE *input)
{
	struct pv_repl_editor *editor = PV_NEW(struct pv_repl_editor);
	HistEvent event;

	editor->edit = el_init("provium", input, stdout, stderr);
	editor->history = history_init();
	if (editor->edit == NULL || editor->history == NULL)
		PV_BUG("libedit cannot be set up on this terminal");
	history(editor->history, &event, H_SETSIZE, HISTORY_LINES);
	history(editor->history, &event, H_SETUNIQUE, 1);
	el_set(editor->edit, EL_CLIENTDATA, editor);
	el_set(editor->edit, EL_PROMPT, prompt_of);
	el_set(editor->edit, EL_EDITOR, "emacs");
	el_set(editor->edit, EL_HIST, history, editor->history);
	el_set(editor->edit, EL_ADDFN, "clear-line", "Clear the line", clear_line);
	el_set(editor->edit, EL_SETTY, "-d", "-isig", NULL);
	el_set(editor->edit, EL_BIND, "^C", "clear-line", NULL);
	return editor;
}

static void destroy_editor(struct pv_repl_editor *editor)
{
	el_end(editor->edit);
	history_end(editor->history);
	free(editor);
}

enum line { LINE_READ, LINE_CLEARED, LINE_NONE };

static enum line edit_line(struct pv_repl_editor *editor, const char *prompt, struct pv_buf *line)
{
	const char *text;
	HistEvent event;
	int len = 0;

	editor->prompt = prompt;
	editor->cleared = false;
	text = el_gets(editor->edit, &len);
	if (editor->cleared) {
		el_reset(editor->edit);
		return LINE_CLEARED;
	}
	if (text == NULL || len <= 0) {
		fputc('\n', stdout);
		return LINE_NONE;
	}
	if (text[strspn(text, " \t\r\n")] != '\0')
		history(editor->history, &event, H_ENTER, text);
	pv_buf_add(line, text, (size_t)len);
	return LINE_READ;
}

/* ---- lines ---- */

/* Without its end. */
static enum line read_line(struct pv_repl *repl, const char *prompt, struct pv_buf *line)
{
	enum line read = LINE_READ;

	pv_buf_clear(line);
	if (repl->editor != NULL) {
		read = edit_line(repl->editor, prompt, line);
	} else {
		char *text = NULL;
		size_t size = 0;
		ssize_t len = getline(&text, &size, repl->input);

		if (len >= 0)
			pv_buf_add(line, text, (size_t)len);
		else
			read = LINE_NONE;
		free(text);
	}
	while (line->len > 0 && (line->data[line->len - 1] == '\n' || line->data[line->len - 1] == '\r'))
		line->data[--line->len] = '\0';
	return read;
}

/* ---- Ctrl-C ---- */

/* libedit makes a key of it only from when it waits for one: until then, with the prompt on the screen already, it is a signal. */
static struct pv_prompt *volatile evaluating;

static void on_interrupt(int number)
{
	struct pv_prompt *prompt = evaluating;

	(void)number;
	if (prompt != NULL)
		pv_prompt_interrupt(prompt);
}

static bool evaluate(struct pv_prompt *prompt, const struct pv_buf *text, struct pv_buf *out)
{
	bool whole;

	fflush(stdout);
	evaluating = prompt;
	whole = pv_prompt_eval(prompt, pv_buf_str(text), text->len, out);
	evaluating = NULL;
	return whole;
}

/* ---- commands ---- */

static const char help_text[] =
    ":bt      the functions the script is in, innermost first\n"
    ":up      to the caller of the selected function; :down back\n"
    ":locals  its locals and upvalues\n"
    ":where   its line\n"
    ":quit    leave, as Ctrl-D: the rehearsal goes on, up to the next failure\n"
    "Anything else is Lua, among the variables of the selected function; an expression shows its values.\n";

enum command { COMMAND_DONE, COMMAND_QUIT };

static enum command obey(struct pv_prompt *prompt, const char *word, struct pv_buf *out)
{
	if (strcmp(word, ":quit") == 0 || strcmp(word, ":q") == 0)
		return COMMAND_QUIT;
	if (strcmp(word, ":bt") == 0) {
		pv_prompt_backtrace(prompt, out);
	} else if (strcmp(word, ":locals") == 0) {
		pv_prompt_locals(prompt, out);
	} else if (strcmp(word, ":where") == 0) {
		pv_prompt_where(prompt, out);
	} else if (strcmp(word, ":help") == 0) {
		pv_buf_addstr(out, help_text);
	} else if (strcmp(word, ":up") == 0 || strcmp(word, ":down") == 0) {
		if (strcmp(word, ":up") == 0 ? pv_prompt_up(prompt) : pv_prompt_down(prompt))
			pv_prompt_where(prompt, out);
		else
			pv_buf_addf(out, "no function further %s\n", word + 1);
	} else {
		pv_buf_addf(out, "%s is no command; :help lists them\n", word);
	}
	return COMMAND_DONE;
}

static void print(struct pv_buf *out)
{
	fwrite(pv_buf_str(out), 1, out->len, stdout);
	fflush(stdout);
	pv_buf_clear(out);
}

/* ---- the prompt ---- */

static void greet(const struct pv_prompt *prompt, struct pv_buf *out)
{
	pv_buf_addf(out, "-- %s\n", pv_prompt_message(prompt));
	pv_prompt_where(prompt, out);
	print(out);
}

static void trim(struct pv_buf *line)
{
	while (line->len > 0 && (line->data[line->len - 1] == ' ' || line->data[line->len - 1] == '\t'))
		line->data[--line->len] = '\0';
}

/* `text` is what has come of a piece of Lua whose end is still missing. False: the user leaves. */
static bool take_line(struct pv_prompt *prompt, struct pv_buf *line, struct pv_buf *text, struct pv_buf *out)
{
	if (text->len == 0 && line->len > 0 && *line->data == ':' && strncmp(pv_buf_str(line), "::", 2) != 0) {
		trim(line);
		return obey(prompt, pv_buf_str(line), out) == COMMAND_DONE;
	}
	if (text->len > 0)
		pv_buf_addstr(text, "\n");
	pv_buf_add(text, line->data, line->len);
	if (text->len > TEXT_MAX)
		pv_buf_addf(out, "more than %u bytes: dropped\n", TEXT_MAX);
	else if (!evaluate(prompt, text, out))
		return true;
	pv_buf_clear(text);
	return true;
}

void pv_repl(void *arg, struct pv_prompt *prompt)
{
	struct sigaction action = { .sa_handler = on_interrupt, .sa_flags = SA_RESTART }, before;
	struct pv_buf line = { 0 }, text = { 0 }, out = { 0 };
	struct pv_repl *repl = arg;
	bool goes_on = true;

	greet(prompt, &out);
	if (repl->editor == NULL && isatty(fileno(repl->input)) && isatty(STDOUT_FILENO))
		repl->editor = create_editor(repl->input);
	if (repl->editor != NULL)
		sigaction(SIGINT, &action, &before);
	while (goes_on && !repl->at_end) {
		switch (read_line(repl, text.len > 0 ? ">> " : "> ", &line)) {
		case LINE_READ:
			goes_on = take_line(prompt, &line, &text, &out);
			break;
		case LINE_CLEARED:
			pv_buf_clear(&text);
			break;
		case LINE_NONE:
			goes_on = false;
			repl->at_end = repl->editor == NULL;
			if (text.len > 0)
				pv_buf_addstr(&out, "the input ends in the middle of a piece of Lua\n");
		}
		print(&out);
	}
	if (repl->editor != NULL)
		sigaction(SIGINT, &before, NULL);
	pv_buf_free(&line);
	pv_buf_free(&text);
	pv_buf_free(&out);
}

void pv_repl_finish(struct pv_repl *repl)
{
	if (repl->editor != NULL)
		destroy_editor(repl->editor);
	repl->editor = NULL;
}
