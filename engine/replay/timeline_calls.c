/* What calls and their outcomes say. */
#include <inttypes.h>
#include <string.h>

#include "engine/core/disks.h"
#include "engine/core/units.h"
#include "engine/replay/text.h"
#include "engine/replay/timeline_internal.h"

static void run_call(const Pv__RunCall *run, struct pv_buf *out)
{
	for (size_t i = 0; i < run->n_argv; i++) {
		pv_buf_addstr(out, " ");
		pv_text_line(out, run->argv[i].data, run->argv[i].len, PV_TIMELINE_TEXT_MAX);
	}
	pv_say_payload(out, "stdin", run->stdin_data);
}

static void open_stream(const Pv__OpenStreamCall *open, struct pv_buf *out)
{
	if (open->kind == PV__STREAM_KIND__STREAM_KIND_TAIL_FILE) {
		pv_buf_addstr(out, " ");
		pv_text_line(out, open->path.data, open->path.len, PV_TIMELINE_TEXT_MAX);
		return;
	}
	pv_buf_addf(out, " %s of process %" PRIu64,
	            open->kind == PV__STREAM_KIND__STREAM_KIND_PROC_STDERR ? "stderr" : "stdout", open->process);
}

/* A call on the host. True if it is one. */
static bool host_call(const Pv__CallStarted *call, struct pv_buf *out)
{
	switch (call->op_case) {
	case PV__CALL_STARTED__OP_HOST_RUN:
		pv_buf_addstr(out, " ");
		pv_text_line(out, call->host_run->command.data, call->host_run->command.len, PV_TIMELINE_TEXT_MAX);
		return true;
	case PV__CALL_STARTED__OP_HOST_READ:
		pv_buf_addf(out, " from command %" PRIu64, call->host_read->run);
		return true;
	case PV__CALL_STARTED__OP_HOST_WRITE:
		pv_buf_addf(out, " to command %" PRIu64 "%s", call->host_write->run,
		            call->host_write->eof ? ", then closed" : "");
		pv_say_payload(out, "content", call->host_write->content);
		return true;
	case PV__CALL_STARTED__OP_FIXTURE:
		pv_say_text(out, " ", call->fixture->name);
		return true;
	default:
		return false;
	}
}

static void frames_call(const Pv__FramesCall *call, struct pv_buf *out)
{
	switch (call->step) {
	case PV__FRAMES_STEP__FRAMES_STEP_FREEZE:
		pv_buf_addstr(out, ": time stops");
		return;
	case PV__FRAMES_STEP__FRAMES_STEP_SAVE:
		pv_buf_addstr(out, " to ");
		break;
	case PV__FRAMES_STEP__FRAMES_STEP_LOAD:
		pv_buf_addstr(out, " from ");
		break;
	case PV__FRAMES_STEP__FRAMES_STEP_THAW:
		pv_buf_addstr(out, ": time goes on");
		return;
	default:
		pv_buf_addstr(out, ": a step of a newer version");
		return;
	}
	pv_text_line(out, call->path.data, call->path.len, PV_TIMELINE_TEXT_MAX);
}

static void frames_result(const Pv__FramesResult *frames, struct pv_buf *out)
{
	char size[32];

	pv_buf_addf(out, ": %" PRIu64 " under way", frames->frames);
	if (frames->file_bytes > 0)
		pv_buf_addf(out, ", %s", pv_format_size(frames->file_bytes, size));
}

