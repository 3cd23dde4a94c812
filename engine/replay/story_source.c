/* The Lua text that a run executed: from the record, or from the disk if it is still the same. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/replay/story_internal.h"

#define SOURCE_MAX (16u << 20) /* bytes of a file that a viewer shows */

static struct pv_story_file *file_of(struct pv_story *story, const char *path)
{
	struct pv_story_file *file;

	HASH_FIND_STR(story->files, path, file);
	if (!file) {
		file = PV_NEW(struct pv_story_file);
		file->path = pv_xstrdup(path);
		HASH_ADD_KEYPTR(hh, story->files, file->path, strlen(file->path), file);
	}
	return file;
}

static const char *text_of(const Pv__Value *value)
{
	return value->kind_case == PV__VALUE__KIND_TEXT ? value->text : NULL;
}

/* A helper that a script loaded: the names among what was asked and answered are its path, as its chunk is called. */
static void learn_helper(struct pv_story *story, uint64_t seq, const Pv__ScriptInput *input)
{
	static const char *const loaders[] = { "require", "loadfile", "dofile", NULL };
	bool loads = false;

	for (size_t i = 0; input->name && loaders[i]; i++)
		loads |= strcmp(input->name, loaders[i]) == 0;
	for (size_t i = 0; loads && i < input->n_args + input->n_results; i++) {
		const char *path = text_of(i < input->n_args ? input->args[i] : input->results[i - input->n_args]);
		if (path && strlen(path) > 4 && strcmp(path + strlen(path) - 4, ".lua") == 0)
			file_of(story, path)->seq = seq;
	}
}

void pv_story_learn_source(struct pv_story *story, const struct pv_timeline_line *line)
{
	const Pv__Event *event = line->event;
	struct pv_story_file *file;

	switch (event->body_case) {
	case PV__EVENT__BODY_RUN_STARTED:
		free(story->cwd);
		story->cwd = event->run_started->cwd ? pv_xstrdup(event->run_started->cwd) : NULL;
		break;
	case PV__EVENT__BODY_FILE_DISCOVERED:
		file = file_of(story, line->shown_path);
		if (event->file_discovered->real_path && !file->real)
			file->real = pv_xstrdup(event->file_discovered->real_path);
		file->has_hash = event->file_discovered->sha256.len == PV_SHA256_BYTES;
		if (file->has_hash)
			memcpy(file->sha256, event->file_discovered->sha256.data, PV_SHA256_BYTES);
		break;
	case PV__EVENT__BODY_FILE_DISPATCHED:
		if (event->file_dispatched->source)
			file_of(story, line->shown_path)->seq = line->seq;
		break;
	case PV__EVENT__BODY_SCRIPT_INPUT:
		learn_helper(story, line->seq, event->script_input);
		break;
	default:
		break;
	}
}

static void set_text(struct pv_source *source, enum pv_source_from from, const void *data, size_t len)
{
	source->from = from;
	source->len = len;
	source->text = pv_xmalloc(len + 1);
	if (len > 0)
		memcpy(source->text, data, len);
	source->text[len] = '\0';
}

static void take_payload(struct pv_story *story, const Pv__Payload *payload, struct pv_source *source)
{
	void *data;
	size_t len;

	if (payload->kind_case == PV__PAYLOAD__KIND_DATA) {
		set_text(source, PV_SOURCE_RECORDED, payload->data.data, payload->data.len);
	} else if (payload->kind_case == PV__PAYLOAD__KIND_BLOB && payload->blob->sha256.len == PV_SHA256_BYTES &&
	           pv_journal_blob_get(story->journal, payload->blob->sha256.data, &data, &len, NULL) == PV_OK) {
		set_text(source, PV_SOURCE_RECORDED, data, len);
		free(data);
	} else {
		source->why = "its text is no longer in the run directory";
	}
}

static void take_recorded(struct pv_story *story, struct pv_story_file *file)
{
	const char *longest = NULL;
	Pv__Event *event;

	if (pv_story_event(story, file->seq, &event, NULL) != PV_OK) {
		file->source.why = "the event with its text cannot be read";
		return;
	}
	if (event->body_case == PV__EVENT__BODY_FILE_DISPATCHED && event->file_dispatched->source) {
		take_payload(story, event->file_dispatched->source, &file->source);
	} else if (event->body_case == PV__EVENT__BODY_SCRIPT_INPUT && event->script_input->data) {
		take_payload(story, event->script_input->data, &file->source);
	} else if (event->body_case == PV__EVENT__BODY_SCRIPT_INPUT) { /* a short one stands among the results */
		for (size_t i = 0; i < event->script_input->n_results; i++) {
			const char *text = text_of(event->script_input->results[i]);
			if (text && strcmp(text, file->path) != 0 && (!longest || strlen(text) > strlen(longest)))
				longest = text;
		}
		if (longest)
			set_text(&file->source, PV_SOURCE_RECORDED, longest, strlen(longest));
	}
	pv__event__free_unpacked(event, NULL);
}

static bool read_all(int fd, struct pv_buf *out)
{
	for (;;) {
		pv_buf_reserve(out, 65536);
		ssize_t n = read(fd, out->data + out->len, 65536);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n == 0;
		out->len += (size_t)n;
		out->data[out->len] = '\0';
		if (out->len > SOURCE_MAX)
			return false;
	}
}

static void take_from_disk(struct pv_story *story, struct pv_story_file *file)
{
	bool relative = file->path[0] != '/' && story->cwd;
	char *path = relative && !file->real ? pv_xasprintf("%s/%s", story->cwd, file->path)
	                                     : pv_xstrdup(file->real ? file->real : file->path);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct pv_buf content = { .data = NULL };
	uint8_t hash[PV_SHA256_BYTES];
	struct stat st;

	free(path);
	if (fd < 0) {
		file->source.why = "it is not recorded, and the file is not there any more";
		return;
	}
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || !read_all(fd, &content)) {
		file->source.why = "it is not recorded, and the file cannot be read";
	} else {
		SHA256((const unsigned char *)pv_buf_str(&content), content.len, hash);
		if (memcmp(hash, file->sha256, sizeof(hash)) == 0)
			set_text(&file->source, PV_SOURCE_DISK, content.data, content.len);
		else
			file->source.why = "it is not recorded, and the file has changed since";
	}
	close(fd);
	pv_buf_free(&content);
}

const struct pv_source *pv_story_source(struct pv_story *story, const char *shown_path)
{
	struct pv_story_file *file = file_of(story, shown_path);

	if (!file->loaded) {
		file->loaded = true;
		file->source.why = "it is not recorded";
		if (file->seq > 0)
			take_recorded(story, file);
		if (file->source.from == PV_SOURCE_NONE && file->has_hash)
			take_from_disk(story, file);
	}
	return &file->source;
}

void pv_story_free_sources(struct pv_story *story)
{
	struct pv_story_file *file, *next;

	HASH_ITER (hh, story->files, file, next) {
		HASH_DEL(story->files, file);
		free(file->source.text);
		free(file->path);
		free(file->real);
		free(file);
	}
}
