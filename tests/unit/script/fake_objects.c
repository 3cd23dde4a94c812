#include "fake_objects.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/err.h"

static struct fake_process *find(struct fake_objects *objects, uint64_t id)
{
	for (size_t i = 0; i < FAKE_PROCESSES_MAX; i++)
		if (objects->processes[i].id == id)
			return &objects->processes[i];
	PV_BUG("the fake driver has no process %llu", (unsigned long long)id);
}

static void set_error(Pv__CallEnded *ended, struct fake_parts *parts, int number, const char *message)
{
	parts->error.has_kind = 1;
	parts->error.kind = PV__ERROR_KIND__ERROR_KIND_GUEST;
	parts->error.has_sys_errno = 1;
	parts->error.sys_errno = number;
	parts->error.message = (char *)message;
	ended->outcome_case = PV__CALL_ENDED__OUTCOME_ERROR;
	ended->error = &parts->error;
}

static void set_spawned(Pv__CallEnded *ended, struct fake_parts *parts, int64_t pid)
{
	parts->spawned.has_pid = pid != 0;
	parts->spawned.pid = pid;
	ended->outcome_case = PV__CALL_ENDED__OUTCOME_SPAWNED;
	ended->spawned = &parts->spawned;
}

static void set_data(Pv__Payload *payload, const void *data, size_t len)
{
	payload->kind_case = PV__PAYLOAD__KIND_DATA;
	payload->data.data = (uint8_t *)(uintptr_t)data;
	payload->data.len = len;
}

static void set_run(Pv__CallEnded *ended, struct fake_parts *parts, const struct fake_process *process)
{
	parts->run.has_status = parts->run.has_exit_code = parts->run.has_signal = 1;
	parts->run.status = process->timed_out     ? PV__RUN_STATUS__RUN_STATUS_TIMED_OUT
	                    : process->signal != 0 ? PV__RUN_STATUS__RUN_STATUS_SIGNALLED
	                                           : PV__RUN_STATUS__RUN_STATUS_EXITED;
	parts->run.exit_code = process->exit_code;
	parts->run.signal = process->signal;
	set_data(&parts->payload, process->out, strlen(process->out));
	parts->run.stdout_data = &parts->payload;
	ended->outcome_case = PV__CALL_ENDED__OUTCOME_RUN;
	ended->run = &parts->run;
}

static void start(struct fake_objects *objects, uint64_t id, const Pv__RunCall *run)
{
	struct fake_process *process = find(objects, 0);
	const ProtobufCBinaryData *last = &run->argv[run->n_argv - 1];
	char word[64];

	snprintf(word, sizeof(word), "%.*s", (int)last->len, (const char *)last->data);
	*process = (struct fake_process){ .id = id, .ended = strcmp(word, "hang") != 0 };
	if (strncmp(word, "exit:", 5) == 0)
		process->exit_code = atoi(word + 5);
	else if (process->ended)
		snprintf(process->out, sizeof(process->out), "%s", word);
	if (run->stdin_data != NULL)
		snprintf(process->out, sizeof(process->out), "%.*s", (int)run->stdin_data->data.len,
		         (const char *)run->stdin_data->data.data);
}

static void write_input(struct fake_process *process, const Pv__StdinWriteCall *write, Pv__CallEnded *ended,
                        struct fake_parts *parts)
{
	size_t len = strlen(process->out);

	if (process->ended) {
		set_error(ended, parts, EPIPE, "the standard input is closed: Broken pipe (EPIPE)");
		return;
	}
	PV_ASSERT(write->offset == len); /* it copies, so all that was written is there */
	snprintf(process->out + len, sizeof(process->out) - len, "%.*s", (int)write->content->data.len,
	         (const char *)write->content->data.data);
	if (write->eof)
		process->ended = true;
	parts->count.has_count = 1;
	parts->count.count = write->content->data.len;
	ended->outcome_case = PV__CALL_ENDED__OUTCOME_COUNT;
	ended->count = &parts->count;
}

static enum fake_answer give(const char *text, size_t len, uint64_t offset, bool eof, bool late, Pv__CallEnded *ended,
                             struct fake_parts *parts)
{
	size_t left = offset < len ? len - (size_t)offset : 0;

	if (left == 0 && !eof && !late)
		return FAKE_PENDING;
	set_data(&parts->payload, text + len - left, left);
	parts->data.data = &parts->payload;
	parts->data.has_eof = parts->data.has_timed_out = 1;
	parts->data.eof = left == 0 && eof;
	parts->data.timed_out = left == 0 && !eof;
	ended->outcome_case = PV__CALL_ENDED__OUTCOME_STREAM_DATA;
	ended->stream_data = &parts->data;
	return FAKE_ANSWERED;
}

static enum fake_answer read_stream(struct fake_objects *objects, const Pv__ReadStreamCall *read, bool late,
                                    const struct pv_buf *file, Pv__CallEnded *ended, struct fake_parts *parts)
{
	for (size_t i = 0; i < FAKE_PROCESSES_MAX; i++) {
		const struct fake_process *process;

		if (objects->streams[i].id != read->stream)
			continue;
		if (objects->streams[i].process == 0)
			return give(pv_buf_str(file), file->len, read->offset, false, late, ended, parts);
		process = find(objects, objects->streams[i].process);
		return give(process->out, strlen(process->out), read->offset, process->ended, late, ended, parts);
	}
	PV_BUG("the fake driver has no stream %llu", (unsigned long long)read->stream);
}