/* A call on an object, or one that opens it. True if it is one. */
static bool object_call(const Pv__CallStarted *call, struct pv_buf *out)
{
	switch (call->op_case) {
	case PV__CALL_STARTED__OP_SPAWN:
		run_call(call->spawn->run, out);
		if (call->spawn->has_worker)
			pv_buf_addf(out, ", in worker %" PRIu64, call->spawn->worker);
		return true;
	case PV__CALL_STARTED__OP_WAIT:
		pv_buf_addf(out, " for process %" PRIu64, call->wait->process);
		return true;
	case PV__CALL_STARTED__OP_PROCESS_STATUS:
		pv_buf_addf(out, " %" PRIu64, call->process_status->process);
		return true;
	case PV__CALL_STARTED__OP_SIGNAL:
		pv_buf_addf(out, " %d to process %" PRIu64, call->signal->signal, call->signal->process);
		return true;
	case PV__CALL_STARTED__OP_STDIN_WRITE:
		pv_buf_addf(out, " to process %" PRIu64 "%s", call->stdin_write->process,
		            call->stdin_write->eof ? ", then closed" : "");
		pv_say_payload(out, "content", call->stdin_write->content);
		return true;
	case PV__CALL_STARTED__OP_CLOSE_PROCESS:
		pv_buf_addf(out, " %" PRIu64, call->close_process->process);
		return true;
	case PV__CALL_STARTED__OP_OPEN_STREAM:
		open_stream(call->open_stream, out);
		return true;
	case PV__CALL_STARTED__OP_READ_STREAM:
		pv_buf_addf(out, " %" PRIu64 " at byte %" PRIu64, call->read_stream->stream, call->read_stream->offset);
		return true;
	case PV__CALL_STARTED__OP_CLOSE_STREAM:
		pv_buf_addf(out, " %" PRIu64, call->close_stream->stream);
		return true;
	case PV__CALL_STARTED__OP_CLOSE_WORKER:
		pv_buf_addf(out, " %" PRIu64, call->close_worker->worker);
		return true;
	case PV__CALL_STARTED__OP_WORKER_RUN:
		pv_buf_addf(out, " %" PRIu64 ":", call->worker_run->worker);
		run_call(call->worker_run->run, out);
		return true;
	case PV__CALL_STARTED__OP_READ_CONSOLE:
		pv_buf_addf(out, " at byte %" PRIu64, call->read_console->offset);
		return true;
	case PV__CALL_STARTED__OP_READ_CAPTURE:
		pv_buf_addf(out, " %" PRIu64 " at byte %" PRIu64, call->read_capture->stream,
		            call->read_capture->offset);
		return true;
	case PV__CALL_STARTED__OP_CLOSE_CAPTURE:
		pv_buf_addf(out, " %" PRIu64, call->close_capture->stream);
		return true;
	case PV__CALL_STARTED__OP_FRAMES:
		frames_call(call->frames, out);
		return true;
	default:
		return false;
	}
}

static bool disk_call(const Pv__CallStarted *call, struct pv_buf *out)
{
	const char *id = pv_call_disk(call);
	char size[32];

	if (id == NULL)
		return false;
	pv_buf_addstr(out, " ");
	pv_text_line(out, (const uint8_t *)id, strlen(id), PV_TIMELINE_TEXT_MAX);
	if (call->op_case == PV__CALL_STARTED__OP_ATTACH_DISK)
		pv_buf_addf(out, ": %s, %s", pv_disk_backing_name(call->attach_disk->disk->backing),
		            pv_format_size(call->attach_disk->disk->size, size));
	else if (call->op_case == PV__CALL_STARTED__OP_READ_SECTORS)
		pv_buf_addf(out, ": %" PRIu64 " sectors at %" PRIu64, call->read_sectors->count,
		            call->read_sectors->first);
	else if (call->op_case == PV__CALL_STARTED__OP_WRITE_SECTORS) {
		pv_buf_addf(out, " at sector %" PRIu64, call->write_sectors->first);
		pv_say_payload(out, "content", call->write_sectors->content);
	}
	return true;
}

void pv_say_call_started(const Pv__CallStarted *call, const char *op, struct pv_buf *out)
{
	pv_buf_addf(out, "%s", *op ? op : "a call of a newer version");
	if (object_call(call, out) || host_call(call, out) || disk_call(call, out))
		return;
	switch (call->op_case) {
	case PV__CALL_STARTED__OP_RUN:
		run_call(call->run, out);
		break;
	case PV__CALL_STARTED__OP_READ_FILE:
		pv_buf_addstr(out, " ");
		pv_text_line(out, call->read_file->path.data, call->read_file->path.len, PV_TIMELINE_TEXT_MAX);
		break;
	case PV__CALL_STARTED__OP_WRITE_FILE:
		pv_buf_addstr(out, " ");
		pv_text_line(out, call->write_file->path.data, call->write_file->path.len, PV_TIMELINE_TEXT_MAX);
		pv_say_payload(out, "content", call->write_file->content);
		break;
	case PV__CALL_STARTED__OP_SNAPSHOT:
		pv_buf_addstr(out, " to ");
		pv_text_line(out, call->snapshot->path.data, call->snapshot->path.len, PV_TIMELINE_TEXT_MAX);
		break;
	case PV__CALL_STARTED__OP_RESTORE:
		pv_buf_addstr(out, " from ");
		pv_text_line(out, call->restore->path.data, call->restore->path.len, PV_TIMELINE_TEXT_MAX);
		break;
	default:
		break;
	}
}

