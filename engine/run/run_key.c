#include "engine/run/run_key.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "proto/mem.h"

static char *key_path(const char *dir)
{
	return pv_xasprintf("%s/secrets.key", dir);
}

enum pv_err pv_run_key_save(const char *dir, const uint8_t key[PV_ENGINE_MAC_KEY_BYTES], struct pv_errmsg *msg)
{
	char *path = key_path(dir);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	enum pv_err err = PV_OK;

	if (fd < 0 || write(fd, key, PV_ENGINE_MAC_KEY_BYTES) != PV_ENGINE_MAC_KEY_BYTES)
		err = pv_err_sys(msg, errno == ENOSPC ? PV_ERR_NOSPACE : PV_ERR_IO, errno, "cannot write %s", path);
	if (fd >= 0)
		close(fd);
	free(path);
	return err;
}

bool pv_run_key_load(const char *dir, uint8_t key[PV_ENGINE_MAC_KEY_BYTES])
{
	char *path = key_path(dir);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	bool ok = fd >= 0 && read(fd, key, PV_ENGINE_MAC_KEY_BYTES) == PV_ENGINE_MAC_KEY_BYTES;

	if (fd >= 0)
		close(fd);
	free(path);
	return ok;
}
