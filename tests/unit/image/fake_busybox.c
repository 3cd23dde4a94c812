#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
	if (argc != 2 || strcmp(argv[1], "--list-full") != 0)
		return 1;
	puts("bin/busybox\nbin/mount\nbin/sh\nlinuxrc\nsbin/init\nsbin/poweroff\nusr/bin/[");
	return 0;
}
