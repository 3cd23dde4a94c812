#include "engine/script/traceback.h"

#include "engine/script/script_internal.h"

#define FRAMES_MAX 10
#define LEVELS_MAX 100

static const char *shown_source(const lua_Debug *ar)
{
	return *ar->source == '@' || *ar->source == '=' ? ar->source + 1 : ar->short_src;
}

static void add_frame(struct pv_buf *out, const lua_Debug *ar)
{
	pv_buf_addf(out, "\n  %s:%d: ", shown_source(ar), ar->currentline);
	if (*ar->what == 'm')
		pv_buf_addstr(out, "in the main chunk");
	else if (*ar->namewhat != '\0')
		pv_buf_addf(out, "in %s '%s'", ar->namewhat, ar->name);
	else
		pv_buf_addf(out, "in the function of line %d", ar->linedefined);
}

char *pv_traceback(lua_State *L)
{
	struct pv_buf out = { 0 };
	char *text = NULL;
	unsigned n = 0;
	lua_Debug ar;

	pv_buf_addstr(&out, "traceback:");
	/* Each look at a level walks there from the top: not through a stack that has overflowed. */
	for (int level = 0; level < LEVELS_MAX && n <= FRAMES_MAX && lua_getstack(L, level, &ar) != 0; level++) {
		lua_getinfo(L, "Sln", &ar);
		if (ar.currentline <= 0)
			continue;
		if (++n <= FRAMES_MAX)
			add_frame(&out, &ar);
		else
			pv_buf_addstr(&out, "\n  ...");
	}
	if (n > 1)
		text = pv_printable(pv_buf_str(&out), out.len);
	pv_buf_free(&out);
	return text;
}
