#include "tools/provium/journal_export.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/replay/bundle.h"
#include "engine/replay/export.h"
#include "proto/mem.h"

const char *const pv_export_formats[] = { "jsonl", "cloudevents", "otlp-json", NULL };

/* ---- an output file that is there whole or not at all ---- */

struct output {
	FILE *file;
	const char *path; /* NULL: stdout */
	char *unfinished;
};

static bool open_output(struct output *output, const char *path)
{
	int fd;

	*output = (struct output){ .file = stdout, .path = path };
	if (!path)
		return true;
	output->unfinished = pv_xasprintf("%s.new-%d", path, (int)getpid());
	fd = open(output->unfinished, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	output->file = fd >= 0 ? fdopen(fd, "w") : NULL;
	if (output->file)
		return true;
	pv_run_say("cannot write %s: %s (%s)", path, strerror(errno), pv_errno_name(errno));
	if (fd >= 0) {
		close(fd);
		unlink(output->unfinished);
	}
	free(output->unfinished);
	return false;
}

/* False if not everything arrived, or if `ok` is false; then the file is not there. */
static bool close_output(struct output *output, bool ok)
{
	int error = 0;

	if (fflush(output->file) != 0 || ferror(output->file))
		error = errno;
	if (output->path && fclose(output->file) != 0 && !error)
		error = errno;
	if (output->path && ok && !error && rename(output->unfinished, output->path) != 0)
		error = errno;
	if (error)
		pv_run_say("cannot write %s: %s (%s)", output->path ? output->path : "to stdout", strerror(error),
		           pv_errno_name(error));
	if (output->path && (error || !ok))
		unlink(output->unfinished);
	free(output->unfinished);
	return ok && !error;
}

/* ---- the formats ---- */

static enum pv_exit export_format(struct pv_journal *journal, const struct pv_export_flags *flags, const char *run)
{
	struct pv_errmsg msg = { .text = "" };
	struct output output;
	enum pv_err err;

	if (!open_output(&output, flags->output))
		return PV_EXIT_TROUBLE;
	err = pv_export(journal, (enum pv_export_format)flags->format, output.file, &msg);
	if (err)
		pv_run_say("%s: %s", run, msg.text);
	return close_output(&output, !err) ? PV_EXIT_OK : PV_EXIT_TROUBLE;
}

static enum pv_exit export_bundle(const char *config, const char *path, const char *run)
{
	struct pv_errmsg msg = { .text = "" };
	struct pv_journal *journal;
	enum pv_err err;
	char *dir;

	if (!pv_verb_open_run(config, run, &journal, &dir))
		return PV_EXIT_TROUBLE;
	pv_journal_close(journal);
	err = pv_bundle_write(dir, path, &msg);
	if (err)
		pv_run_say("%s: %s", run, msg.text);
	free(dir);
	return err ? PV_EXIT_TROUBLE : PV_EXIT_OK;
}

enum pv_exit pv_journal_export(const char *config, const struct pv_export_flags *flags, const char *run)
{
	struct pv_journal *journal;
	enum pv_exit code;
	char *dir;

	if (flags->bundle && (flags->format >= 0 || flags->output))
		return pv_verb_usage(&pv_verb_journal, "export: --bundle PATH goes without --format and -o");
	if (flags->bundle)
		return export_bundle(config, flags->bundle, run);
	if (flags->format < 0)
		return pv_verb_usage(&pv_verb_journal,
		                     "export: which --format (jsonl, cloudevents, otlp-json), or --bundle PATH?");
	if (!pv_verb_open_run(config, run, &journal, &dir))
		return PV_EXIT_TROUBLE;
	code = export_format(journal, flags, run);
	pv_journal_close(journal);
	free(dir);
	return code;
}
