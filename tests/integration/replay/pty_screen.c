/* Drives a program on a terminal of its own: keys go in, the screen is watched.
 *
 *   pty_screen ROWS COLS COMMAND... <STEPS
 *
 * Steps, one a line: `keys TEXT` (with \r \t \e \\), `wait TEXT` until the screen has it, `size ROWS COLS`, `signal N` to the program,
 * `stopped`, `ends CODE` and `dies N` (by signal). At the end the terminal must be as it was before: its modes, its main screen, its cursor.
 * It knows the few control sequences that the viewer sends; an unknown one is a failure.
 */
#include <errno.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define ROWS_MAX 200
#define COLS_MAX 300
#define WAIT_S   20

static struct {
	char cells[ROWS_MAX][COLS_MAX];
	int rows, cols, row, col;
	bool other, hidden;
} screen;

static int master;
static pid_t child;
static struct termios before;

static void print_screen(void)
{
	for (int row = 0; row < screen.rows; row++)
		fprintf(stderr, "|%.*s|\n", screen.cols, screen.cells[row]);
}

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *fmt, ...)
{
	va_list ap;

	fputs("pty_screen: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	print_screen();
	if (child > 0)
		kill(child, SIGKILL);
	exit(1);
}

/* ---- the terminal ---- */

static void blank(void)
{
	memset(screen.cells, ' ', sizeof(screen.cells));
}

static void mode(const char *parameter, bool on)
{
	if (strcmp(parameter, "?1049") == 0)
		screen.other = on;
	else if (strcmp(parameter, "?25") == 0)
		screen.hidden = !on;
	else
		die("unknown mode %s", parameter);
}

static void control(char *parameter, char final)
{
	int row = 1, col = 1;

	switch (final) {
	case 'm':
		break;
	case 'J':
		blank();
		break;
	case 'H':
		sscanf(parameter, "%d;%d", &row, &col);
		screen.row = row - 1;
		screen.col = col - 1;
		break;
	case 'h':
	case 'l':
		mode(parameter, final == 'h');
		break;
	default:
		die("unknown control sequence %s%c", parameter, final);
	}
}

static void take(char c)
{
	static char parameter[32];
	static size_t n;
	static enum { TEXT, ESCAPE, CONTROL } state;

	if (state == ESCAPE) {
		if (c != '[')
			die("unknown escape sequence");
		state = CONTROL;
		n = 0;
	} else if (state == CONTROL && c >= 0x40) {
		parameter[n] = '\0';
		control(parameter, c);
		state = TEXT;
	} else if (state == CONTROL) {
		if (n + 1 == sizeof(parameter))
			die("a control sequence is too long");
		parameter[n++] = c;
	} else if (c == '\033') {
		state = ESCAPE;
	} else if (((unsigned char)c & 0xc0) != 0x80 && screen.row >= 0 && screen.row < screen.rows &&
	           screen.col >= 0 && screen.col < screen.cols) {
		screen.cells[screen.row][screen.col++] = c; /* the first byte stands for a character */
	}
}

/* False: nothing came within `ms`, or nothing will. */
static bool read_some(int ms)
{
	struct pollfd in = { .fd = master, .events = POLLIN };
	char bytes[4096];
	ssize_t n;

	if (poll(&in, 1, ms) <= 0)
		return false;
	n = read(master, bytes, sizeof(bytes)); /* EIO: the program has closed its end */
	for (ssize_t i = 0; i < n; i++)
		take(bytes[i]);
	return n > 0;
}

static bool shows(const char *text)
{
	for (int row = 0; row < screen.rows; row++) {
		if (memmem(screen.cells[row], (size_t)screen.cols, text, strlen(text)))
			return true;
	}
	return false;
}

/* ---- steps ---- */

static void wait_for(const char *text)
{
	time_t until = time(NULL) + WAIT_S;

	while (!shows(text)) {
		if (time(NULL) > until)
			die("the screen never showed: %s", text);
		read_some(100);
	}
}

static void press(const char *text)
{
	for (; *text; text++) {
		char c = *text;
		if (c == '\\' && text[1]) {
			text++;
			c = *text == 'r' ? '\r' : *text == 't' ? '\t' : *text == 'e' ? '\033' : *text;
		}
		if (write(master, &c, 1) != 1)
			die("the program takes no keys");
	}
}

static void resize(const char *text)
{
	struct winsize size = { 0 };

	if (sscanf(text, "%hu %hu", &size.ws_row, &size.ws_col) != 2)
		die("size ROWS COLS");
	screen.rows = size.ws_row;
	screen.cols = size.ws_col;
	blank();
	if (ioctl(master, TIOCSWINSZ, &size) != 0)
		die("TIOCSWINSZ: %s", strerror(errno));
}

static int wait_status(int options)
{
	time_t until = time(NULL) + WAIT_S;
	int status;

	while (waitpid(child, &status, options | WNOHANG) != child) {
		if (time(NULL) > until)
			die("the program neither ended nor stopped");
		read_some(50);
	}
	while (read_some(0))
		;
	return status;
}

static void check_terminal(const char *when)
{
	struct termios now;

	if (tcgetattr(master, &now) != 0)
		die("tcgetattr: %s", strerror(errno));
	if (now.c_iflag != before.c_iflag || now.c_oflag != before.c_oflag || now.c_cflag != before.c_cflag ||
	    now.c_lflag != before.c_lflag)
		die("the modes of the terminal are not as they were, %s", when);
	if (screen.other || screen.hidden)
		die("%s, %s", screen.other ? "the other screen still stands" : "the cursor is still hidden", when);
}

static void step(char *line)
{
	char *argument = strchr(line, ' ');
	int status;

	argument = argument ? argument + 1 : line + strlen(line);
	if (strncmp(line, "keys ", 5) == 0) {
		press(argument);
	} else if (strncmp(line, "wait ", 5) == 0) {
		wait_for(argument);
	} else if (strncmp(line, "size ", 5) == 0) {
		resize(argument);
	} else if (strncmp(line, "signal ", 7) == 0) {
		kill(child, atoi(argument));
	} else if (strcmp(line, "stopped") == 0) {
		status = wait_status(WUNTRACED);
		if (!WIFSTOPPED(status))
			die("the program has not stopped");
		check_terminal("while it is stopped");
	} else if (strncmp(line, "ends ", 5) == 0) {
		status = wait_status(0);
		if (!WIFEXITED(status) || WEXITSTATUS(status) != atoi(argument))
			die("wait status %#x, exit code %s wanted", (unsigned)status, argument);
		child = 0;
		check_terminal("after its end");
	} else if (strncmp(line, "dies ", 5) == 0) {
		status = wait_status(0);
		if (!WIFSIGNALED(status) || WTERMSIG(status) != atoi(argument))
			die("wait status %#x, death by signal %s wanted", (unsigned)status, argument);
		child = 0;
		check_terminal("after its death");
	} else if (*line && *line != '#') {
		die("unknown step: %s", line);
	}
}

int main(int argc, char **argv)
{
	struct winsize size = { 0 };
	char line[512];

	if (argc < 4)
		die("pty_screen ROWS COLS COMMAND...");
	size.ws_row = (unsigned short)atoi(argv[1]);
	size.ws_col = (unsigned short)atoi(argv[2]);
	if (size.ws_row > ROWS_MAX || size.ws_col > COLS_MAX)
		die("the screen is too large");
	screen.rows = size.ws_row;
	screen.cols = size.ws_col;
	blank();
	setenv("TERM", "xterm", 1);
	child = forkpty(&master, NULL, NULL, &size);
	if (child < 0)
		die("forkpty: %s", strerror(errno));
	if (child == 0) {
		raise(SIGSTOP); /* until the terminal's modes are known */
		execvp(argv[3], argv + 3);
		_exit(127);
	}
	wait_status(WUNTRACED);
	if (tcgetattr(master, &before) != 0)
		die("tcgetattr: %s", strerror(errno));
	kill(child, SIGCONT);
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		step(line);
	}
	if (child > 0)
		die("the steps leave the program running");
	return 0;
}
