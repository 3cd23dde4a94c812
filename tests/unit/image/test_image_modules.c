#include "image_fixture.h"

#include <lzma.h>
#include <stdio.h>
#include <zstd.h>

#include "vmctl/image_internal.h"

/* "a b c": names of the wanted list. */
static char *wanted_names(struct pv_modules *modules)
{
	struct pv_buf out = { 0 };
	struct pv_module *module;

	STAILQ_FOREACH (module, &modules->wanted, next) {
		pv_buf_addf(&out, "%s%s", out.len ? " " : "", module->name);
	}
	return pv_buf_steal(&out);
}

static void check_wanted(struct pv_modules *modules, const char *names)
{
	char *got = wanted_names(modules);

	assert_string_equal(got, names);
	free(got);
}

/* Load order with those of the agent's port in front; the file virtio-rng.ko is the module virtio_rng. */
static void test_drivers__port_first_in_load_order(void **state)
{
	struct pv_modules modules;
	struct pv_errmsg msg;

	fixture_put_drivers(*state);
	assert_ok(pv_modules_open(*state, &modules, &msg), &msg);
	assert_ok(pv_image_want_drivers(&modules, &msg), &msg);
	check_wanted(&modules,
	             "virtio_ring virtio_pci_modern_dev virtio_pci_legacy_dev virtio virtio_pci virtio_console "
	             "failover net_failover virtio_net virtio_blk virtio_rng");
	pv_modules_close(&modules);
}

static void test_drivers__builtin_are_skipped(void **state)
{
	struct pv_modules modules;
	struct pv_errmsg msg;

	fixture_put_text(*state, "modules.builtin",
	                 "kernel/drivers/virtio/virtio_pci.ko\nkernel/drivers/char/virtio_console.ko\n"
	                 "kernel/drivers/virtio/virtio.ko\nkernel/drivers/virtio/virtio_ring.ko\n");
	fixture_put_module(*state, "kernel/virtio_blk.ko", "virtio_blk", "virtio,virtio_ring");
	assert_ok(pv_modules_open(*state, &modules, &msg), &msg);
	assert_ok(pv_image_want_drivers(&modules, &msg), &msg);
	check_wanted(&modules, "virtio_blk");
	pv_modules_close(&modules);
}

static void test_drivers__missing_port_driver_names_the_directory(void **state)
{
	struct pv_modules modules;
	struct pv_errmsg msg;

	fixture_put_drivers(*state);
	assert_int_equal(remove(fixture_path(*state, "kernel/drivers/char/virtio_console.ko")), 0);
	assert_ok(pv_modules_open(*state, &modules, &msg), &msg);
	assert_int_equal(pv_image_want_drivers(&modules, &msg), PV_ERR_NOENT);
	assert_non_null(strstr(msg.text, *state));
	assert_non_null(strstr(msg.text, "virtio_console"));
	pv_modules_close(&modules);
}

static void test_drivers__missing_network_driver_is_left_out(void **state)
{
	struct pv_modules modules;
	struct pv_errmsg msg;

	fixture_put_drivers(*state);
	assert_int_equal(remove(fixture_path(*state, "kernel/drivers/net/virtio_net.ko")), 0);
	assert_ok(pv_modules_open(*state, &modules, &msg), &msg);
	assert_ok(pv_image_want_drivers(&modules, &msg), &msg);
	assert_string_equal(msg.text, "");
	check_wanted(&modules,
	             "virtio_ring virtio_pci_modern_dev virtio_pci_legacy_dev virtio virtio_pci virtio_console "
	             "virtio_blk virtio_rng");
	pv_modules_close(&modules);
}

static void test_directory__missing(void **state)
{
	struct pv_modules modules;
	struct pv_errmsg msg;

	assert_int_equal(pv_modules_open(fixture_path(*state, "none"), &modules, &msg), PV_ERR_NOENT);
	assert_non_null(strstr(msg.text, "/none"));
	assert_int_equal(pv_modules_open(fixture_put_text(*state, "file", "x"), &modules, &msg), PV_ERR_NOENT);
}

static void test_want__updates_come_first(void **state)
{
	struct pv_modules modules;
	struct pv_errmsg msg;

	fixture_put_module(*state, "kernel/a.ko", "a", "");
	fixture_put_module(*state, "updates/dkms/a.ko", "a", "");
	assert_ok(pv_modules_open(*state, &modules, &msg), &msg);
	assert_ok(pv_modules_want(&modules, "a", &msg), &msg);
	assert_string_equal(STAILQ_FIRST(&modules.wanted)->path, "updates/dkms/a.ko");
	pv_modules_close(&modules);
}

static void test_want__cycle_is_refused(void **state)
{
	struct pv_modules modules;
	struct pv_errmsg msg;

	fixture_put_module(*state, "a.ko", "a", "b");
	fixture_put_module(*state, "b.ko", "b", "a");
	assert_ok(pv_modules_open(*state, &modules, &msg), &msg);
	assert_int_equal(pv_modules_want(&modules, "a", &msg), PV_ERR_CORRUPT);
	assert_non_null(strstr(msg.text, "depends on itself"));
	pv_modules_close(&modules);
}

