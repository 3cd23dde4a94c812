#include "fake_frames.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *name_of(const struct pv_state *state, const Pv__FramesCall *call)
{
	struct pv_bridge_view bridge;

	return pv_state_bridge(state, call->bridge, &bridge) ? bridge.name : "?";
}

static FILE *open_file(const Pv__FramesCall *call, const char *mode)
{
	char *path = pv_xasprintf("%.*s", (int)call->path.len, (const char *)call->path.data);
	FILE *file = fopen(path, mode);

	free(path);
	return file;
}

static const char *save(const char *name, const Pv__FramesCall *call)
{
	FILE *file = open_file(call, "we");

	if (file == NULL)
		return "the file cannot be written";
	fprintf(file, "frames of %s between", name);
	for (size_t i = 0; i < call->n_members; i++)
		fprintf(file, " %s", call->members[i]);
	fclose(file);
	return strncmp(name, "full", 4) == 0 ? "no space left" : NULL;
}

static const char *load(const char *name, const Pv__FramesCall *call)
{
	FILE *file = open_file(call, "re");
	char text[128] = "";

	if (file == NULL)
		return "the file cannot be read";
	text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
	fclose(file);
	return strncmp(text, "frames of ", 10) != 0 || strncmp(name, "torn", 4) == 0 ? "it is damaged" : NULL;
}

const char *fake_frames(const struct pv_state *state, const Pv__FramesCall *call, Pv__FramesResult *result)
{
	const char *name = name_of(state, call);

	pv__frames_result__init(result);
	result->has_frames = 1;
	result->frames = 3;
	switch (call->step) {
	case PV__FRAMES_STEP__FRAMES_STEP_FREEZE:
		return strncmp(name, "deaf", 4) == 0 ? "it does not stop" : NULL;
	case PV__FRAMES_STEP__FRAMES_STEP_SAVE:
		return save(name, call);
	case PV__FRAMES_STEP__FRAMES_STEP_LOAD:
		return load(name, call);
	default:
		return NULL;
	}
}

bool fake_frames_hang(const struct pv_state *state, const Pv__FramesCall *call, const char *run_dir)
{
	return strncmp(name_of(state, call), "slow", 4) == 0 && call->path.len > 0 &&
	       strncmp((const char *)call->path.data, run_dir, strlen(run_dir)) != 0;
}

void fake_frames_say(const struct pv_state *state, const Pv__FramesCall *call, struct pv_buf *out)
{
	static const char *const steps[] = { "?", "freeze", "save", "load", "thaw" };

	pv_buf_addf(out, "%s %s", steps[call->step], name_of(state, call));
	for (size_t i = 0; i < call->n_members; i++)
		pv_buf_addf(out, "%s%s", i > 0 ? "," : " ", call->members[i]);
	pv_buf_addstr(out, "\n");
}
