#include "engine/script/host_file.h"

#include <errno.h>

int pv_read_stream(FILE *file, struct pv_buf *out)
{
	char block[16384];
	size_t n;

	while ((n = fread(block, 1, sizeof(block), file)) > 0)
		pv_buf_add(out, block, n);
	return ferror(file) ? errno : 0;
}

int pv_read_file(const char *path, struct pv_buf *out, bool *opened)
{
	FILE *file = fopen(path, "re");
	int error = errno;

	if (opened != NULL)
		*opened = file != NULL;
	if (file == NULL)
		return error;
	error = pv_read_stream(file, out);
	fclose(file);
	return error;
}
