/* Where the agent says what went wrong: the kernel log (and so the console) in a guest, stderr on a host. */
#ifndef PV_TOOLS_AGENT_LOG_H
#define PV_TOOLS_AGENT_LOG_H

/* From now on to the kernel log. Nothing happens if there is none. */
void pv_log_to_kernel(void);

/* Sends what is written to stderr, such as the last words of a crash, to the kernel log, too. */
void pv_log_take_stderr(void);

/* One line, without its newline. */
void pv_log(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* As pv_log, with the text of `sys_errno` behind it. */
void pv_log_sys(int sys_errno, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The descriptor that lines go to; -1: standard error. */
int pv_log_descriptor(void);

#endif
