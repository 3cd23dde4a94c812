#include "engine/script/source.h"

#include <lauxlib.h>
#include <string.h>

void pv_source_skip_preamble(const char **text, size_t *len)
{
	if (*len >= 3 && memcmp(*text, "\xEF\xBB\xBF", 3) == 0) {
		*text += 3;
		*len -= 3;
	}
	if (*len == 0 || **text != '#')
		return;
	while (*len > 0 && **text != '\n') {
		++*text;
		--*len;
	}
}

int pv_source_load(lua_State *L, const char *text, size_t len, const char *chunk_name, const char *mode)
{
	pv_source_skip_preamble(&text, &len);
	/* A compiled chunk may stand behind a first line "#...". */
	if (len > 1 && text[0] == '\n' && text[1] == *LUA_SIGNATURE) {
		text++;
		len--;
	}
	return luaL_loadbufferx(L, text, len, chunk_name, mode);
}
