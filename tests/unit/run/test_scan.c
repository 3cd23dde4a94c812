/* What a source says of itself without being executed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/run/scan.h"
#include "proto/mem.h"

#define MIB (UINT64_C(1) << 20)

struct row {
	const char *source;
	bool found;
	uint64_t memory;
	uint32_t cpus;
};

static void test_claim__first_literal_at_file_scope(void **state)
{
	static const struct row rows[] = {
		{ "provium:claim({memory = \"256M\", cpus = 2})", true, 256 * MIB, 2 },
		{ "provium:claim{memory=268435456}", true, 256 * MIB, 0 },
		{ "provium : claim ( { cpus = 3 ; } )", true, 0, 3 },
		{ "provium:claim({['memory'] = '1g', [\"cpus\"] = 0x10,})", true, 1024 * MIB, 16 },
		{ "provium:claim({})", true, 0, 0 },
		{ "#!/usr/bin/provium 'x\nprovium:claim({cpus=1})", true, 0, 1 },
		/* not literal: the next one counts */
		{ "p:claim({memory = size}) p:claim({cpus = 2})", true, 0, 2 },
		{ "p:claim({memory = 1 + 1})", false, 0, 0 },
		{ "p:claim({memory = \"1M\" .. x})", false, 0, 0 },
		{ "p:claim({memory = \"x\"})", false, 0, 0 },
		{ "p:claim({disk = 1})", false, 0, 0 },
		{ "p:claim(opts)", false, 0, 0 },
		{ "p:claim({cpus = 99999999999})", false, 0, 0 },
		{ "p:claim({cpus = 1}, 2)", false, 0, 0 },
		/* comments and strings */
		{ "-- p:claim({cpus = 1})\n", false, 0, 0 },
		{ "--[==[ ]] p:claim({cpus = 1}) ]==] p:claim({cpus = 2})", true, 0, 2 },
		{ "x = [[p:claim({cpus = 1})]] y = 'p:claim({cpus = 1})'", false, 0, 0 },
		{ "x = \"\\\"\" p:claim({cpus = 2})", true, 0, 2 },
		/* bodies of functions */
		{ "test('a', function(t) p:claim({cpus = 1}) end) p:claim({cpus = 2})", true, 0, 2 },
		{ "local function f() if a then while b do for i=1,2 do end end else repeat until x end "
		  "p:claim({cpus=1}) end p:claim({cpus=2})",
		  true, 0, 2 },
		{ "if fast then p:claim({cpus = 4}) end", true, 0, 4 },
		{ "x.function_end = 1 x['end'] = 2 p:claim({cpus = 1})", true, 0, 1 },
		/* broken sources */
		{ "p:claim({cpus = 1", false, 0, 0 },
		{ "end end until p:claim({cpus = 5})", true, 0, 5 },
		{ "\"unfinished\np:claim({cpus=1})", true, 0, 1 },
		{ "x = [==[ never closed p:claim({cpus=1})", false, 0, 0 },
		{ "", false, 0, 0 },
		{ "\\", false, 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct pv_scan scan;

		pv_scan_source(rows[i].source, strlen(rows[i].source), &scan);
		if (scan.has_claim != rows[i].found || scan.claim.memory_bytes != rows[i].memory ||
		    scan.claim.cpus != rows[i].cpus)
			fail_msg("%s: %d %llu %u", rows[i].source, scan.has_claim,
			         (unsigned long long)scan.claim.memory_bytes, scan.claim.cpus);
		pv_scan_free(&scan);
	}
}

static void test_fixtures__literal_names_in_order(void **state)
{
	static const char source[] = "local a = provium:vm_fixture(\"base\")\n"
	                             "local b = provium.vm_fixture('net/two')\n"
	                             "local c = provium.lab_fixture(provium, \"lab\")\n"
	                             "test('x', function(t) provium:vm_fixture 'inner' end)\n"
	                             "provium:vm_fixture(\"base\") provium:vm_fixture(name)\n"
	                             "provium:vm_fixture(\"a\" .. b) -- provium:vm_fixture(\"comment\")\n";
	static const char *const expected[] = { "base", "net/two", "lab", "inner" };
	struct pv_scan scan;

	(void)state;
	pv_scan_source(source, strlen(source), &scan);
	assert_int_equal(scan.n_fixtures, 4);
	for (size_t i = 0; i < 4; i++)
		assert_string_equal(scan.fixtures[i], expected[i]);
	pv_scan_free(&scan);
}

/* Every cut of a source, and every byte in it, is scanned without trouble; the sanitizers watch. */
static void test_scan__survives_any_text(void **state)
{
	static const char source[] =
	    "#!x\nlocal t = [==[ ] ]=] ]==] --[[ c ]] p:claim({['memory']=\"1\\\"M\",cpus=0x2}) "
	    "p:vm_fixture('\\z') function f() end";

	(void)state;
	for (size_t len = 0; len < sizeof(source); len++) {
		for (int byte = 0; byte < 256; byte += 3) {
			char *copy = pv_xmemdup(source, len + 1);
			struct pv_scan scan;

			if (len > 0)
				copy[len / 2] = (char)byte;
			char *exact = pv_xmemdup(copy, len); /* nothing behind it may be read */
			pv_scan_source(exact, len, &scan);
			pv_scan_free(&scan);
			free(exact);
			free(copy);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_claim__first_literal_at_file_scope),
		cmocka_unit_test(test_fixtures__literal_names_in_order),
		cmocka_unit_test(test_scan__survives_any_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
