/* `provium journal export`: a part of the verb `journal`. */
#ifndef PV_TOOLS_JOURNAL_EXPORT_H
#define PV_TOOLS_JOURNAL_EXPORT_H

#include "tools/provium/verb.h"

/* Its flags. A struct of zeros but `format` -1 means none was given. */
struct pv_export_flags {
	int format;         /* index into pv_export_formats */
	const char *output; /* NULL: stdout */
	const char *bundle;
};

extern const char *const pv_export_formats[]; /* NULL-terminated; the order of enum pv_export_format */

/* Exports what RUN means; tells trouble on stderr. */
enum pv_exit pv_journal_export(const char *config, const struct pv_export_flags *flags, const char *run);

#endif
