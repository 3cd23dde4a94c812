/* Sources of fixtures, and manifests of the cache, which anyone may have put there: any text is scanned; a manifest that is taken comes back from what it
 * writes. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/run/fixture_inputs.h"
#include "engine/run/fixture_scan.h"
#include "engine/run/scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void scan(const char *text, size_t len)
{
	struct pv_fixture_scan found;
	struct pv_scan claims;

	pv_fixture_scan(text, len, &found);
	for (size_t i = 0; i < found.fixtures.n; i++) {
		if (*found.fixtures.items[i] == '\0')
			abort();
	}
	pv_fixture_scan_free(&found);
	pv_scan_source(text, len, &claims);
	pv_scan_free(&claims);
}

static void read_manifest(const char *text, size_t len)
{
	struct pv_fixture_manifest manifest, again;
	char *written;

	if (pv_fixture_manifest_read(text, len, &manifest, NULL) != PV_OK)
		return;
	written = pv_fixture_manifest_write(&manifest);
	if (pv_fixture_manifest_read(written, strlen(written), &again, NULL) != PV_OK ||
	    strcmp(manifest.key, again.key) != 0 || manifest.inputs.n != again.inputs.n)
		abort();
	pv_fixture_manifest_free(&again);
	pv_fixture_manifest_free(&manifest);
	free(written);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *exact = pv_xmemdup(data, size); /* nothing behind it may be read */

	scan(exact, size);
	read_manifest(exact, size);
	free(exact);
	return 0;
}
