#include "engine/replay/viewer_terminal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#define ENTER "\033[?1049h\033[?25l" /* the other screen, no cursor: as xterm has it, and all that came after */
#define LEAVE "\033[0m\033[?25h\033[?1049l"

#define ESCAPE_MS 50 /* in which the rest of a key's bytes comes behind its ESC */

static const int endings[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
static const int crashes[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT };
static const int others[] = { SIGWINCH, SIGTSTP };

#define N(array) (sizeof(array) / sizeof((array)[0]))

/* Signal handlers see nothing but these. */
static struct termios saved;
static int terminal_in = -1, terminal_out = -1;
static volatile sig_atomic_t ended_by, resized, stopped;

struct terminal {
	struct pv_viewer *viewer;
	struct pv_screen shown; /* what is on it; no cells: unknown */
	uint8_t bytes[256];     /* of keys that are not decoded yet */
	size_t n;
	sigset_t outside; /* the mask while it waits */
	struct sigaction before[N(endings) + N(crashes) + N(others)];
};

/* ---- the terminal's state ---- */

/* Also called in handlers of crashes: nothing but async-signal-safe functions. */
static void leave(void)
{
	const char *at = LEAVE;
	size_t left = strlen(LEAVE);

	while (left > 0) {
		ssize_t n = write(terminal_out, at, left);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		at += n;
		left -= (size_t)n;
	}
	(void)tcsetattr(terminal_in, TCSAFLUSH, &saved);
}

static enum pv_err put(const void *bytes, size_t len, struct pv_errmsg *msg)
{
	const uint8_t *at = bytes;

	while (len > 0) {
		ssize_t n = write(terminal_out, at, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return pv_err_sys(msg, PV_ERR_IO, errno, "writing to the terminal");
		at += n;
		len -= (size_t)n;
	}
	return PV_OK;
}

static enum pv_err enter(struct pv_errmsg *msg)
{
	struct termios raw = saved;

	raw.c_iflag &= ~(tcflag_t)(ICRNL | INLCR | IXON);
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO); /* ISIG stays: the usual keys interrupt and stop it */
	raw.c_cc[VMIN] = 0;
	raw.c_cc[VTIME] = 0;
	if (tcsetattr(terminal_in, TCSADRAIN, &raw) != 0) /* keys that were pressed meanwhile stay */
		return pv_err_sys(msg, PV_ERR_IO, errno, "setting up the terminal");
	return put(ENTER, strlen(ENTER), msg);
}

/* ---- signals ---- */

static void on_ending(int sig)
{
	ended_by = sig;
}

static void on_other(int sig)
{
	if (sig == SIGWINCH)
		resized = 1;
	else
		stopped = 1;
}

/* SA_RESETHAND: coming back here does what the signal does without us. */
static void on_crash(int sig)
{
	leave();
	raise(sig);
}

static void watch_one(struct terminal *terminal, size_t slot, int sig, void (*handler)(int), int flags)
{
	struct sigaction action = { .sa_handler = handler, .sa_flags = flags };

	sigemptyset(&action.sa_mask);
	if (sigaction(sig, &action, &terminal->before[slot]) != 0)
		PV_BUG("sigaction(%d) failed", sig);
}

/* All but crashes are blocked unless the terminal waits: so none is lost between looking and waiting. */
static void watch_signals(struct terminal *terminal)
{
	sigset_t inside;
	size_t slot = 0;

	ended_by = resized = stopped = 0;
	sigemptyset(&inside);
	for (size_t i = 0; i < N(endings); i++) {
		watch_one(terminal, slot++, endings[i], on_ending, 0);
		sigaddset(&inside, endings[i]);
	}
	for (size_t i = 0; i < N(others); i++) {
		watch_one(terminal, slot++, others[i], on_other, 0);
		sigaddset(&inside, others[i]);
	}
	for (size_t i = 0; i < N(crashes); i++)
		watch_one(terminal, slot++, crashes[i], on_crash, (int)SA_RESETHAND | SA_NODEFER);
	sigprocmask(SIG_BLOCK, &inside, &terminal->outside);
}

static void unwatch_signals(struct terminal *terminal)
{
	size_t slot = 0;

	for (size_t i = 0; i < N(endings); i++)
		sigaction(endings[i], &terminal->before[slot++], NULL);
	for (size_t i = 0; i < N(others); i++)
		sigaction(others[i], &terminal->before[slot++], NULL);
	for (size_t i = 0; i < N(crashes); i++)
		sigaction(crashes[i], &terminal->before[slot++], NULL);
	sigprocmask(SIG_SETMASK, &terminal->outside, NULL);
}

/* The shell's job control stops us with the terminal as it was. */
static enum pv_err stop(struct terminal *terminal, struct pv_errmsg *msg)
{
	leave();
	raise(SIGSTOP);
	pv_screen_finish(&terminal->shown);
	return enter(msg);
}

/* ---- showing and reading ---- */

static enum pv_err show(struct terminal *terminal, struct pv_errmsg *msg)
{
	struct winsize size = { .ws_row = 24, .ws_col = 80 };
	struct pv_buf out = { .data = NULL };
	struct pv_screen screen;
	enum pv_err err;

	if (ioctl(terminal_out, TIOCGWINSZ, &size) != 0 || size.ws_row == 0 || size.ws_col == 0)
		size = (struct winsize){ .ws_row = 24, .ws_col = 80 };
	pv_screen_init(&screen, size.ws_row, size.ws_col);
	pv_viewer_draw(terminal->viewer, &screen);
	pv_screen_ansi(&screen, terminal->shown.cells ? &terminal->shown : NULL, &out);
	err = put(out.data, out.len, msg);
	pv_buf_free(&out);
	pv_screen_finish(&terminal->shown);
	terminal->shown = screen;
	return err;
}

/* Gives the viewer the keys that are there. False: it is to end. */
static bool give_keys(struct terminal *terminal, bool more)
{
	bool go_on = true;

	while (go_on && terminal->n > 0) {
		size_t len;
		int key =
		    pv_key_decode(terminal->bytes, terminal->n, more && terminal->n < sizeof(terminal->bytes), &len);

		if (len == 0)
			break;
		memmove(terminal->bytes, terminal->bytes + len, terminal->n - len);
		terminal->n -= len;
		go_on = pv_viewer_key(terminal->viewer, key);
	}
	return go_on;
}

/* Waits for keys or a signal. *go_on is false when there is an end. */
static enum pv_err take_keys(struct terminal *terminal, bool *go_on, struct pv_errmsg *msg)
{
	struct timespec rest = { .tv_nsec = ESCAPE_MS * 1000000 };
	struct pollfd poll_in = { .fd = terminal_in, .events = POLLIN };
	int ready = ppoll(&poll_in, 1, terminal->n > 0 ? &rest : NULL, &terminal->outside);
	ssize_t n = 0;

	if (ready < 0 && errno != EINTR)
		return pv_err_sys(msg, PV_ERR_IO, errno, "waiting for the terminal");
	if (ready > 0) {
		n = read(terminal_in, terminal->bytes + terminal->n, sizeof(terminal->bytes) - terminal->n);
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return pv_err_sys(msg, PV_ERR_IO, errno, "reading from the terminal");
		if (n == 0) { /* it is gone */
			*go_on = false;
			return PV_OK;
		}
	}
	terminal->n += n > 0 ? (size_t)n : 0;
	*go_on = give_keys(terminal, ready > 0);
	return PV_OK;
}

static enum pv_err loop(struct terminal *terminal, struct pv_errmsg *msg)
{
	enum pv_err err = show(terminal, msg);
	bool go_on = true;

	while (!err && go_on && !ended_by) {
		err = take_keys(terminal, &go_on, msg);
		if (!err && stopped) {
			stopped = 0;
			err = stop(terminal, msg);
		}
		resized = 0; /* each showing asks for the size */
		if (!err && go_on && !ended_by)
			err = show(terminal, msg);
	}
	return err;
}

static enum pv_err check(int in, int out, struct pv_errmsg *msg)
{
	const char *term = getenv("TERM");

	if (!isatty(in) || !isatty(out))
		return pv_err_set(msg, PV_ERR_UNSUPPORTED, "it needs a terminal for input and output");
	if (!term || !*term || strcmp(term, "dumb") == 0)
		return pv_err_set(msg, PV_ERR_UNSUPPORTED, "the terminal (TERM=%s) cannot move its cursor",
		                  term ? term : "");
	if (tcgetattr(in, &saved) != 0)
		return pv_err_sys(msg, PV_ERR_IO, errno, "asking for the state of the terminal");
	return PV_OK;
}

enum pv_err pv_viewer_run(struct pv_viewer *viewer, int in, int out, int *signal, struct pv_errmsg *msg)
{
	struct terminal terminal = { .viewer = viewer };
	enum pv_err err = check(in, out, msg);

	*signal = 0;
	if (err)
		return err;
	terminal_in = in;
	terminal_out = out;
	watch_signals(&terminal);
	err = enter(msg);
	if (!err)
		err = loop(&terminal, msg);
	leave();
	*signal = ended_by;
	unwatch_signals(&terminal);
	pv_screen_finish(&terminal.shown);
	return err;
}
