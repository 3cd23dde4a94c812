/* The summary for people. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/core/units.h"
#include "engine/replay/json_fields.h"
#include "engine/replay/summary_internal.h"
#include "engine/replay/text.h"
#include "proto/mem.h"

#define LINE_MAX_BYTES 2000

/* Text of guests and scripts, fit for a terminal. */
static void put(FILE *out, const char *text)
{
	struct pv_buf line = { .data = NULL };

	if (text)
		pv_text_line(&line, text, strlen(text), LINE_MAX_BYTES);
	fputs(pv_buf_str(&line), out);
	pv_buf_free(&line);
}

static void put_field(FILE *out, const char *before, const char *text)
{
	if (!text)
		return;
	fputs(before, out);
	put(out, text);
}

static void put_hash(FILE *out, const uint8_t sha256[PV_SHA256_BYTES])
{
	char hex[2 * PV_SHA256_BYTES + 1];

	pv_hex(sha256, PV_SHA256_BYTES, hex);
	fprintf(out, "sha256:%s", hex);
}

static const char *duration(uint64_t ns, char text[32])
{
	return pv_format_duration(ns, text);
}

static void print_run(const struct pv_summary *summary, FILE *out)
{
	const struct pv_summary_counts *counts = &summary->counts;
	char text[40], took[32];

	fputs("run ", out);
	put(out, summary->run_id ? summary->run_id : "?");
	put_field(out, "  provium ", summary->version);
	put_field(out, "  on ", summary->hostname);
	put_field(out, "  ", summary->host_kernel);
	fputs("\n  command ", out);
	for (size_t i = 0; i < summary->n_argv; i++)
		put_field(out, " ", summary->argv[i]);
	put_field(out, "\n  in       ", summary->cwd);
	pv_rfc3339(summary->started_wall_ns, text);
	fprintf(out, "\n  started  %s, seed %" PRIu64 "\n", text, summary->seed);
	if (summary->ended) {
		pv_rfc3339(summary->ended_wall_ns, text);
		fprintf(out, "  ended    %s, after %s: %s\n", text, duration(summary->mono_ns, took),
		        pv_verdict_word(summary->verdict));
	} else {
		fputs("  not ended\n", out);
	}
	fprintf(out, "  counts   %u file(s); %u passed, %u failed, %u skipped, %u flaky\n", counts->files,
	        counts->passed, counts->failed, counts->skipped, counts->flaky);
	if (summary->resumes || summary->restarts)
		fprintf(out, "  resumed  %u time(s); %u file(s) began anew\n", summary->resumes, summary->restarts);
}

static void print_image(FILE *out, const char *what, bool has, const uint8_t sha256[PV_SHA256_BYTES], const char *path)
{
	if (!path)
		return;
	fprintf(out, "    %s  ", what);
	if (has)
		put_hash(out, sha256);
	else
		fputs("(hash unknown)", out);
	put_field(out, "  ", path);
	fputc('\n', out);
}

static void print_profiles(const struct pv_summary *summary, FILE *out)
{
	for (size_t i = 0; i < summary->n_profiles; i++) {
		const struct pv_summary_profile *profile = &summary->profiles[i];

		fputs("  profile ", out);
		put(out, profile->name);
		put_field(out, "  QEMU ", profile->qemu_version);
		put_field(out, ", machine ", profile->machine);
		fprintf(out, "  booted %u time(s)\n", profile->boots);
		print_image(out, "kernel", profile->has_kernel, profile->kernel_sha256, profile->kernel_path);
		print_image(out, "initrd", profile->has_initrd, profile->initrd_sha256, profile->initrd_path);
	}
}

static void print_boots(const struct pv_summary *summary, FILE *out)
{
	char took[32];

	for (size_t i = 0; i < summary->n_boots; i++) {
		const struct pv_summary_boot *boot = &summary->boots[i];

		fprintf(out, "  boot of vm ");
		put(out, boot->name);
		fprintf(out, "  event %" PRIu64, boot->seq);
		put_field(out, "  profile ", boot->profile);
		put_field(out, "  accelerator ", boot->accel);
		put_field(out, "  kernel ", boot->kernel_release);
		fprintf(out, "%s  [%s]\n", boot->from_template ? "  from a template" : "",
		        duration(boot->duration_ns, took));
	}
}

static void print_file(const struct pv_summary_file *file, FILE *out)
{
	char took[32];

	fprintf(out, "  %-11s ",
	        file->verdict      ? pv_verdict_word(file->verdict)
	        : file->dispatched ? "unfinished"
	                           : "not run");
	put(out, file->shown_path);
	if (file->builds_for)
		fputs("  (built a fixture)", out);
	if (file->has_sha256) {
		fputs("  ", out);
		put_hash(out, file->sha256);
	}
	fputc('\n', out);
	if (file->chunk_error) {
		put_field(out, "    error  ", file->chunk_error);
		fputc('\n', out);
	}
	for (size_t i = 0; i < file->n_tests; i++) {
		const struct pv_summary_test *test = &file->tests[i];

		fprintf(out, "    %-11s ", test->verdict ? pv_verdict_word(test->verdict) : "unfinished");
		put(out, test->name);
		if (test->duration_ns)
			fprintf(out, "  [%s]", duration(test->duration_ns, took));
		if (test->attempts > 1)
			fprintf(out, "  at attempt %u", test->attempts);
		put_field(out, "  ", test->message);
		fputc('\n', out);
	}
}

void pv_summary_print_text(const struct pv_summary *summary, const struct pv_summary_check *checks, size_t n_checks,
                           FILE *out)
{
	if (summary->run_id)
		print_run(summary, out);
	else
		fputs("what ran cannot be told: the journal has no readable start\n", out);
	print_profiles(summary, out);
	print_boots(summary, out);
	for (size_t i = 0; i < summary->n_files; i++)
		print_file(&summary->files[i], out);
	fprintf(out, "journal: %" PRIu64 " event(s)", summary->events);
	if (summary->has_head) {
		fputs(", head ", out);
		put_hash(out, summary->head);
	}
	if (summary->has_root) {
		fputs(", Merkle root ", out);
		put_hash(out, summary->merkle_root);
	}
	fputc('\n', out);
	for (size_t i = 0; i < n_checks; i++)
		fprintf(out, "%s: %s%s\n", checks[i].name,
		        checks[i].ok || checks[i].not_looked ? "" : "FAILED: ", checks[i].text);
}
