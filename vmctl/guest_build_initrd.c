/* The file system of the default guest: busybox, a small /etc, and modules that tests may want. */
#include <stdlib.h>
#include <string.h>

#include "vmctl/guest_build_internal.h"

#define PROGRAM_TIMEOUT (20 * 1000)

/* Beyond the drivers of the overlay: file systems, and devices for networks inside a guest. The kernel asks modprobe for them by
 * alias, so that mount(8) and ip(8) need no preparation. The rest of a distribution's modules would be 90 MB. */
static const char *const extra_modules[] = { "ext4",     "vfat",    "nls_cp437", "nls_ascii", "nls_iso8859_1",
	                                     "nls_utf8", "overlay", "loop",      "dummy",     "veth",
	                                     "bridge",   "8021q",   "macvlan",   "tun",       NULL };

/* PID 1 after the agent, which has mounted /proc, /sys and /dev; without it (inject_agent = false) they are mounted here. */
static const char init_script[] = "#!/bin/sh\n"
                                  "[ -e /proc/self ] || mount -t proc proc /proc\n"
                                  "[ -e /sys/kernel ] || mount -t sysfs sysfs /sys\n"
                                  "[ -c /dev/null ] || mount -t devtmpfs devtmpfs /dev\n"
                                  "[ -d /dev/pts ] || mkdir /dev/pts\n"
                                  "[ -c /dev/pts/ptmx ] || mount -t devpts -o mode=620,ptmxmode=666 devpts /dev/pts\n"
                                  "ip link set lo up\n"
                                  "exec /sbin/init\n";

/* busybox init reaps orphans and understands poweroff, reboot and halt. */
static const char inittab[] = "ttyS0::askfirst:-/bin/sh\n"
                              "::ctrlaltdel:/sbin/reboot\n"
                              "::shutdown:umount -a -r 2>/dev/null\n";

static const char udhcpc_script[] = "#!/bin/sh\n"
                                    "case \"$1\" in\n"
                                    "deconfig)\n"
                                    "\tip addr flush dev \"$interface\"\n"
                                    "\tip link set \"$interface\" up\n"
                                    "\t;;\n"
                                    "bound|renew)\n"
                                    "\tip addr flush dev \"$interface\"\n"
                                    "\tip addr add \"$ip/${mask:-24}\" dev \"$interface\"\n"
                                    "\tfor gateway in $router; do\n"
                                    "\t\tip route replace default via \"$gateway\" dev \"$interface\"\n"
                                    "\t\tbreak\n"
                                    "\tdone\n"
                                    "\t[ -z \"$dns\" ] || : >/etc/resolv.conf\n"
                                    "\tfor server in $dns; do\n"
                                    "\t\techo \"nameserver $server\" >>/etc/resolv.conf\n"
                                    "\tdone\n"
                                    "\t;;\n"
                                    "esac\n";

struct text_file {
	const char *path;
	mode_t perm;
	const char *text;
};

static const struct text_file text_files[] = {
	{ "init", 0755, init_script },
	{ "etc/inittab", 0644, inittab },
	{ "etc/passwd", 0644,
	  "root:x:0:0:root:/root:/bin/sh\n"
	  "daemon:x:1:1:daemon:/:/bin/false\n"
	  "user:x:1000:1000:user:/home/user:/bin/sh\n"
	  "nobody:x:65534:65534:nobody:/:/bin/false\n" },
	/* No passwords. busybox takes no entry of passwd whose own field for it is empty. */
	{ "etc/shadow", 0600,
	  "root::0:0:99999:7:::\n"
	  "user::0:0:99999:7:::\n" },
	{ "etc/group", 0644,
	  "root:x:0:\n"
	  "daemon:x:1:\n"
	  "tty:x:5:\n"
	  "disk:x:6:\n"
	  "user:x:1000:\n"
	  "nogroup:x:65534:\n" },
	{ "etc/hosts", 0644,
	  "127.0.0.1\tlocalhost\n"
	  "::1\tlocalhost\n" },
	{ "etc/resolv.conf", 0644, "" },
	{ "etc/profile", 0644,
	  "export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
	  "[ \"$HOME\" != / ] || { export HOME=/root; cd; }\n" },
	{ "etc/os-release", 0644,
	  "NAME=\"provium guest\"\n"
	  "ID=provium\n"
	  "VERSION_ID=\"" PV_VERSION "\"\n"
	  "PRETTY_NAME=\"provium guest " PV_VERSION "\"\n" },
	{ "usr/share/udhcpc/default.script", 0755, udhcpc_script },
};

