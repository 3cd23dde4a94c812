/* "Did you mean ...?" */
#include <stddef.h>
#include <string.h>

#include "engine/core/units.h"

#define WORD_MAX 128 /* longer words are no slips of a name */

static size_t min3(size_t a, size_t b, size_t c)
{
	size_t least = a < b ? a : b;

	return least < c ? least : c;
}

/* Levenshtein's distance, row by row. Both words are at most WORD_MAX bytes long. */
static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	size_t row[WORD_MAX + 1];

	for (size_t j = 0; j <= b_len; j++)
		row[j] = j;
	for (size_t i = 1; i <= a_len; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			size_t above = row[j];

			row[j] = min3(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
			diagonal = above;
		}
	}
	return row[b_len];
}

const char *pv_nearest(const char *word, const char *const *candidates)
{
	size_t len = strlen(word);
	size_t best = 1 + len / 3;
	const char *found = NULL;

	if (len > WORD_MAX || candidates == NULL)
		return NULL;
	for (; *candidates != NULL; candidates++) {
		size_t other_len = strlen(*candidates);
		size_t d;

		if (other_len > WORD_MAX)
			continue;
		d = distance(word, len, *candidates, other_len);
		if (d < best || (d == best && found == NULL)) {
			best = d;
			found = *candidates;
		}
	}
	return found;
}