static void snapshot_result(const Pv__SnapshotResult *snapshot, struct pv_buf *out)
{
	char size[32], duration[32];

	pv_buf_addf(out, ": %s, the guest stood still for %s", pv_format_size(snapshot->file_bytes, size),
	            pv_format_duration(snapshot->stopped_ns, duration));
}

static void run_result(const Pv__RunResult *run, struct pv_buf *out)
{
	switch (run->status) {
	case PV__RUN_STATUS__RUN_STATUS_SIGNALLED:
		pv_buf_addf(out, ": signal %d", run->signal);
		break;
	case PV__RUN_STATUS__RUN_STATUS_TIMED_OUT:
		pv_buf_addstr(out, ": timed out");
		break;
	default:
		pv_buf_addf(out, ": exit code %d", run->exit_code);
	}
	pv_say_payload(out, "stdout", run->stdout_data);
	pv_say_payload(out, "stderr", run->stderr_data);
}

static void boot_result(const Pv__BootResult *boot, bool restored, struct pv_buf *out)
{
	char size[32];

	if (restored)
		pv_buf_addf(out, ": %s%s", boot->accel ? boot->accel : "?",
		            boot->paused ? ", paused"
		            : boot->warm ? ", warm"
		                         : "");
	else
		pv_buf_addf(out, ": %s, %s",
		            !boot->from_template ? "cold"
		            : boot->warm         ? "template (warm)"
		                                 : "template",
		            boot->accel ? boot->accel : "?");
	if (boot->has_memory_bytes)
		pv_buf_addf(out, ", %s, %u vCPU", pv_format_size(boot->memory_bytes, size), boot->cpus);
	pv_say_text(out, ", Linux ", boot->kernel_release);
}

void pv_say_call_ended(const Pv__CallEnded *call, const char *op, struct pv_buf *out)
{
	bool failed = call->outcome_case == PV__CALL_ENDED__OUTCOME_ERROR;

	pv_buf_addf(out, "%s %s", *op ? op : "call", failed ? "failed" : "done");
	switch (call->outcome_case) {
	case PV__CALL_ENDED__OUTCOME_ERROR:
		pv_say_text(out, ": ", call->error->message);
		break;
	case PV__CALL_ENDED__OUTCOME_BOOT:
		boot_result(call->boot, strcmp(op, "restore") == 0, out);
		break;
	case PV__CALL_ENDED__OUTCOME_RUN:
		run_result(call->run, out);
		break;
	case PV__CALL_ENDED__OUTCOME_DATA:
		pv_say_payload(out, "content", call->data);
		break;
	case PV__CALL_ENDED__OUTCOME_SPAWNED:
		if (call->spawned->pid > 0)
			pv_buf_addf(out, ": pid %" PRId64, call->spawned->pid);
		break;
	case PV__CALL_ENDED__OUTCOME_STREAM_DATA:
		pv_say_payload(out, "content", call->stream_data->data);
		pv_buf_addstr(out, call->stream_data->eof         ? ", end of stream"
		                   : call->stream_data->timed_out ? ", timed out"
		                                                  : "");
		break;
	case PV__CALL_ENDED__OUTCOME_PROCESS_STATUS:
		pv_buf_addstr(out, ": ");
		if (call->process_status->running)
			pv_buf_addstr(out, "running");
		else
			pv_say_enum(out, &pv__run_status__descriptor, (int)call->process_status->status,
			            strlen("RUN_STATUS_"));
		break;
	case PV__CALL_ENDED__OUTCOME_FIXTURE:
		pv_buf_addf(out, ": %s, key %.12s", call->fixture->built ? "built" : "from the cache",
		            call->fixture->key ? call->fixture->key : "?");
		break;
	case PV__CALL_ENDED__OUTCOME_SNAPSHOT:
		snapshot_result(call->snapshot, out);
		break;
	case PV__CALL_ENDED__OUTCOME_FRAMES:
		frames_result(call->frames, out);
		break;
	case PV__CALL_ENDED__OUTCOME_COUNT:
		pv_buf_addf(out, ": %" PRIu64 " bytes", call->count->count);
		break;
	case PV__CALL_ENDED__OUTCOME_NIC_COUNTERS:
		pv_buf_addf(out, ": sent %" PRIu64 " frames, got %" PRIu64 ", %" PRIu64 " errors",
		            call->nic_counters->tx_packets, call->nic_counters->rx_packets, call->nic_counters->errors);
		break;
	default:
		break;
	}
}
