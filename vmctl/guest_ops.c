#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/agent_version.h"
#include "proto/frame.h"
#include "vmctl/guest_ops_internal.h"

struct pv_guest_op *pv_guest_op_new(struct pv_agent *agent, pv_guest_op_cb *cb, void *arg)
{
	struct pv_guest_op *op = PV_NEW(struct pv_guest_op);

	op->agent = agent;
	op->cb = cb;
	op->arg = arg;
	return op;
}

void pv_guest_finish(struct pv_guest_op *op, enum pv_err err, int sys_errno, const struct pv_errmsg *msg)
{
	struct pv_guest_result result = op->result;
	struct pv_buf out = op->out[0];
	struct pv_buf errors = op->out[1];

	memset(op->out, 0, sizeof(op->out));
	pv_buf_free(&op->input);
	if (op->main_id != 0)
		pv_agent_forget(op->agent, op->main_id);
	if (op->piece_id != 0)
		pv_agent_forget(op->agent, op->piece_id);
	op->main_id = 0;
	op->piece_id = 0;
	result.out = (struct pv_bytes){ pv_buf_str(&out), out.len };
	result.err = (struct pv_bytes){ pv_buf_str(&errors), errors.len };
	op->cb(op->arg, op, err, err == PV_OK ? &result : NULL, sys_errno, msg);
	pv_buf_free(&out);
	pv_buf_free(&errors);
}

void pv_guest_finish_violation(struct pv_guest_op *op, const char *what)
{
	struct pv_errmsg msg = { 0 };

	pv_err_set(&msg, PV_ERR_PROTOCOL, "the guest's agent broke the protocol: %s", what);
	pv_guest_finish(op, PV_ERR_PROTOCOL, 0, &msg);
}

ProtobufCBinaryData pv_guest_binary(const void *data, size_t len)
{
	return (ProtobufCBinaryData){ .data = (uint8_t *)(uintptr_t)data, .len = len };
}

static size_t min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

void pv_guest_piece_over(struct pv_guest_op *op, uint64_t *id, enum pv_err err)
{
	if (err == PV_OK || err == PV_ERR_GUEST)
		pv_agent_ack(op->agent, *id);
	*id = 0;
}

/* ---- output of a run ---- */

static void fetch_next(struct pv_guest_op *op);

static void fetched(void *arg, enum pv_err err, const Pva__ToHost *response, int sys_errno, const struct pv_errmsg *msg)
{
	struct pv_guest_op *op = arg;
	struct pv_buf *out = &op->out[op->fetching];

	pv_guest_piece_over(op, &op->piece_id, err);
	if (err != PV_OK) {
		pv_guest_finish(op, err, sys_errno, msg);
		return;
	}
	if (response->body_case != PVA__TO_HOST__BODY_DATA || response->data->data.len == 0 ||
	    response->data->data.len > min_size(op->want[op->fetching] - out->len, PV_AGENT_DATA_MAX)) {
		pv_guest_finish_violation(op, "a piece of output has the wrong size");
		return;
	}
	pv_buf_add(out, response->data->data.data, response->data->data.len);
	fetch_next(op);
}

static void fetch_next(struct pv_guest_op *op)
{
	struct pv_errmsg msg = { 0 };
	Pva__ToGuest message = PVA__TO_GUEST__INIT;
	Pva__ReadOutput output = PVA__READ_OUTPUT__INIT;
	Pva__ReadStream stream = PVA__READ_STREAM__INIT;

	while (op->fetching < 2 && op->out[op->fetching].len == op->want[op->fetching])
		op->fetching++;
	if (op->fetching == 2) {
		pv_guest_finish(op, PV_OK, 0, &msg);
		return;
	}
	output.has_exec = stream.has_object = 1;
	output.exec = op->exec_id;
	stream.object = op->object;
	output.has_fd = stream.has_fd = 1;
	output.fd = stream.fd = op->fetching + 1;
	output.has_offset = stream.has_offset = 1;
	output.offset = stream.offset = op->out[op->fetching].len;
	output.has_max = stream.has_max = 1;
	output.max = stream.max = PV_AGENT_DATA_MAX;
	if (op->object != 0) {
		message.body_case = PVA__TO_GUEST__BODY_READ_STREAM;
		message.read_stream = &stream;
	} else {
		message.body_case = PVA__TO_GUEST__BODY_READ_OUTPUT;
		message.read_output = &output;
	}
	op->piece_id = pv_agent_request(op->agent, &message, fetched, op);
}

/* ---- run ---- */

