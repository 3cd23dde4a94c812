/* A look into a script that stands still: the Lua functions it is in, their variables, and Lua that is evaluated among them.
 *
 * Made where a task fails, before its stack is unwound, or where the execution is stopped. Knows no terminal: texts go into buffers,
 * whole lines of printable UTF-8. What is evaluated may change variables; it can neither call the lab nor take anything in from outside, as no
 * task runs, and it is bounded. Ids that objects are given to be shown here are forgotten afterwards, so the script goes on as without.
 */
#ifndef PV_SCRIPT_PROMPT_H
#define PV_SCRIPT_PROMPT_H

#include <stdbool.h>
#include <stddef.h>

struct pv_buf;
struct pv_prompt;

/* The prompt is valid during the call. */
typedef void pv_prompt_cb(void *arg, struct pv_prompt *prompt);

/* Why the script stands here. */
const char *pv_prompt_message(const struct pv_prompt *prompt);

/* The Lua functions, innermost first; one is selected, at first the innermost. False if there is no further one. */
bool pv_prompt_up(struct pv_prompt *prompt);   /* to the caller; from a coroutine to its resumer */
bool pv_prompt_down(struct pv_prompt *prompt); /* to the callee */

/* File, line and name of the selected function, and the line of source if it is of the test file. */
void pv_prompt_where(const struct pv_prompt *prompt, struct pv_buf *out);
/* All functions, the selected one marked. */
void pv_prompt_backtrace(const struct pv_prompt *prompt, struct pv_buf *out);
/* Locals and upvalues of the selected function. */
void pv_prompt_locals(struct pv_prompt *prompt, struct pv_buf *out);

/* Evaluates an expression, or else statements. Names are those of the selected function: locals, upvalues, then globals; assignments go there.
 * Results are appended to `out`, separated by tabs; errors as text. False, and nothing appended, if it lacks its end. */
bool pv_prompt_eval(struct pv_prompt *prompt, const char *text, size_t len, struct pv_buf *out);

/* Ends what is being evaluated with an error. From a signal handler. */
void pv_prompt_interrupt(struct pv_prompt *prompt);

#endif
