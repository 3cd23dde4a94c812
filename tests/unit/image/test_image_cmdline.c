#include "image_fixture.h"

#include "vmctl/image.h"

#define AGENT "rdinit=/sbin/provium-agent"

static const struct {
	const char *in;
	bool inject;
	const char *out; /* NULL: refused */
} cases[] = {
	{ "", false, "console=ttyS0" },
	{ "", true, "console=ttyS0 " AGENT },
	{ "quiet", false, "quiet console=ttyS0" },
	{ "quiet", true, "quiet console=ttyS0 " AGENT },
	{ "console=ttyS0 quiet", true, "console=ttyS0 quiet " AGENT },
	{ "console=hvc0 quiet", false, "console=hvc0 quiet" },
	{ "netconsole=x", false, "netconsole=x console=ttyS0" },
	{ "console", false, "console console=ttyS0" },
	{ "console=ttyS0 " AGENT, true, "console=ttyS0 " AGENT },
	{ "console=ttyS0 rdinit=/bin/sh", true, NULL },
	{ "console=ttyS0 rdinit=/bin/sh", false, "console=ttyS0 rdinit=/bin/sh" },
	{ "console=ttyS0 rdinit=/sbin/provium-agent2", true, NULL },
	{ "console=ttyS0 \"rdinit=/bin/a b\"", true, NULL },
	/* inside the quotes of another parameter they mean nothing */
	{ "dyndbg=\"x rdinit=/bin/sh console=y\"", true, "dyndbg=\"x rdinit=/bin/sh console=y\" console=ttyS0 " AGENT },
	/* behind "--" they are arguments of init, and so would ours be */
	{ "quiet -- console=x rdinit=/y", true, "quiet console=ttyS0 " AGENT " -- console=x rdinit=/y" },
	{ "-- -s", false, "console=ttyS0 -- -s" },
};

static void test_cmdline__table(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct pv_errmsg msg = { 0 };
		char *out = NULL;
		enum pv_err err = pv_image_cmdline(cases[i].in, cases[i].inject, &out, &msg);

		if (cases[i].out) {
			assert_ok(err, &msg);
			assert_string_equal(out, cases[i].out);
		} else {
			assert_int_equal(err, PV_ERR_INVAL);
			assert_non_null(strstr(msg.text, "rdinit="));
			assert_non_null(strstr(msg.text, "inject_agent"));
		}
		free(out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_cmdline__table) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
