#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/provium/verb.h"
#include "vmctl/image.h"

struct flags {
	const char *kernel, *busybox, *modules;
	bool toml;
};

#define AT(member) .offset = offsetof(struct flags, member)

static const struct pv_option options[] = {
	{ "kernel", 0, PV_OPTION_TEXT, AT(kernel), .argument = "PATH",
	  .help = "build: kernel (default: Debian's newest cloud kernel, else /boot)" },
	{ "busybox", 0, PV_OPTION_TEXT, AT(busybox), .argument = "PATH",
	  .help = "build: static busybox (default: in PATH)" },
	{ "modules", 0, PV_OPTION_TEXT, AT(modules), .argument = "DIR",
	  .help = "build: module directory of the kernel" },
	{ "toml", 0, PV_OPTION_FLAG, AT(toml), .help = "info: as a [profiles.default] table" },
	{ .name = NULL },
};

#undef AT

static void progress(void *arg, const char *line)
{
	(void)arg;
	printf("%s\n", line);
	fflush(stdout);
}

static enum pv_err build(const struct flags *flags, const char *dir, struct pv_errmsg *msg)
{
	struct pv_guest_build request = {
		.kernel = flags->kernel,
		.busybox = flags->busybox,
		.modules = flags->modules,
		.out_dir = dir,
	};

	return pv_guest_build(&request, progress, NULL, msg);
}

/* A basic string of TOML. */
static void print_toml(const char *key, const char *value)
{
	printf("%s = \"", key);
	for (const char *p = value; *p; p++) {
		unsigned char c = (unsigned char)*p;
		if (c == '"' || c == '\\')
			printf("\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			printf("\\u%04X", c);
		else
			putchar(c);
	}
	puts("\"");
}

static void print_hash(const char *key, const uint8_t hash[32])
{
	printf("%s  ", key);
	for (size_t i = 0; i < 32; i++)
		printf("%02x", hash[i]);
	puts("");
}

static enum pv_err info(const struct flags *flags, const char *dir, struct pv_errmsg *msg)
{
	struct pv_guest_info guest;
	enum pv_err err = pv_guest_info(dir, &guest, msg);

	if (err)
		return err;
	if (flags->toml) {
		puts("[profiles.default]");
		print_toml("kernel", guest.kernel);
		print_toml("initrd", guest.initrd);
		print_toml("cmdline", "console=ttyS0");
		if (guest.modules)
			print_toml("modules", guest.modules);
	} else {
		printf("release        %s\n", guest.release);
		printf("kernel         %s\n", guest.kernel);
		printf("initrd         %s\n", guest.initrd);
		printf("modules        %s\n", guest.modules ? guest.modules : "none");
		print_hash("kernel sha256", guest.kernel_sha256);
		print_hash("initrd sha256", guest.initrd_sha256);
	}
	pv_guest_info_free(&guest);
	return PV_OK;
}

static enum pv_exit guest(const struct flags *flags, const char *what)
{
	struct pv_errmsg msg = { .text = "" };
	char *dir = NULL;
	enum pv_err err = pv_config_xdg(PV_XDG_DATA, "guest", &dir, &msg);

	if (!err)
		err = strcmp(what, "build") == 0 ? build(flags, dir, &msg) : info(flags, dir, &msg);
	if (err)
		pv_run_say("%s", msg.text);
	free(dir);
	return err ? PV_EXIT_TROUBLE : PV_EXIT_OK;
}

static enum pv_exit run(char *const *argv)
{
	struct flags flags = { .kernel = NULL };
	struct pv_option_texts rest = { .items = NULL };
	enum pv_exit code = PV_EXIT_TROUBLE;

	if (pv_verb_parse(&pv_verb_guest, argv, &flags, &rest)) {
		bool known = rest.n == 1 && (strcmp(rest.items[0], "build") == 0 || strcmp(rest.items[0], "info") == 0);
		code = known ? guest(&flags, rest.items[0])
		             : pv_verb_usage(&pv_verb_guest, "`guest build` or `guest info`?");
	}
	free(rest.items);
	return code;
}

const struct pv_verb pv_verb_guest = {
	.name = "guest",
	.synopsis = "guest build | guest info",
	.summary = "build the default guest, or tell what is built",
	.options = options,
	.run = run,
};
