/* Names of the lab in /etc/hosts, between two markers; and /etc/resolv.conf while a network has an uplink. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "network.h"
#include "proto/mem.h"

#define HOSTS    "/etc/hosts"
#define RESOLVER "/etc/resolv.conf"
#define BEGIN    "# names of the lab, kept by provium\n"
#define END      "# end of the names of the lab\n"
#define FILE_MAX (1u << 20)

/* Appends the file; one that is not there is empty. */
static int read_all(const char *path, struct pv_buf *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), error = 0;
	char piece[4096];
	ssize_t n;

	if (fd < 0)
		return errno == ENOENT ? 0 : errno;
	while ((n = read(fd, piece, sizeof(piece))) > 0 && out->len < FILE_MAX)
		pv_buf_add(out, piece, (size_t)n);
	if (n != 0)
		error = n < 0 ? errno : EFBIG; /* written again it would be shorter */
	close(fd);
	return error;
}

static int write_all(int fd, const struct pv_buf *text)
{
	size_t done = 0;

	while (done < text->len) {
		ssize_t n = write(fd, text->data + done, text->len - done);

		if (n < 0 && errno != EINTR)
			return errno;
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

/* Replaced at once, so that nobody reads half of it; where that cannot be (a mount point), written in place. */
static int replace(const char *path, const struct pv_buf *text)
{
	char *temporary = pv_xasprintf("%s.provium", path);
	int fd, error;

	if (mkdir("/etc", 0755) != 0 && errno != EEXIST) {
		error = errno;
		free(temporary);
		return error;
	}
	fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	error = fd >= 0 ? write_all(fd, text) : errno;
	if (fd >= 0)
		close(fd);
	if (error == 0 && rename(temporary, path) != 0)
		error = errno;
	if (error != 0)
		unlink(temporary);
	if (error == EBUSY) {
		fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
		error = fd >= 0 ? write_all(fd, text) : errno;
		if (fd >= 0)
			close(fd);
	}
	free(temporary);
	return error;
}

static bool is_line(const char *at, const char *line)
{
	return strncmp(at, line, strlen(line)) == 0;
}

/* All lines but ours. */
static void keep_others(const char *text, struct pv_buf *out)
{
	bool ours = false;

	while (*text != '\0') {
		size_t len = strcspn(text, "\n");

		len += text[len] == '\n';
		if (is_line(text, BEGIN))
			ours = true;
		if (!ours)
			pv_buf_add(out, text, len);
		if (is_line(text, END))
			ours = false;
		text += len;
	}
	if (out->len > 0 && out->data[out->len - 1] != '\n')
		pv_buf_addstr(out, "\n");
}

static void add_names(const Pva__Network *network, struct pv_buf *out)
{
	if (network->n_names == 0)
		return;
	pv_buf_addstr(out, BEGIN);
	for (size_t i = 0; i < network->n_names; i++) {
		const Pva__HostName *name = network->names[i];
		char address[INET_ADDRSTRLEN];

		if (name->address.len == 4 && name->name != NULL && strpbrk(name->name, " \t\n#") == NULL)
			pv_buf_addf(out, "%s\t%s\n", inet_ntop(AF_INET, name->address.data, address, sizeof(address)),
			            name->name);
	}
	pv_buf_addstr(out, END);
}

void pv_network_hosts(const char *before, const Pva__Network *network, struct pv_buf *after)
{
	if (*before == '\0')
		pv_buf_addstr(after, "127.0.0.1\tlocalhost\n::1\tlocalhost\n");
	keep_others(before, after);
	add_names(network, after);
}

int pv_network_write_names(const Pva__Network *network)
{
	struct pv_buf before = { 0 }, after = { 0 };
	int error = read_all(HOSTS, &before);

	if (error == 0) {
		pv_network_hosts(pv_buf_str(&before), network, &after);
		if (after.len != before.len || memcmp(after.data, before.data, after.len) != 0)
			error = replace(HOSTS, &after);
	}
	pv_buf_free(&before);
	pv_buf_free(&after);
	return error;
}

int pv_network_write_resolver(const Pva__Network *network)
{
	static const char mark[] = "# kept by provium\n";
	struct pv_buf before = { 0 }, after = { 0 };
	char address[INET_ADDRSTRLEN];
	int error = read_all(RESOLVER, &before);
	bool ours = error == 0 && is_line(pv_buf_str(&before), mark);

	if (error == 0 && network->nameserver.len == 4) {
		pv_buf_addf(&after, "%snameserver %s\n", mark,
		            inet_ntop(AF_INET, network->nameserver.data, address, sizeof(address)));
		if (after.len != before.len || memcmp(after.data, before.data, after.len) != 0)
			error = replace(RESOLVER, &after);
	} else if (ours && unlink(RESOLVER) != 0) {
		error = errno;
	}
	pv_buf_free(&before);
	pv_buf_free(&after);
	return error;
}