static void add_tree(struct pv_cpio *out)
{
	static const char *const dirs[] = { "bin",     "dev",      "etc",           "home/user",      "lib",
		                            "mnt",     "proc",     "run",           "sbin",           "sys",
		                            "usr/bin", "usr/sbin", "usr/local/bin", "usr/local/sbin", "var/lib",
		                            "var/log" };

	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
		pv_cpio_add_dir(out, dirs[i], 0755);
	pv_cpio_add_dir(out, "root", 0700);
	pv_cpio_add_dir(out, "tmp", 01777);
	pv_cpio_add_dir(out, "var/tmp", 01777);
	pv_cpio_add_symlink(out, "var/run", "../run");
	pv_cpio_add_symlink(out, "etc/mtab", "../proc/mounts");
	pv_cpio_add_node(out, "dev/console", S_IFCHR | 0600, 5, 1);
	pv_cpio_add_node(out, "dev/null", S_IFCHR | 0666, 1, 3);
	for (size_t i = 0; i < sizeof(text_files) / sizeof(text_files[0]); i++)
		pv_cpio_add_file(out, text_files[i].path, text_files[i].perm, text_files[i].text,
		                 strlen(text_files[i].text));
}

/* ---- busybox ---- */

/* `list` has a path a line, as "usr/bin/head". Links are absolute: the applets lie in several directories. */
static enum pv_err add_applets(struct pv_cpio *out, const char *busybox, char *list, struct pv_errmsg *msg)
{
	static const char *const needed[] = { "bin/sh", "sbin/init", "bin/mount", NULL };
	size_t found = 0;
	char *save, *line;

	for (line = strtok_r(list, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (line[0] == '/' || strstr(line, "..") || !strcmp(line, "bin/busybox") || !strcmp(line, "linuxrc"))
			continue;
		for (size_t i = 0; needed[i]; i++)
			found += !strcmp(line, needed[i]);
		pv_cpio_add_symlink(out, line, "/bin/busybox");
	}
	if (found < sizeof(needed) / sizeof(needed[0]) - 1)
		return pv_err_set(msg, PV_ERR_UNSUPPORTED,
		                  "%s lacks one of the applets sh, init, mount; give another by --busybox PATH",
		                  busybox);
	return PV_OK;
}

static enum pv_err add_busybox(struct pv_cpio *out, const char *busybox, struct pv_errmsg *msg)
{
	const char *argv[] = { NULL, "--list-full", NULL };
	/* With a '/', so that it is not looked for in PATH. */
	char *path = realpath(busybox, NULL), *list;
	struct pv_buf text = { 0 };
	enum pv_err err;

	argv[0] = path ? path : busybox;
	err = pv_guest_program(argv, NULL, PROGRAM_TIMEOUT, &text, msg);
	free(path);
	list = pv_buf_steal(&text);
	if (!err)
		err = pv_cpio_add_host_file(out, "bin/busybox", 0755, busybox, msg);
	if (!err)
		err = add_applets(out, busybox, list ? list : (char[]){ "" }, msg);
	free(list);
	return err;
}

/* ---- modules ---- */

enum pv_err pv_guest_want_modules(struct pv_modules *modules, struct pv_errmsg *msg)
{
	enum pv_err err = pv_image_want_drivers(modules, msg);