static bool take_status(struct pv_guest_op *op, const Pva__ExecDone *done)
{
	switch (done->status) {
	case PVA__EXEC_STATUS__EXEC_STATUS_EXITED:
		op->result.status = PV_GUEST_EXITED;
		op->result.exit_code = done->exit_code;
		return true;
	case PVA__EXEC_STATUS__EXEC_STATUS_SIGNALLED:
		op->result.status = PV_GUEST_SIGNALLED;
		op->result.signal = done->signal;
		return true;
	case PVA__EXEC_STATUS__EXEC_STATUS_TIMED_OUT:
		op->result.status = PV_GUEST_TIMED_OUT;
		return true;
	default:
		return false;
	}
}

static bool take_head(struct pv_guest_op *op, unsigned i, uint64_t size, const ProtobufCBinaryData *head)
{
	if (size > PV_AGENT_OUTPUT_MAX + (op->object != 0 ? PV_AGENT_OUTPUT_REST : 0) || head->len > size)
		return false;
	op->want[i] = (size_t)size;
	pv_buf_add(&op->out[i], head->data, head->len);
	return true;
}

void pv_guest_take_end(struct pv_guest_op *op, const Pva__ExecDone *done)
{
	if (!take_status(op, done) || !take_head(op, 0, done->stdout_size, &done->stdout_head) ||
	    !take_head(op, 1, done->stderr_size, &done->stderr_head))
		pv_guest_finish_violation(op, "the end of a program makes no sense");
	else
		fetch_next(op);
}

static void run_done(void *arg, enum pv_err err, const Pva__ToHost *response, int sys_errno,
                     const struct pv_errmsg *msg)
{
	struct pv_guest_op *op = arg;
	struct pv_errmsg text = { 0 };

	op->main_id = 0;
	op->exec_answered = err == PV_OK || err == PV_ERR_GUEST;
	if (err != PV_OK) {
		pv_guest_finish(op, err, sys_errno, msg);
		return;
	}
	if (response->body_case != PVA__TO_HOST__BODY_EXEC) {
		pv_guest_finish_violation(op, "a run was answered with something else");
		return;
	}
	if (response->exec->has_output_overflow && response->exec->output_overflow) {
		pv_err_sys(&text, PV_ERR_GUEST, EFBIG,
		           "%.256s: killed after more than %u MiB of output on one stream; write it to a file",
		           pv_buf_str(&op->path), PV_AGENT_OUTPUT_MAX >> 20);
		pv_guest_finish(op, PV_ERR_GUEST, EFBIG, &text);
		return;
	}
	/* The program is over, so is its standard input. */
	if (op->piece_id != 0)
		pv_agent_forget(op->agent, op->piece_id);
	op->piece_id = 0;
	pv_guest_take_end(op, response->exec);
}

static void stdin_next(struct pv_guest_op *op);

static void stdin_taken(void *arg, enum pv_err err, const Pva__ToHost *response, int sys_errno,
                        const struct pv_errmsg *msg)
{
	struct pv_guest_op *op = arg;

	(void)response;
	(void)sys_errno;
	(void)msg;
	pv_guest_piece_over(op, &op->piece_id, err);
	/* An error here says that the run has ended; its own answer says how. */
	if (err == PV_OK && op->input_pos < op->input.len)
		stdin_next(op);
}

static void stdin_next(struct pv_guest_op *op)
{
	Pva__WriteStdin write = PVA__WRITE_STDIN__INIT;
	Pva__ToGuest message = PVA__TO_GUEST__INIT;
	size_t len = min_size(op->input.len - op->input_pos, PV_AGENT_DATA_MAX);

	write.has_exec = 1;
	write.exec = op->exec_id;
	write.has_offset = 1;
	write.offset = op->input_pos;
	write.has_data = 1;
	write.data = pv_guest_binary(op->input.data + op->input_pos, len);
	op->input_pos += len;
	write.has_eof = 1;
	write.eof = op->input_pos == op->input.len;
	message.body_case = PVA__TO_GUEST__BODY_WRITE_STDIN;
	message.write_stdin = &write;
	op->piece_id = pv_agent_request(op->agent, &message, stdin_taken, op);
}

void pv_guest_run_message_init(struct pv_guest_run_message *m, const struct pv_guest_run *run)
{
	*m = (struct pv_guest_run_message){ .exec = PVA__EXEC__INIT };
	m->argv = pv_xcalloc(run->n_argv, sizeof(*m->argv));
	m->env = pv_xcalloc(run->n_env, sizeof(*m->env));
	m->env_ptrs = pv_xcalloc(run->n_env, sizeof(*m->env_ptrs));
	for (size_t i = 0; i < run->n_argv; i++)
		m->argv[i] = pv_guest_binary(run->argv[i].data, run->argv[i].len);
	for (size_t i = 0; i < run->n_env; i++) {
		pva__env_var__init(&m->env[i]);
		m->env[i].name = (char *)(uintptr_t)run->env[i].name;
		m->env[i].has_value = 1;
		m->env[i].value = pv_guest_binary(run->env[i].value.data, run->env[i].value.len);
		m->env_ptrs[i] = &m->env[i];
	}
	m->exec.argv = m->argv;
	m->exec.n_argv = run->n_argv;
	m->exec.env = m->env_ptrs;
	m->exec.n_env = run->n_env;
	m->exec.has_env_clear = run->env_clear;
	m->exec.env_clear = run->env_clear;
	m->exec.has_cwd = run->cwd.data != NULL;
	m->exec.cwd = pv_guest_binary(run->cwd.data, run->cwd.len);
	m->exec.has_timeout_ms = run->timeout_ms > 0;
	m->exec.timeout_ms = run->timeout_ms;
}

