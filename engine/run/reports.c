#include "engine/run/reports.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/mem.h"

/* ---- report files ---- */

/* Where the file is written first, and its name then. Devices and pipes have no such place: they are written as they are. */
struct target {
	char *path;
	char *fresh; /* NULL: written as it is */
};

static void free_target(struct target *target)
{
	free(target->path);
	free(target->fresh);
}

/* A link to a file is followed, so that the file is replaced and not the link. */
static enum pv_err find_target(const char *path, struct target *target, struct pv_errmsg *msg)
{
	bool is_there;
	struct stat st;

	*target = (struct target){ .path = NULL };
	is_there = stat(path, &st) == 0;
	if (!is_there && errno != ENOENT)
		return pv_err_sys(msg, PV_ERR_IO, errno, "report %s", path);
	if (is_there && S_ISDIR(st.st_mode))
		return pv_err_set(msg, PV_ERR_IO, "report %s: it is a directory; name a file in it", path);
	char *real = is_there ? realpath(path, NULL) : NULL;
	target->path = pv_xstrdup(real ? real : path);
	free(real);
	if (!is_there || S_ISREG(st.st_mode))
		target->fresh = pv_xasprintf("%s.new-%ld", target->path, (long)getpid());
	return PV_OK;
}

static int open_target(const struct target *target)
{
	if (target->fresh)
		return open(target->fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY, 0666);
	return open(target->path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
}

static enum pv_err check_path(const char *path, struct pv_errmsg *msg)
{
	struct target target;
	enum pv_err err = path ? find_target(path, &target, msg) : PV_OK;

	if (!path || err)
		return err;
	if (!target.fresh) {
		if (access(target.path, W_OK) != 0)
			err = pv_err_sys(msg, PV_ERR_IO, errno, "report %s cannot be written", path);
	} else {
		int fd = open_target(&target);
		if (fd < 0) {
			err = pv_err_sys(msg, PV_ERR_IO, errno, "report %s cannot be written", path);
		} else {
			close(fd);
			unlink(target.fresh);
		}
	}
	free_target(&target);
	return err;
}

enum pv_err pv_reports_check(const struct pv_reports *reports, struct pv_errmsg *msg)
{
	const char *const paths[] = { reports->paths.junit, reports->paths.ctrf, reports->paths.html };
	enum pv_err err = PV_OK;

	for (size_t i = 0; !err && i < sizeof(paths) / sizeof(paths[0]); i++) {
		for (size_t j = 0; !err && j < i; j++) {
			if (paths[i] && paths[j] && strcmp(paths[i], paths[j]) == 0)
				err = pv_err_set(msg, PV_ERR_INVAL, "report %s: two reports cannot be one file",
				                 paths[i]);
		}
		if (!err)
			err = check_path(paths[i], msg);
	}
	return err;
}

enum form { JUNIT, CTRF, HTML };

struct content {
	enum form form;
	const struct pv_results *results;
	struct pv_journal *journal;
};

static enum pv_err write_content(FILE *out, const struct content *content, struct pv_errmsg *msg)
{
	enum pv_err err = PV_OK;

	if (content->form == JUNIT)
		pv_report_junit(out, content->results);
	else if (content->form == CTRF)
		pv_report_ctrf(out, content->results);
	else
		err = pv_report_html(out, content->results, content->journal, msg);
	if (fflush(out) != 0 || ferror(out))
		err = pv_err_sys(msg, PV_ERR_IO, errno ? errno : EIO, "writing");
	return err;
}

static enum pv_err write_target(const struct target *target, const struct content *content, struct pv_errmsg *msg)
{
	int fd = open_target(target);
	FILE *out = fd >= 0 ? fdopen(fd, "w") : NULL;
	enum pv_err err;

	if (!out) {
		err = pv_err_sys(msg, PV_ERR_IO, errno, "opening");
		if (fd >= 0)
			close(fd);
		return err;
	}
	errno = 0;
	err = write_content(out, content, msg);
	if (fclose(out) != 0 && !err)
		err = pv_err_sys(msg, PV_ERR_IO, errno, "writing");
	if (!err && target->fresh && rename(target->fresh, target->path) != 0)
		err = pv_err_sys(msg, PV_ERR_IO, errno, "renaming %s", target->fresh);
	if (err && target->fresh)
		unlink(target->fresh);
	return err;
}

static enum pv_err write_path(const char *path, struct content content, struct pv_errmsg *msg)
{
	struct target target;
	enum pv_err err;

	if (!path)
		return PV_OK;
	err = find_target(path, &target, msg);
	if (err)
		return err;
	err = write_target(&target, &content, msg);
	free_target(&target);
	return err ? pv_err_wrap(msg, err, "report %s", path) : PV_OK;
}

/* ---- events as they come ---- */

void pv_reports_begin(struct pv_reports *reports)
{
	reports->points = (struct pv_report_tap){ .out = stdout };
	if (reports->tap)
		pv_report_tap_begin(&reports->points);
}

static void put_held_points(struct pv_reports *reports, const struct pv_file_result *file)
{
	for (size_t i = 0; i < file->n_tests; i++) {
		if (file->tests[i].verdict != PV__VERDICT__VERDICT_UNSPECIFIED)
			pv_report_tap_test(&reports->points, file, &file->tests[i]);
	}
}

const struct pv_file_result *pv_reports_event(struct pv_reports *reports, struct pv_results *results,
                                              const Pv__Event *event)
{
	const struct pv_file_result *completed = pv_results_apply(results, event), *file;
	const struct pv_test_result *test;

	if (reports->none)
		return completed;
	if (reports->tap && !reports->hold_points && pv_results_ended_test(results, event, &file, &test))
		pv_report_tap_test(&reports->points, file, test);
	if (!completed)
		return NULL;
	pv_report_text_file(&reports->text, completed);
	if (reports->json)
		pv_report_json_file(stdout, completed);
	if (reports->tap && reports->hold_points)
		put_held_points(reports, completed);
	if (reports->tap)
		pv_report_tap_file(&reports->points, completed);
	return completed;
}

enum pv_err pv_reports_end(struct pv_reports *reports, const struct pv_results *results, struct pv_journal *journal,
                           struct pv_errmsg *msg)
{
	const struct {
		const char *path;
		enum form form;
	} files[] = { { reports->paths.junit, JUNIT }, { reports->paths.ctrf, CTRF }, { reports->paths.html, HTML } };
	enum pv_err first = PV_OK;

	if (reports->none)
		return PV_OK;
	pv_report_text_summary(&reports->text, results);
	for (size_t i = 0; reports->tap && reports->hold_points && i < results->n_files; i++) {
		if (results->files[i].verdict == PV__VERDICT__VERDICT_UNSPECIFIED)
			put_held_points(reports, &results->files[i]);
	}
	if (reports->tap)
		pv_report_tap_end(&reports->points, results);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		struct content content = { files[i].form, results, journal };
		enum pv_err err = write_path(files[i].path, content, first ? NULL : msg);
		first = first ? first : err;
	}
	return first;
}

