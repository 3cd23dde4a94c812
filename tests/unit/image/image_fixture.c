#include "image_fixture.h"

#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "vmctl/hostfile.h"

static char *paths[1024];
static size_t n_paths;

int fixture_setup(void **state)
{
	char *dir = pv_xstrdup("/tmp/provium-image-XXXXXX");

	assert_non_null(mkdtemp(dir));
	*state = dir;
	return 0;
}

int fixture_teardown(void **state)
{
	assert_int_equal(pv_hostfile_remove_tree(*state, NULL), PV_OK);
	free(*state);
	while (n_paths > 0)
		free(paths[--n_paths]);
	return 0;
}

const char *fixture_path(const char *dir, const char *name)
{
	assert_true(n_paths < sizeof(paths) / sizeof(paths[0]));
	paths[n_paths] = pv_xasprintf("%s/%s", dir, name);
	return paths[n_paths++];
}

const char *fixture_put(const char *dir, const char *name, const void *data, size_t len)
{
	const char *path = fixture_path(dir, name);
	char *parent = pv_xstrdup(path);
	FILE *file;

	*strrchr(parent, '/') = '\0';
	assert_int_equal(pv_hostfile_mkdirs(parent, NULL), PV_OK);
	free(parent);
	file = fopen(path, "we");
	assert_non_null(file);
	assert_int_equal(fwrite(data, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
	return path;
}

const char *fixture_put_text(const char *dir, const char *name, const char *text)
{
	return fixture_put(dir, name, text, strlen(text));
}

void fixture_read(const char *path, struct pv_buf *out)
{
	struct pv_errmsg msg;

	assert_ok(pv_hostfile_read(path, 64u << 20, out, &msg), &msg);
}

void fixture_settle(const char *path)
{
	struct timespec tick = { .tv_nsec = 1000000 };
	struct pv_hostfile_id id;
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	id = pv_hostfile_id(&st);
	for (int i = 0; i < 1000 && !pv_hostfile_settled(&id, pv_hostfile_clock_ns()); i++)
		nanosleep(&tick, NULL);
	assert_true(pv_hostfile_settled(&id, pv_hostfile_clock_ns()));
}

bool fixture_exists(const char *path)
{
	return access(path, F_OK) == 0;
}

/* ---- modules ---- */

void fixture_module(struct pv_buf *out, const char *name, const char *depends, const char *alias)
{
	static const char names[] = "\0.shstrtab\0.modinfo";
	struct pv_buf info = { 0 };
	Elf64_Shdr sections[3] = { 0 };
	Elf64_Ehdr head = { .e_ident = ELFMAG, .e_type = ET_REL, .e_machine = EM_X86_64 };

	if (alias)
		pv_buf_addf(&info, "alias=%s%c", alias, 0);
	pv_buf_addf(&info, "license=GPL%cdepends=%s%cname=%s%c", 0, depends, 0, name, 0);
	head.e_ident[EI_CLASS] = ELFCLASS64;
	head.e_ident[EI_DATA] = ELFDATA2LSB;
	head.e_shoff = sizeof(head);
	head.e_shentsize = sizeof(sections[0]);
	head.e_shnum = 3;
	head.e_shstrndx = 1;
	sections[1].sh_name = 1;
	sections[1].sh_offset = sizeof(head) + sizeof(sections);
	sections[1].sh_size = sizeof(names);
	sections[2].sh_name = 11;
	sections[2].sh_offset = sections[1].sh_offset + sizeof(names);
	sections[2].sh_size = info.len;
	pv_buf_add(out, &head, sizeof(head));
	pv_buf_add(out, sections, sizeof(sections));
	pv_buf_add(out, names, sizeof(names));
	pv_buf_add(out, info.data, info.len);
	pv_buf_free(&info);
}

const char *fixture_put_module(const char *dir, const char *file, const char *name, const char *depends)
{
	struct pv_buf ko = { 0 };
	const char *path;

	fixture_module(&ko, name, depends, NULL);
	path = fixture_put(dir, file, ko.data, ko.len);
	pv_buf_free(&ko);
	return path;
}

void fixture_put_drivers(const char *dir)
{
	static const char *const drivers[][3] = {
		{ "kernel/drivers/virtio/virtio_ring.ko", "virtio_ring", "" },
		{ "kernel/drivers/virtio/virtio.ko", "virtio", "virtio_ring" },
		{ "kernel/drivers/virtio/virtio_pci_legacy_dev.ko", "virtio_pci_legacy_dev", "" },
		{ "kernel/drivers/virtio/virtio_pci_modern_dev.ko", "virtio_pci_modern_dev", "" },
		{ "kernel/drivers/virtio/virtio_pci.ko", "virtio_pci",
		  "virtio_ring,virtio_pci_modern_dev,virtio_pci_legacy_dev,virtio" },
		{ "kernel/drivers/char/virtio_console.ko", "virtio_console", "virtio,virtio_ring" },
		{ "kernel/net/core/failover.ko", "failover", "" },
		{ "kernel/drivers/net/net_failover.ko", "net_failover", "failover" },
		{ "kernel/drivers/net/virtio_net.ko", "virtio_net", "virtio_ring,virtio,net_failover" },
		{ "kernel/drivers/block/virtio_blk.ko", "virtio_blk", "virtio,virtio_ring" },
		{ "kernel/drivers/char/hw_random/virtio-rng.ko", "virtio_rng", "virtio,virtio_ring" },
		{ "kernel/fs/unrelated.ko", "unrelated", "" },
	};

	for (size_t i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++)
		fixture_put_module(dir, drivers[i][0], drivers[i][1], drivers[i][2]);
}

/* ---- cpio ---- */

static uint32_t field(const uint8_t *header, size_t index)
{
	char digits[9] = { 0 }, *end;
	unsigned long value;

	memcpy(digits, header + 6 + 8 * index, 8);
	value = strtoul(digits, &end, 16);
	assert_int_equal(*end, '\0');
	return (uint32_t)value;
}

size_t fixture_unpack(const struct pv_buf *archive, size_t at, struct fixture_entry *entries, size_t max, size_t *end)
{
	size_t n = 0;

	for (;;) {
		const uint8_t *header = archive->data + at;
		size_t name_len, len, content;
		const char *name;

		assert_true(at % 4 == 0 && at + 110 <= archive->len);
		assert_memory_equal(header, "070701", 6);
		name_len = field(header, 11);
		len = field(header, 6);
		name = (const char *)header + 110;
		content = (at + 110 + name_len + 3) & ~(size_t)3;
		assert_true(content + len <= archive->len);
		assert_int_equal(strlen(name) + 1, name_len);
		at = (content + len + 3) & ~(size_t)3;
		if (!strcmp(name, "TRAILER!!!"))
			break;
		assert_true(n < max);
		entries[n++] = (struct fixture_entry){
			.name = name,
			.mode = field(header, 1),
			.major = field(header, 9),
			.minor = field(header, 10),
			.data = archive->data + content,
			.len = len,
		};
	}
	*end = at;
	return n;
}

const struct fixture_entry *fixture_find(const struct fixture_entry *entries, size_t n, const char *name)
{
	while (n-- > 0)
		if (!strcmp(entries[n].name, name))
			return &entries[n];
	return NULL;
}