void pv_guest_run_message_free(struct pv_guest_run_message *m)
{
	free(m->argv);
	free(m->env);
	free(m->env_ptrs);
}

size_t pv_guest_run_message_stdin(struct pv_guest_run_message *m, const struct pv_bytes *input)
{
	size_t used = pva__exec__get_packed_size(&m->exec) + 2048; /* the envelope and acknowledgements */
	size_t room = used < PV_FRAME_MAX ? PV_FRAME_MAX - used : 0;
	size_t len = min_size(min_size(input->len, PV_AGENT_DATA_MAX), room);

	m->exec.has_stdin_data = len > 0;
	m->exec.stdin_data = pv_guest_binary(input->data, len);
	m->exec.has_stdin_more = len < input->len;
	m->exec.stdin_more = len < input->len;
	return len;
}

struct pv_guest_op *pv_guest_run(struct pv_agent *agent, const struct pv_guest_run *run, pv_guest_op_cb *cb, void *arg)
{
	struct pv_guest_op *op = pv_guest_op_new(agent, cb, arg);
	Pva__ToGuest message = PVA__TO_GUEST__INIT;
	struct pv_guest_run_message m;

	PV_ASSERT(run->n_argv > 0);
	pv_buf_add(&op->path, run->argv[0].data, run->argv[0].len);
	pv_guest_run_message_init(&m, run);
	op->input_pos = pv_guest_run_message_stdin(&m, &run->stdin_data);
	message.has_worker = run->worker != PV_GUEST_NO_WORKER;
	message.worker = run->worker;
	message.body_case = PVA__TO_GUEST__BODY_EXEC;
	message.exec = &m.exec;
	op->exec_id = run->id != 0 ? run->id : pv_agent_reserve_id(agent);
	op->main_id = op->exec_id;
	pv_agent_request_as(agent, op->exec_id, &message, run_done, op);
	pv_guest_run_message_free(&m);
	if (op->input_pos < run->stdin_data.len) {
		pv_buf_add(&op->input, run->stdin_data.data, run->stdin_data.len);
		stdin_next(op);
	}
	return op;
}

/* ---- files ---- */

static void read_next(struct pv_guest_op *op);

static void read_done(void *arg, enum pv_err err, const Pva__ToHost *response, int sys_errno,
                      const struct pv_errmsg *msg)
{
	struct pv_guest_op *op = arg;
	struct pv_errmsg text = { 0 };
	const Pva__Data *piece;

	pv_guest_piece_over(op, &op->main_id, err);
	if (err != PV_OK) {
		pv_guest_finish(op, err, sys_errno, msg);
		return;
	}
	piece = response->body_case == PVA__TO_HOST__BODY_DATA ? response->data : NULL;
	if (piece == NULL || piece->data.len > PV_AGENT_DATA_MAX || (piece->data.len == 0 && !piece->eof)) {
		pv_guest_finish_violation(op, "a piece of a file has the wrong size");
		return;
	}
	if (op->out[0].len + piece->data.len > PV_GUEST_FILE_MAX) {
		pv_err_sys(&text, PV_ERR_GUEST, EFBIG, "%.4096s: more than %llu MiB; read it in pieces",
		           pv_buf_str(&op->path), PV_GUEST_FILE_MAX >> 20);
		pv_guest_finish(op, PV_ERR_GUEST, EFBIG, &text);
		return;
	}
	pv_buf_add(&op->out[0], piece->data.data, piece->data.len);
	if (piece->eof)
		pv_guest_finish(op, PV_OK, 0, &text);
	else
		read_next(op);
}

static void read_next(struct pv_guest_op *op)
{
	Pva__ReadFile read = PVA__READ_FILE__INIT;
	Pva__ToGuest message = PVA__TO_GUEST__INIT;

	read.has_path = 1;
	read.path = pv_guest_binary(op->path.data, op->path.len);
	read.has_offset = 1;
	read.offset = op->out[0].len;
	read.has_max = 1;
	read.max = PV_AGENT_DATA_MAX;
	message.body_case = PVA__TO_GUEST__BODY_READ_FILE;
	message.read_file = &read;
	op->main_id = pv_agent_request(op->agent, &message, read_done, op);
}

