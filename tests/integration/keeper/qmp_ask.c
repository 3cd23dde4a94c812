/* qmp_ask SOCKET COMMAND: prints QEMU's answer to a command without arguments. */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

/* The next line that is no event. */
static int read_answer(FILE *in, char *line, int size)
{
	while (fgets(line, size, in) != NULL)
		if (strstr(line, "\"event\":") == NULL)
			return 0;
	fprintf(stderr, "QEMU says nothing\n");
	return -1;
}

int main(int argc, char **argv)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct timeval patience = { .tv_sec = 20 };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	FILE *in = fdopen(fd, "r+");
	char line[65536];

	if (argc != 3 || in == NULL || strlen(argv[1]) >= sizeof(addr.sun_path))
		return 2;
	memcpy(addr.sun_path, argv[1], strlen(argv[1]));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0) {
		perror(argv[1]);
		return 1;
	}
	setvbuf(in, NULL, _IOLBF, sizeof(line));
	if (read_answer(in, line, sizeof(line)) != 0 || dprintf(fd, "{\"execute\":\"qmp_capabilities\"}\n") < 0 ||
	    read_answer(in, line, sizeof(line)) != 0 || dprintf(fd, "{\"execute\":\"%s\"}\n", argv[2]) < 0 ||
	    read_answer(in, line, sizeof(line)) != 0)
		return 1;
	fputs(line, stdout);
	return 0;
}
