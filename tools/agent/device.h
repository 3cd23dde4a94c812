/* Device files of a guest. */
#ifndef PV_TOOLS_AGENT_DEVICE_H
#define PV_TOOLS_AGENT_DEVICE_H

/* Opens a character device close-on-exec, through a node that exists only meanwhile: a descriptor of a file in /dev would
 * keep that mount busy when the image's init wants to leave it, and the image may have no /dev. Where no node can be made,
 * `path` is opened. Returns -1 with errno. */
int pv_device_open(unsigned int major_number, unsigned int minor_number, const char *path, int flags);

#endif