struct pv_guest_op *pv_guest_read_file(struct pv_agent *agent, struct pv_bytes path, pv_guest_op_cb *cb, void *arg)
{
	struct pv_guest_op *op = pv_guest_op_new(agent, cb, arg);

	pv_buf_add(&op->path, path.data, path.len);
	read_next(op);
	return op;
}

static void write_next(struct pv_guest_op *op);

static void write_done(void *arg, enum pv_err err, const Pva__ToHost *response, int sys_errno,
                       const struct pv_errmsg *msg)
{
	struct pv_guest_op *op = arg;

	if (op->main_id == op->exec_id) {
		op->main_id = 0;
		op->exec_answered = err == PV_OK || err == PV_ERR_GUEST;
	} else {
		pv_guest_piece_over(op, &op->main_id, err);
	}
	if (err != PV_OK)
		pv_guest_finish(op, err, sys_errno, msg);
	else if (response->body_case != PVA__TO_HOST__BODY_DONE)
		pv_guest_finish_violation(op, "a write was answered with something else");
	else if (op->input_pos == op->input.len)
		pv_guest_finish(op, PV_OK, 0, msg);
	else
		write_next(op);
}

static void write_next(struct pv_guest_op *op)
{
	Pva__WriteFile write = PVA__WRITE_FILE__INIT;
	Pva__ToGuest message = PVA__TO_GUEST__INIT;
	size_t len = min_size(op->input.len - op->input_pos, PV_AGENT_DATA_MAX);

	write.has_path = 1;
	write.path = pv_guest_binary(op->path.data, op->path.len);
	write.has_offset = 1;
	write.offset = op->input_pos;
	write.has_data = 1;
	write.data = pv_guest_binary(op->input.data + op->input_pos, len);
	write.has_truncate = 1;
	write.truncate = op->input_pos == 0;
	write.has_perm = 1;
	write.perm = op->perm;
	write.has_parents = op->parents;
	write.parents = op->parents;
	write.has_first = op->input_pos > 0;
	write.first = op->exec_id;
	op->main_id = op->input_pos > 0 ? pv_agent_reserve_id(op->agent) : op->exec_id;
	op->input_pos += len;
	message.body_case = PVA__TO_GUEST__BODY_WRITE_FILE;
	message.write_file = &write;
	pv_agent_request_as(op->agent, op->main_id, &message, write_done, op);
}

static struct pv_guest_op *new_write(struct pv_agent *agent, uint64_t id, struct pv_bytes path, struct pv_bytes content,
                                     uint32_t perm, pv_guest_op_cb *cb, void *arg)
{
	struct pv_guest_op *op = pv_guest_op_new(agent, cb, arg);

	op->exec_id = id != 0 ? id : pv_agent_reserve_id(agent);
	pv_buf_add(&op->path, path.data, path.len);
	pv_buf_add(&op->input, content.data, content.len);
	op->perm = perm;
	return op;
}

struct pv_guest_op *pv_guest_write_file(struct pv_agent *agent, uint64_t id, struct pv_bytes path,
                                        struct pv_bytes content, uint32_t perm, pv_guest_op_cb *cb, void *arg)
{
	struct pv_guest_op *op = new_write(agent, id, path, content, perm, cb, arg);

	write_next(op);
	return op;
}

struct pv_guest_op *pv_guest_write_boot_file(struct pv_agent *agent, struct pv_bytes path, struct pv_bytes content,
                                             uint32_t perm, pv_guest_op_cb *cb, void *arg)
{
	struct pv_guest_op *op = new_write(agent, 0, path, content, perm, cb, arg);

	op->parents = true;
	write_next(op);
	return op;
}

static void cancel_poll(struct pv_guest_op *op)
{
	Pva__ToGuest message = PVA__TO_GUEST__INIT;
	Pva__CancelPoll cancel = PVA__CANCEL_POLL__INIT;

	cancel.has_request = 1;
	cancel.request = op->main_id;
	message.body_case = PVA__TO_GUEST__BODY_CANCEL_POLL;
	message.cancel_poll = &cancel;
	pv_agent_request(op->agent, &message, NULL, NULL);
}

void pv_guest_op_settle(struct pv_guest_op *op)
{
	if (op == NULL)
		return;
	if (op->main_id != 0 && op->poll)
		cancel_poll(op);
	if (op->main_id != 0)
		pv_agent_forget(op->agent, op->main_id);
	if (op->piece_id != 0)
		pv_agent_forget(op->agent, op->piece_id);
	if (op->exec_answered)
		pv_agent_ack(op->agent, op->exec_id);
	pv_buf_free(&op->path);
	pv_buf_free(&op->input);
	pv_buf_free(&op->out[0]);
	pv_buf_free(&op->out[1]);
	free(op);
}
