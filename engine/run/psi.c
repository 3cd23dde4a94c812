#include "engine/run/psi.h"

#include <stdio.h>

bool pv_psi_some_avg10(const char *path, double *percent)
{
	FILE *file = fopen(path, "re");
	bool ok;

	if (!file)
		return false;
	ok = fscanf(file, "some avg10=%lf", percent) == 1;
	fclose(file);
	return ok;
}
