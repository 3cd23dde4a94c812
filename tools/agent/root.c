#include "root.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"

/* For kernels before 5.2: a mount that is detached at once lives on in its descriptor. */
static int open_detached_proc(void)
{
	static const char dir[] = "/.provium-proc";
	int fd;

	if (mkdir(dir, 0700) != 0 && errno != EEXIST)
		return -1;
	if (mount("proc", dir, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) != 0)
		return -1;
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	umount2(dir, MNT_DETACH);
	rmdir(dir);
	return fd;
}

int pv_root_open_proc(void)
{
	int context = fsopen("proc", FSOPEN_CLOEXEC);
	int fd = -1;

	if (context >= 0) {
		if (fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
			fd =
			    fsmount(context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
		close(context);
	}
	return fd >= 0 ? fd : open_detached_proc();
}

void pv_root_follow(int proc_fd)
{
	static struct stat
	    ours; /* read once: it changes here, or by pivot_root(2), and then one chroot too many is made */
	struct stat theirs;
	int fd;

	if (proc_fd < 0 || (ours.st_nlink == 0 && stat("/", &ours) != 0))
		return;
	/* 1/root is a magic link: it leads to the directory itself, wherever and under whatever it is mounted. */
	if (fstatat(proc_fd, "1/root", &theirs, 0) != 0 ||
	    (theirs.st_dev == ours.st_dev && theirs.st_ino == ours.st_ino))
		return;
	fd = openat(proc_fd, "1/root", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fchdir(fd) != 0 || chroot(".") != 0)
		pv_log_sys(errno, "cannot follow PID 1 to its new root directory");
	else
		ours = theirs;
	if (fd >= 0)
		close(fd);
}