typedef void event_cb(void *arg, const Pv__Event *event);

static enum pv_err read_events(struct pv_journal *journal, event_cb *cb, void *arg, struct pv_errmsg *msg)
{
	struct pv_journal_cursor *cursor;
	struct pv_record record;
	enum pv_err err = pv_journal_cursor_open(journal, 1, &cursor, msg);

	if (err)
		return err;
	while (!(err = pv_journal_cursor_next(cursor, &record, msg)) && record.seq > 0) {
		Pv__Event *event = pv_record_decode(&record);
		if (!event) {
			err = pv_err_set(msg, PV_ERR_CORRUPT, "event %llu cannot be decoded",
			                 (unsigned long long)record.seq);
			break;
		}
		cb(arg, event);
		pv__event__free_unpacked(event, NULL);
	}
	pv_journal_cursor_close(cursor);
	return err;
}

struct reading {
	struct pv_reports *reports;
	struct pv_results *results;
	unsigned *restarts; /* by file: how often it begins anew behind the event that is being read */
	size_t n_files;
};

static void look_ahead(void *arg, const Pv__Event *event)
{
	struct reading *reading = arg;
	uint32_t file = event->body_case == PV__EVENT__BODY_FILE_DISCOVERED  ? event->file_discovered->id
	                : event->body_case == PV__EVENT__BODY_FILE_RESTARTED ? event->file_restarted->id
	                                                                     : 0;

	reading->reports->hold_points |= reading->reports->tap && event->body_case == PV__EVENT__BODY_RUN_RESUMED;
	if (event->body_case == PV__EVENT__BODY_FILE_DISCOVERED && file == reading->n_files + 1) {
		reading->restarts = pv_xrealloc(reading->restarts, file * sizeof(*reading->restarts));
		reading->restarts[reading->n_files++] = 0;
	} else if (file >= 1 && file <= reading->n_files) {
		reading->restarts[file - 1]++;
	}
}

/* What a file came to before it began anew is void: nothing is said of it. */
static void report_event(void *arg, const Pv__Event *event)
{
	struct reading *reading = arg;
	uint32_t file = event->file;
	bool known = file >= 1 && file <= reading->n_files;

	if (known && event->body_case == PV__EVENT__BODY_FILE_RESTARTED && reading->restarts[file - 1] > 0)
		reading->restarts[file - 1]--;
	if (known && reading->restarts[file - 1] > 0)
		(void)pv_results_apply(reading->results, event);
	else
		(void)pv_reports_event(reading->reports, reading->results, event);
}

enum pv_err pv_reports_read(struct pv_reports *reports, struct pv_results *results, struct pv_journal *journal,
                            struct pv_errmsg *msg)
{
	struct reading reading = { .reports = reports, .results = results };
	enum pv_err err = read_events(journal, look_ahead, &reading, msg);

	if (!err)
		err = read_events(journal, report_event, &reading, msg);
	free(reading.restarts);
	return err;
}