/* ---- compressed modules ---- */

static void put_packed(const char *dir, const char *file, bool xz, size_t cut)
{
	struct pv_buf ko = { 0 };
	uint8_t packed[4096];
	size_t len = 0;

	fixture_module(&ko, "a", "", NULL);
	if (xz)
		assert_int_equal(
		    lzma_easy_buffer_encode(6, LZMA_CHECK_CRC32, NULL, ko.data, ko.len, packed, &len, sizeof(packed)),
		    LZMA_OK);
	else
		len = ZSTD_compress(packed, sizeof(packed), ko.data, ko.len, 3);
	assert_false(ZSTD_isError(len));
	fixture_put(dir, file, packed, len - cut);
	pv_buf_free(&ko);
}

static void test_unpack__xz_and_zstd(void **state)
{
	static const char *const files[] = { "kernel/a.ko.xz", "kernel/a.ko.zst" };

	for (size_t i = 0; i < 2; i++) {
		struct pv_buf plain = { 0 };
		struct pv_modules modules;
		struct pv_errmsg msg;
		const struct pv_module *module;

		put_packed(*state, files[i], i == 0, 0);
		fixture_module(&plain, "a", "", NULL);
		assert_ok(pv_modules_open(*state, &modules, &msg), &msg);
		assert_ok(pv_modules_want(&modules, "a", &msg), &msg);
		module = STAILQ_FIRST(&modules.wanted);
		assert_string_equal(module->path, files[i]);
		assert_int_equal(module->ko.len, plain.len);
		assert_memory_equal(module->ko.data, plain.data, plain.len);
		pv_modules_close(&modules);
		pv_buf_free(&plain);
		assert_int_equal(remove(fixture_path(*state, files[i])), 0);
	}
}

static void test_unpack__cut_off_files_are_damaged(void **state)
{
	struct pv_buf out = { 0 };
	struct pv_errmsg msg;

	put_packed(*state, "a.ko.xz", true, 7);
	put_packed(*state, "a.ko.zst", false, 7);
	assert_int_equal(pv_image_read_unpacked(fixture_path(*state, "a.ko.xz"), &out, &msg), PV_ERR_CORRUPT);
	assert_int_equal(pv_image_read_unpacked(fixture_path(*state, "a.ko.zst"), &out, &msg), PV_ERR_CORRUPT);
	fixture_put_text(*state, "b.ko.zst", "no zstd data at all");
	assert_int_equal(pv_image_read_unpacked(fixture_path(*state, "b.ko.zst"), &out, &msg), PV_ERR_CORRUPT);
	fixture_put_text(*state, "a.ko.gz", "x");
	assert_int_equal(pv_image_read_unpacked(fixture_path(*state, "a.ko.gz"), &out, &msg), PV_ERR_UNSUPPORTED);
	pv_buf_free(&out);
}

/* Any prefix and any one-byte change of a module is read without a fault; the sanitizers watch. */
static void test_modinfo__damaged_files(void **state)
{
	struct pv_buf ko = { 0 };

	(void)state;
	fixture_module(&ko, "a", "b,c", "fs-a");
	assert_string_equal(pv_modinfo_next(&ko, "depends", NULL), "b,c");
	assert_string_equal(pv_modinfo_next(&ko, "alias", NULL), "fs-a");
	assert_null(pv_modinfo_next(&ko, "alias", pv_modinfo_next(&ko, "alias", NULL)));
	assert_null(pv_modinfo_next(&ko, "depend", NULL));
	for (size_t len = 0; len < ko.len; len++) {
		struct pv_buf cut = { .data = pv_xmemdup(ko.data, len), .len = len, .cap = len + 1 };

		assert_null(pv_modinfo_next(&cut, "name", NULL));
		free(cut.data);
	}
	for (size_t at = 0; at < ko.len; at++)
		for (unsigned bit = 0; bit < 8; bit++) {
			struct pv_buf bad = { .data = pv_xmemdup(ko.data, ko.len), .len = ko.len, .cap = ko.len + 1 };

			bad.data[at] ^= (uint8_t)(1u << bit);
			(void)pv_modinfo_next(&bad, "name", NULL);
			free(bad.data);
		}
	pv_buf_free(&ko);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		CASE(test_drivers__port_first_in_load_order),
		CASE(test_drivers__builtin_are_skipped),
		CASE(test_drivers__missing_port_driver_names_the_directory),
		CASE(test_drivers__missing_network_driver_is_left_out),
		CASE(test_directory__missing),
		CASE(test_want__updates_come_first),
		CASE(test_want__cycle_is_refused),
		CASE(test_unpack__xz_and_zstd),
		CASE(test_unpack__cut_off_files_are_damaged),
		CASE(test_modinfo__damaged_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
