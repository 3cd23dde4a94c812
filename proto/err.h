/* Error codes and error messages, shared by every room.
 *
 * A function that can fail returns `enum pv_err` (0 is success) and takes a `struct pv_errmsg *` into which it
 * writes one sentence: what failed, on which object, why, and what to do. Callers wrap outward with
 * pv_err_wrap() as the error travels up, so that the final text reads "outer: inner".
 *
 * Three situations are kept apart: recoverable errors are returned; broken invariants abort through PV_BUG();
 * running out of memory aborts in proto/mem.h (the journal makes that safe).
 */
#ifndef PV_PROTO_ERR_H
#define PV_PROTO_ERR_H

#include <stdarg.h>

/* X(symbol, text). The text names the class; the message in pv_errmsg names the case. */
#define PV_ERR_LIST(X)                                                                                                 \
	X(PV_ERR_INVAL, "invalid argument")                                                                            \
	X(PV_ERR_STATE, "not possible in this state")                                                                  \
	X(PV_ERR_EXISTS, "already exists")                                                                             \
	X(PV_ERR_NOENT, "not found")                                                                                   \
	X(PV_ERR_IO, "input/output error")                                                                             \
	X(PV_ERR_NOSPACE, "no space left")                                                                             \
	X(PV_ERR_CORRUPT, "damaged data")                                                                              \
	X(PV_ERR_FOREIGN, "not a provium file")                                                                        \
	X(PV_ERR_VERSION, "unsupported version")                                                                       \
	X(PV_ERR_BUSY, "in use")                                                                                       \
	X(PV_ERR_TIMEOUT, "timed out")                                                                                 \
	X(PV_ERR_CANCELED, "canceled")                                                                                 \
	X(PV_ERR_LOST, "connection lost")                                                                              \
	X(PV_ERR_PROTOCOL, "protocol violation")                                                                       \
	X(PV_ERR_GUEST, "refused by the guest")                                                                        \
	X(PV_ERR_UNSUPPORTED, "not supported")                                                                         \
	X(PV_ERR_DENIED, "permission denied")                                                                          \
	X(PV_ERR_DIVERGED, "differs from the record")                                                                  \
	X(PV_ERR_INTERNAL, "internal error")

enum pv_err {
	PV_OK = 0,
#define X(symbol, text) symbol,
	PV_ERR_LIST(X)
#undef X
};

#define PV_ERRMSG_MAX 8192 /* bytes, with the terminating NUL; longer texts are cut */

/* One human-readable message. A zeroed struct is the empty message. */
struct pv_errmsg {
	char text[PV_ERRMSG_MAX];
};

#define PV_MUST_CHECK __attribute__((warn_unused_result))

/* The class text of `err`, e.g. "not found"; never NULL. */
const char *pv_err_name(enum pv_err err);

/* Writes the message and returns `err`, so that `return pv_err_set(msg, PV_ERR_NOENT, "...")` reads well.
 * `msg` may be NULL. */
enum pv_err pv_err_set(struct pv_errmsg *msg, enum pv_err err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* As pv_err_set, with ": <system text> (<ERRNO name>)" appended for `sys_errno`. */
enum pv_err pv_err_sys(struct pv_errmsg *msg, enum pv_err err, int sys_errno, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Puts "<fmt>: " before the text that is already there. `msg` may be NULL. Returns `err` unchanged. */
enum pv_err pv_err_wrap(struct pv_errmsg *msg, enum pv_err err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* "ENOENT" for ENOENT; "errno 4711" (static buffer) for an unknown number. */
const char *pv_errno_name(int sys_errno);

/* A broken invariant: prints file, line and message to stderr and aborts. */
_Noreturn void pv_bug(const char *file, int line, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
#define PV_BUG(...)     pv_bug(__FILE__, __LINE__, __VA_ARGS__)
#define PV_ASSERT(cond) ((cond) ? (void)0 : pv_bug(__FILE__, __LINE__, "assertion failed: %s", #cond))

#endif
