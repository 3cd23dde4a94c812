/* A kernel's module directory: what is in it, and in which order it can be loaded. */
#include <elf.h>
#include <errno.h>
#include <fts.h>
#include <stdlib.h>
#include <string.h>

#include "vmctl/image_internal.h"

#define LIST_MAX   (16u << 20) /* bytes of modules.builtin */
#define NAME_CHARS 128u

/* "kernel/drivers/char/hw_random/virtio-rng.ko.xz" -> "virtio_rng"; false if it is no module. */
static bool module_name(const char *path, char out[NAME_CHARS])
{
	const char *base = strrchr(path, '/');
	const char *dot;
	size_t len;

	base = base ? base + 1 : path;
	dot = strstr(base, ".ko");
	if (!dot || (dot[3] != '\0' && strcmp(dot + 3, ".xz") && strcmp(dot + 3, ".zst") && strcmp(dot + 3, ".gz")))
		return false;
	len = (size_t)(dot - base);
	if (len == 0 || len >= NAME_CHARS)
		return false;
	for (size_t i = 0; i < len; i++)
		out[i] = (char)(base[i] == '-' ? '_' : base[i]);
	out[len] = '\0';
	return true;
}

/* Modules of one name: those of updates/ come first, as for depmod, then by path. */
static int compare_modules(const void *a, const void *b)
{
	const struct pv_module *x = a, *y = b;
	int order = strcmp(x->name, y->name);

	if (order == 0)
		order = strncmp(x->path, "updates/", 8) == 0 ? -(strncmp(y->path, "updates/", 8) != 0)
		                                             : strncmp(y->path, "updates/", 8) == 0;
	return order ? order : strcmp(x->path, y->path);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static enum pv_err scan(struct pv_modules *modules, struct pv_errmsg *msg)
{
	char *roots[] = { modules->dir, NULL };
	FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
	size_t prefix = strlen(modules->dir), cap = 0;
	char name[NAME_CHARS];
	FTSENT *entry;

	if (!fts)
		return pv_err_sys(msg, PV_ERR_IO, errno, "cannot read module directory %s", modules->dir);
	while ((entry = fts_read(fts))) {
		if (entry->fts_info == FTS_DNR ||
		    (entry->fts_level == 0 && entry->fts_info != FTS_D && entry->fts_info != FTS_DP)) {
			int sys_errno = entry->fts_errno ? entry->fts_errno : ENOTDIR;
			enum pv_err err = pv_err_sys(msg, pv_hostfile_err(sys_errno), sys_errno,
			                             "cannot read module directory %s", entry->fts_path);

			fts_close(fts);
			return err;
		}
		if (entry->fts_info != FTS_F || !module_name(entry->fts_name, name))
			continue;
		if (modules->n == cap) {
			cap = cap ? 2 * cap : 256;
			modules->all = pv_xrealloc(modules->all, cap * sizeof(*modules->all));
		}
		modules->all[modules->n++] = (struct pv_module){
			.name = pv_xstrdup(name),
			.path = pv_xstrdup(entry->fts_path + prefix + 1),
		};
	}
	fts_close(fts);
	return PV_OK;
}

static enum pv_err read_builtin(struct pv_modules *modules, struct pv_errmsg *msg)
{
	char *path = pv_xasprintf("%s/modules.builtin", modules->dir);
	struct pv_buf text = { 0 };
	char name[NAME_CHARS], *save, *line;
	enum pv_err err = pv_hostfile_read(path, LIST_MAX, &text, msg);
	size_t cap = 0;

	free(path);
	if (err == PV_ERR_NOENT) /* a kernel that was not installed by its makefile */
		err = PV_OK;
	for (line = text.data ? strtok_r((char *)text.data, "\n", &save) : NULL; line;
	     line = strtok_r(NULL, "\n", &save)) {
		if (!module_name(line, name))
			continue;
		if (modules->n_builtin == cap) {
			cap = cap ? 2 * cap : 256;
			modules->builtin = pv_xrealloc(modules->builtin, cap * sizeof(*modules->builtin));
		}
		modules->builtin[modules->n_builtin++] = pv_xstrdup(name);
	}
	pv_buf_free(&text);
	return err;
}

enum pv_err pv_modules_open(const char *dir, struct pv_modules *out, struct pv_errmsg *msg)
{
	size_t len = strlen(dir);
	enum pv_err err;

	*out = (struct pv_modules){ 0 };
	STAILQ_INIT(&out->wanted);
	while (len > 1 && dir[len - 1] == '/')
		len--;
	out->dir = pv_xasprintf("%.*s", (int)len, dir);
	err = scan(out, msg);
	if (!err)
		err = read_builtin(out, msg);
	if (err) {
		pv_modules_close(out);
		return err;
	}
	if (out->n)
		qsort(out->all, out->n, sizeof(*out->all), compare_modules);
	if (out->n_builtin)
		qsort(out->builtin, out->n_builtin, sizeof(*out->builtin), compare_names);
	return PV_OK;
}

void pv_modules_close(struct pv_modules *modules)
{
	for (size_t i = 0; i < modules->n; i++) {
		free(modules->all[i].name);
		free(modules->all[i].path);
		pv_buf_free(&modules->all[i].ko);
	}
	for (size_t i = 0; i < modules->n_builtin; i++)
		free(modules->builtin[i]);
	free(modules->all);
	free(modules->builtin);
	free(modules->dir);
	*modules = (struct pv_modules){ 0 };
}

bool pv_modules_is_builtin(const struct pv_modules *modules, const char *name)
{
	return modules->n_builtin &&
	       bsearch(&name, modules->builtin, modules->n_builtin, sizeof(*modules->builtin), compare_names) != NULL;
}

/* The first in order of those with that name. */
static struct pv_module *find(struct pv_modules *modules, const char *name)
{
	size_t low = 0, high = modules->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (strcmp(modules->all[mid].name, name) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low < modules->n && !strcmp(modules->all[low].name, name) ? &modules->all[low] : NULL;
}

static enum pv_err want_dependencies(struct pv_modules *modules, const struct pv_module *module, struct pv_errmsg *msg)
{
	const char *depends = pv_modinfo_next(&module->ko, "depends", NULL);
	char *list, *save, *name, canonical[NAME_CHARS + 8];
	enum pv_err err = PV_OK;

	if (!depends)
		return pv_err_set(msg, PV_ERR_CORRUPT, "%s/%s is not a kernel module for 64-bit little-endian machines",
		                  modules->dir, module->path);
	list = pv_xstrdup(depends);
	for (name = strtok_r(list, ",", &save); name && !err; name = strtok_r(NULL, ",", &save)) {
		char *ko = pv_xasprintf("%s.ko", name);

		if (module_name(ko, canonical))
			err = pv_modules_want(modules, canonical, msg);
		free(ko);
	}
	free(list);
	return err ? pv_err_wrap(msg, err, "module %s", module->name) : PV_OK;
}

enum pv_err pv_modules_want(struct pv_modules *modules, const char *name, struct pv_errmsg *msg)
{
	struct pv_module *module = find(modules, name);
	enum pv_err err;
	char *path;

	if (pv_modules_is_builtin(modules, name))
		return PV_OK;
	if (!module)
		return pv_err_set(msg, PV_ERR_NOENT, "no module %s in %s", name, modules->dir);
	if (module->state == PV_MODULE_LOADING)
		return pv_err_set(msg, PV_ERR_CORRUPT, "module %s in %s depends on itself", name, modules->dir);
	if (module->state == PV_MODULE_WANTED)
		return PV_OK;
	module->state = PV_MODULE_LOADING;
	path = pv_xasprintf("%s/%s", modules->dir, module->path);
	pv_buf_clear(&module->ko);
	err = pv_image_read_unpacked(path, &module->ko, msg);
	free(path);
	if (!err)
		err = want_dependencies(modules, module, msg);
	module->state = err ? PV_MODULE_IDLE : PV_MODULE_WANTED;
	if (!err)
		STAILQ_INSERT_TAIL(&modules->wanted, module, next);
	return err;
}

/* ---- .modinfo: NUL-terminated "key=value" strings ---- */

/* Bounds of the section in `ko`, from a file that may be anything. */
static bool find_modinfo(const struct pv_buf *ko, size_t *start, size_t *len)
{
	Elf64_Ehdr head;
	Elf64_Shdr names, section;

	if (ko->len < sizeof(head))
		return false;
	memcpy(&head, ko->data, sizeof(head));
	if (memcmp(head.e_ident, ELFMAG, SELFMAG) || head.e_ident[EI_CLASS] != ELFCLASS64 ||
	    head.e_ident[EI_DATA] != ELFDATA2LSB || head.e_shentsize != sizeof(section))
		return false;
	if (head.e_shoff > ko->len || (ko->len - head.e_shoff) / sizeof(section) < head.e_shnum ||
	    head.e_shstrndx >= head.e_shnum)
		return false;
	memcpy(&names, ko->data + head.e_shoff + head.e_shstrndx * sizeof(section), sizeof(names));
	if (names.sh_offset > ko->len || names.sh_size > ko->len - names.sh_offset)
		return false;
	for (size_t i = 0; i < head.e_shnum; i++) {
		const char *name;

		memcpy(&section, ko->data + head.e_shoff + i * sizeof(section), sizeof(section));
		if (section.sh_name >= names.sh_size)
			continue;
		name = (const char *)ko->data + names.sh_offset + section.sh_name;
		if (strnlen(name, names.sh_size - section.sh_name) != strlen(".modinfo") ||
		    memcmp(name, ".modinfo", strlen(".modinfo")))
			continue;
		if (section.sh_offset > ko->len || section.sh_size > ko->len - section.sh_offset)
			return false;
		*start = section.sh_offset;
		*len = section.sh_size;
		return true;
	}
	return false;
}

const char *pv_modinfo_next(const struct pv_buf *ko, const char *key, const char *after)
{
	size_t start, len, key_len = strlen(key);
	const char *at, *end;

	if (!find_modinfo(ko, &start, &len))
		return NULL;
	at = (const char *)ko->data + start;
	end = at + len;
	if (after)
		at = after + strlen(after);
	while (at < end) {
		size_t entry = strnlen(at, (size_t)(end - at));

		if (at + entry == end) /* not terminated */
			return NULL;
		if (entry > key_len && !memcmp(at, key, key_len) && at[key_len] == '=')
			return at + key_len + 1;
		at += entry + 1;
	}
	return NULL;
}