	for (const char *const *name = extra_modules; *name && !err; name++) {
		err = pv_modules_want(modules, *name, msg);
		if (err == PV_ERR_NOENT)
			err = PV_OK;
	}
	return err;
}

/* Where the unpacked module lies below /lib/modules/RELEASE. */
static char *plain_path(const struct pv_module *module)
{
	const char *suffix = strstr(module->path, ".ko");

	return pv_xasprintf("%.*s.ko", (int)(suffix - module->path), module->path);
}

static bool in_list(const char *list, const char *name)
{
	size_t len = strlen(name);

	for (const char *at = list; *at; at += strspn(at, ",")) {
		size_t part = strcspn(at, ",");
		bool same = part == len;

		for (size_t i = 0; same && i < len; i++)
			same = (at[i] == '-' ? '_' : at[i]) == name[i];
		if (same)
			return true;
		at += part;
	}
	return false;
}

/* Adds what `module` depends on, directly or not, the last to be loaded first, as modprobe expects it. The wanted list has every
 * module behind its dependencies, so one pass from `module` to the front finds all of them. */
static void add_dependencies(struct pv_module *const *order, size_t at, struct pv_buf *line)
{
	bool *needed = pv_xcalloc(at + 1, sizeof(*needed));

	needed[at] = true;
	for (size_t i = at + 1; i-- > 0;) {
		const char *depends = pv_modinfo_next(&order[i]->ko, "depends", NULL);
		char *path;

		if (!needed[i])
			continue;
		for (size_t j = 0; j < i; j++)
			needed[j] = needed[j] || in_list(depends ? depends : "", order[j]->name);
		if (i == at)
			continue;
		path = plain_path(order[i]);
		pv_buf_addf(line, " %s", path);
		free(path);
	}
	free(needed);
}

/* modules.dep and modules.alias for modprobe. */
static void add_indexes(struct pv_cpio *out, const char *dir, struct pv_module *const *order, size_t n)
{
	struct pv_buf dep = { 0 }, alias = { 0 };
	char *path;

	for (size_t i = 0; i < n; i++) {
		const char *value = NULL;

		path = plain_path(order[i]);
		pv_buf_addf(&dep, "%s:", path);
		free(path);
		add_dependencies(order, i, &dep);
		pv_buf_addstr(&dep, "\n");
		while ((value = pv_modinfo_next(&order[i]->ko, "alias", value)))
			pv_buf_addf(&alias, "alias %s %s\n", value, order[i]->name);
	}
	path = pv_xasprintf("%s/modules.dep", dir);
	pv_cpio_add_file(out, path, 0644, dep.data, dep.len);
	free(path);
	path = pv_xasprintf("%s/modules.alias", dir);
	pv_cpio_add_file(out, path, 0644, alias.data, alias.len);
	free(path);
	pv_buf_free(&dep);
	pv_buf_free(&alias);
}

static void add_modules(struct pv_cpio *out, const char *release, struct pv_modules *modules)
{
	char *dir = pv_xasprintf("lib/modules/%s", release), *builtin, *builtin_path;
	struct pv_module *module, **order = NULL;
	size_t n = 0;

	STAILQ_FOREACH (module, &modules->wanted, next) {
		char *path = plain_path(module), *full = pv_xasprintf("%s/%s", dir, path);

		pv_cpio_add_file(out, full, 0644, module->ko.data, module->ko.len);
		free(full);
		free(path);
		order = pv_xrealloc(order, (n + 1) * sizeof(struct pv_module *));
		order[n++] = module;
	}
	add_indexes(out, dir, order, n);
	/* Lets modprobe succeed for what is built in. */
	builtin = pv_xasprintf("%s/modules.builtin", modules->dir);
	builtin_path = pv_xasprintf("%s/modules.builtin", dir);
	if (pv_cpio_add_host_file(out, builtin_path, 0644, builtin, NULL))
		pv_cpio_add_file(out, builtin_path, 0644, "", 0);
	free(builtin_path);
	free(builtin);
	free(order);
	free(dir);
}

enum pv_err pv_guest_initrd(const struct pv_guest_parts *parts, struct pv_modules *modules, struct pv_cpio *out,
                            struct pv_errmsg *msg)
{
	enum pv_err err;

	add_tree(out);
	err = add_busybox(out, parts->busybox, msg);
	if (err)
		return err;
	if (modules)
		add_modules(out, parts->release, modules);
	pv_cpio_finish(out);
	return PV_OK;
}