static void open_stream(struct fake_objects *objects, uint64_t id, const Pv__OpenStreamCall *open, Pv__CallEnded *ended,
                        struct fake_parts *parts)
{
	if (open->path.len == 2 && memcmp(open->path.data, "/x", 2) == 0) {
		set_error(ended, parts, ENOENT, "/x: No such file or directory (ENOENT)");
		return;
	}
	for (size_t i = 0; i < FAKE_PROCESSES_MAX; i++)
		if (objects->streams[i].id == 0) {
			objects->streams[i].id = id;
			objects->streams[i].process = open->process;
			break;
		}
	set_spawned(ended, parts, 0);
}

static void signal_process(struct fake_process *process, int number)
{
	if (process->ended || number == 0)
		return;
	process->ended = true;
	process->signal = number;
}

static void init_parts(struct fake_parts *parts)
{
	pv__call_error__init(&parts->error);
	pv__call_done__init(&parts->done);
	pv__spawn_result__init(&parts->spawned);
	pv__run_result__init(&parts->run);
	pv__payload__init(&parts->payload);
	pv__payload__init(&parts->errors);
	pv__stream_data__init(&parts->data);
	pv__process_status__init(&parts->status);
	pv__count_result__init(&parts->count);
}

static enum fake_answer wait_for(struct fake_process *process, bool late, Pv__CallEnded *ended,
                                 struct fake_parts *parts)
{
	if (!process->ended && late) {
		process->timed_out = true;
		signal_process(process, SIGKILL);
	}
	if (!process->ended)
		return FAKE_PENDING;
	set_run(ended, parts, process);
	return FAKE_ANSWERED;
}

uint64_t fake_objects_limit_ms(const Pv__CallStarted *call)
{
	switch (call->op_case) {
	case PV__CALL_STARTED__OP_WAIT:
		return call->wait->timeout_ms;
	case PV__CALL_STARTED__OP_READ_STREAM:
		return call->read_stream->timeout_ms;
	case PV__CALL_STARTED__OP_READ_CONSOLE:
		return call->read_console->timeout_ms;
	default:
		return 0;
	}
}

enum fake_answer fake_objects_answer(struct fake_objects *objects, const Pv__CallStarted *call, bool late, bool up,
                                     const struct pv_buf *file, Pv__CallEnded *ended, struct fake_parts *parts)
{
	struct fake_process *process;

	init_parts(parts);
	ended->outcome_case = PV__CALL_ENDED__OUTCOME_DONE;
	ended->done = &parts->done;
	switch (call->op_case) {
	case PV__CALL_STARTED__OP_SPAWN:
		start(objects, call->id, call->spawn->run);
		set_spawned(ended, parts, 1000 + (int64_t)call->id);
		return FAKE_ANSWERED;
	case PV__CALL_STARTED__OP_SPAWN_WORKER:
		set_spawned(ended, parts, 77);
		return FAKE_ANSWERED;
	case PV__CALL_STARTED__OP_OPEN_CONSOLE:
		set_spawned(ended, parts, 0);
		return FAKE_ANSWERED;
	case PV__CALL_STARTED__OP_WAIT:
		return wait_for(find(objects, call->wait->process), late, ended, parts);
	case PV__CALL_STARTED__OP_WORKER_RUN: {
		static const struct fake_process ran = { .ended = true, .out = "in worker" };

		set_run(ended, parts, &ran);
		return FAKE_ANSWERED;
	}
	case PV__CALL_STARTED__OP_PROCESS_STATUS:
		process = find(objects, call->process_status->process);
		parts->status.has_running = parts->status.has_status = 1;
		parts->status.running = !process->ended;
		parts->status.status =
		    process->signal != 0 ? PV__RUN_STATUS__RUN_STATUS_SIGNALLED : PV__RUN_STATUS__RUN_STATUS_EXITED;
		ended->outcome_case = PV__CALL_ENDED__OUTCOME_PROCESS_STATUS;
		ended->process_status = &parts->status;
		return FAKE_ANSWERED;
	case PV__CALL_STARTED__OP_SIGNAL:
		signal_process(find(objects, call->signal->process), call->signal->signal);
		return FAKE_ANSWERED;
	case PV__CALL_STARTED__OP_STDIN_WRITE:
		write_input(find(objects, call->stdin_write->process), call->stdin_write, ended, parts);
		return FAKE_ANSWERED;
	case PV__CALL_STARTED__OP_CLOSE_PROCESS:
		signal_process(find(objects, call->close_process->process), SIGTERM);
		return FAKE_ANSWERED;
	case PV__CALL_STARTED__OP_OPEN_STREAM:
		open_stream(objects, call->id, call->open_stream, ended, parts);
		return FAKE_ANSWERED;
	case PV__CALL_STARTED__OP_READ_STREAM:
		return read_stream(objects, call->read_stream, late, file, ended, parts);
	case PV__CALL_STARTED__OP_READ_CONSOLE:
		return give(objects->console, strlen(objects->console), call->read_console->offset, !up,
		            late || !call->read_console->has_max, ended, parts);
	case PV__CALL_STARTED__OP_CLOSE_STREAM:
	case PV__CALL_STARTED__OP_CLOSE_WORKER:
		return FAKE_ANSWERED;
	default:
		return FAKE_NOT_MINE;
	}
}
