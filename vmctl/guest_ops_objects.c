#include <signal.h>

#include "proto/agent_version.h"
#include "vmctl/guest_ops_internal.h"

/* Sends the one request of `op`, or the first of it. */
static struct pv_guest_op *ask(struct pv_guest_op *op, Pva__ToGuest *message, pv_agent_cb *cb)
{
	op->main_id = pv_agent_request(op->agent, message, cb, op);
	return op;
}

/* The same with the id that names an object, which is acknowledged by settle. */
static struct pv_guest_op *ask_as(struct pv_guest_op *op, uint64_t id, Pva__ToGuest *message, pv_agent_cb *cb)
{
	op->exec_id = id;
	op->main_id = id;
	pv_agent_request_as(op->agent, id, message, cb, op);
	return op;
}

/* Of a request with ask_as(). */
static void named(struct pv_guest_op *op, enum pv_err err)
{
	op->main_id = 0;
	op->exec_answered = err == PV_OK || err == PV_ERR_GUEST;
}

static bool expected(struct pv_guest_op *op, enum pv_err err, const Pva__ToHost *response, int sys_errno,
                     const struct pv_errmsg *msg, Pva__ToHost__BodyCase body)
{
	if (err == PV_OK && response->body_case == body)
		return true;
	if (err == PV_OK)
		pv_guest_finish_violation(op, "a request was answered with something else");
	else
		pv_guest_finish(op, err, sys_errno, msg);
	return false;
}

/* ---- start ---- */

static void keep_next(struct pv_guest_op *op);

static void kept(void *arg, enum pv_err err, const Pva__ToHost *response, int sys_errno, const struct pv_errmsg *msg)
{
	struct pv_guest_op *op = arg;

	(void)response;
	pv_guest_piece_over(op, &op->piece_id, err);
	/* Refused by the guest: the program has ended or closed its input, which is no failure of its start. */
	if (err != PV_OK && err != PV_ERR_GUEST)
		pv_guest_finish(op, err, sys_errno, msg);
	else if (err == PV_ERR_GUEST || op->input_pos == op->input.len)
		pv_guest_finish(op, PV_OK, 0, &(struct pv_errmsg){ 0 });
	else
		keep_next(op);
}

/* Hands over first bytes that did not fit beside the arguments. */
static void keep_next(struct pv_guest_op *op)
{
	Pva__ToGuest message = PVA__TO_GUEST__INIT;
	Pva__WriteStdin write = PVA__WRITE_STDIN__INIT;
	size_t left = op->input.len - op->input_pos;
	size_t len = left < PV_AGENT_DATA_MAX ? left : PV_AGENT_DATA_MAX;

	write.has_exec = 1;
	write.exec = op->exec_id;
	write.has_offset = 1;
	write.offset = op->input_pos;
	write.has_data = 1;
	write.data = pv_guest_binary(op->input.data + op->input_pos, len);
	write.has_keep = 1;
	write.keep = 1;
	op->input_pos += len;
	message.body_case = PVA__TO_GUEST__BODY_WRITE_STDIN;
	message.write_stdin = &write;
	op->piece_id = pv_agent_request(op->agent, &message, kept, op);
}

static void spawned(void *arg, enum pv_err err, const Pva__ToHost *response, int sys_errno, const struct pv_errmsg *msg)
{
	struct pv_guest_op *op = arg;

	named(op, err);
	if (!expected(op, err, response, sys_errno, msg, PVA__TO_HOST__BODY_SPAWNED))
		return;
	op->result.pid = response->spawned->pid;
	if (op->input_pos < op->input.len)
		keep_next(op);
	else
		pv_guest_finish(op, PV_OK, 0, msg);
}

struct pv_guest_op *pv_guest_spawn(struct pv_agent *agent, uint64_t id, uint64_t worker, const struct pv_guest_run *run,
                                   pv_guest_op_cb *cb, void *arg)
{
	struct pv_guest_op *op = pv_guest_op_new(agent, cb, arg);
	Pva__ToGuest message = PVA__TO_GUEST__INIT;
	struct pv_guest_run_message m;

	PV_ASSERT(run->n_argv > 0);
	pv_guest_run_message_init(&m, run);
	m.exec.has_timeout_ms = 0;
	op->input_pos = pv_guest_run_message_stdin(&m, &run->stdin_data);
	if (op->input_pos < run->stdin_data.len)
		pv_buf_add(&op->input, run->stdin_data.data, run->stdin_data.len);
	message.has_worker = worker != PV_GUEST_NO_WORKER;
	message.worker = worker;
	message.body_case = PVA__TO_GUEST__BODY_SPAWN;
	message.spawn = &m.exec;
	ask_as(op, id, &message, spawned);
	pv_guest_run_message_free(&m);
	return op;
}

struct pv_guest_op *pv_guest_worker(struct pv_agent *agent, uint64_t id, pv_guest_op_cb *cb, void *arg)
{
	Pva__ToGuest message = PVA__TO_GUEST__INIT;
	Pva__WorkerStart start = PVA__WORKER_START__INIT;

	message.body_case = PVA__TO_GUEST__BODY_WORKER_START;
	message.worker_start = &start;
	return ask_as(pv_guest_op_new(agent, cb, arg), id, &message, spawned);
}

/* ---- wait ---- */

static void waited(void *arg, enum pv_err err, const Pva__ToHost *response, int sys_errno, const struct pv_errmsg *msg)
{
	struct pv_guest_op *op = arg;

	pv_guest_piece_over(op, &op->main_id, err);
	if (expected(op, err, response, sys_errno, msg, PVA__TO_HOST__BODY_EXEC))
		pv_guest_take_end(op, response->exec);
}

struct pv_guest_op *pv_guest_wait(struct pv_agent *agent, uint64_t id, pv_guest_op_cb *cb, void *arg)
{
	struct pv_guest_op *op = pv_guest_op_new(agent, cb, arg);
	Pva__ToGuest message = PVA__TO_GUEST__INIT;
	Pva__WaitExit wait = PVA__WAIT_EXIT__INIT;

	op->object = id;
	op->poll = true;
	wait.has_process = 1;
	wait.process = id;
	message.body_case = PVA__TO_GUEST__BODY_WAIT_EXIT;
	message.wait_exit = &wait;
	return ask(op, &message, waited);
}

/* ---- requests that are answered with Done ---- */

static void done(void *arg, enum pv_err err, const Pva__ToHost *response, int sys_errno, const struct pv_errmsg *msg)
{
	struct pv_guest_op *op = arg;

	if (op->exec_id != 0)
		named(op, err);
	else
		pv_guest_piece_over(op, &op->main_id, err);
	if (expected(op, err, response, sys_errno, msg, PVA__TO_HOST__BODY_DONE))
		pv_guest_finish(op, PV_OK, 0, msg);
}

static struct pv_guest_op *send_signal(struct pv_agent *agent, uint64_t request, uint64_t id, int sig, bool time_limit,
                                       pv_guest_op_cb *cb, void *arg)
{
	Pva__ToGuest message = PVA__TO_GUEST__INIT;
	Pva__SendSignal send = PVA__SEND_SIGNAL__INIT;

	send.has_process = 1;
	send.process = id;
	send.has_signal = 1;
	send.signal = sig;
	send.has_time_limit = time_limit;
	send.time_limit = time_limit;
	message.body_case = PVA__TO_GUEST__BODY_SEND_SIGNAL;
	message.send_signal = &send;
	return ask_as(pv_guest_op_new(agent, cb, arg), request != 0 ? request : pv_agent_reserve_id(agent), &message,
	              done);
}

struct pv_guest_op *pv_guest_signal(struct pv_agent *agent, uint64_t request, uint64_t id, int sig, pv_guest_op_cb *cb,
                                    void *arg)
{
	return send_signal(agent, request, id, sig, false, cb, arg);
}

struct pv_guest_op *pv_guest_time_out(struct pv_agent *agent, uint64_t request, uint64_t id, pv_guest_op_cb *cb,
                                      void *arg)
{
	return send_signal(agent, request, id, SIGKILL, true, cb, arg);
}

struct pv_guest_op *pv_guest_release(struct pv_agent *agent, uint64_t id, pv_guest_op_cb *cb, void *arg)
{
	Pva__ToGuest message = PVA__TO_GUEST__INIT;
	Pva__Release release = PVA__RELEASE__INIT;

	release.has_object = 1;
	release.object = id;
	message.body_case = PVA__TO_GUEST__BODY_RELEASE;
	message.release = &release;
	return ask(pv_guest_op_new(agent, cb, arg), &message, done);
}

static Pva__TailFrom tail_from(enum pv_tail_from from)
{
	switch (from) {
	case PV_TAIL_FROM_END:
		return PVA__TAIL_FROM__TAIL_FROM_END;
	case PV_TAIL_FROM_BEGINNING:
		return PVA__TAIL_FROM__TAIL_FROM_BEGINNING;
	case PV_TAIL_AT_OFFSET:
		return PVA__TAIL_FROM__TAIL_FROM_OFFSET;
	case PV_TAIL_BEFORE_END:
		return PVA__TAIL_FROM__TAIL_FROM_BEFORE_END;
	}
	PV_BUG("a tail from %d", from);
}

struct pv_guest_op *pv_guest_tail(struct pv_agent *agent, uint64_t id, struct pv_bytes path, enum pv_tail_from from,
                                  uint64_t offset, pv_guest_op_cb *cb, void *arg)
{
	Pva__ToGuest message = PVA__TO_GUEST__INIT;
	Pva__TailOpen tail = PVA__TAIL_OPEN__INIT;

	tail.has_path = 1;
	tail.path = pv_guest_binary(path.data, path.len);
	tail.has_from = 1;
	tail.from = tail_from(from);
	tail.has_offset = 1;
	tail.offset = offset;
	message.body_case = PVA__TO_GUEST__BODY_TAIL_OPEN;
	message.tail_open = &tail;
	return ask_as(pv_guest_op_new(agent, cb, arg), id, &message, done);
}

/* ---- standard input ---- */

static void write_next(struct pv_guest_op *op);

static void taken(void *arg, enum pv_err err, const Pva__ToHost *response, int sys_errno, const struct pv_errmsg *msg)
{
	struct pv_guest_op *op = arg;
	size_t left = op->input.len - op->input_pos;
	uint64_t count;

	pv_guest_piece_over(op, &op->main_id, err);
	if (!expected(op, err, response, sys_errno, msg, PVA__TO_HOST__BODY_TAKEN))
		return;
	count = response->taken->count;
	if (count > (left < PV_AGENT_DATA_MAX ? left : PV_AGENT_DATA_MAX) || (count == 0 && left > 0)) {
		pv_guest_finish_violation(op, "standard input was taken that was not given");
		return;
	}
	op->input_pos += (size_t)count;
	op->result.count = op->input_pos;
	if (op->eof && op->input_pos < op->input.len)
		write_next(op);
	else
		pv_guest_finish(op, PV_OK, 0, msg);
}

static void write_next(struct pv_guest_op *op)
{
	Pva__ToGuest message = PVA__TO_GUEST__INIT;
	Pva__WriteStdin write = PVA__WRITE_STDIN__INIT;
	size_t left = op->input.len - op->input_pos;
	size_t len = left < PV_AGENT_DATA_MAX ? left : PV_AGENT_DATA_MAX;

	write.has_exec = 1;
	write.exec = op->object;
	write.has_offset = 1;
	write.offset = op->offset + op->input_pos;
	write.has_data = len > 0;
	if (len > 0)
		write.data = pv_guest_binary(op->input.data + op->input_pos, len);
	write.has_eof = 1;
	write.eof = op->eof && len == left;
	message.body_case = PVA__TO_GUEST__BODY_WRITE_STDIN;
	message.write_stdin = &write;
	ask(op, &message, taken);
}

struct pv_guest_op *pv_guest_stdin(struct pv_agent *agent, uint64_t id, uint64_t offset, struct pv_bytes data, bool eof,
                                   pv_guest_op_cb *cb, void *arg)
{
	struct pv_guest_op *op = pv_guest_op_new(agent, cb, arg);

	op->object = id;
	op->offset = offset;
	op->eof = eof;
	op->poll = true;
	pv_buf_add(&op->input, data.data, data.len);
	write_next(op);
	return op;
}

/* ---- streams ---- */

static void read_done(void *arg, enum pv_err err, const Pva__ToHost *response, int sys_errno,
                      const struct pv_errmsg *msg)
{
	struct pv_guest_op *op = arg;
	const Pva__Data *piece;

	pv_guest_piece_over(op, &op->main_id, err);
	if (!expected(op, err, response, sys_errno, msg, PVA__TO_HOST__BODY_DATA))
		return;
	piece = response->data;
	if (piece->data.len > op->max || (piece->data.len == 0) != (piece->has_eof && piece->eof)) {
		pv_guest_finish_violation(op, "a piece of a stream has the wrong size");
		return;
	}
	pv_buf_add(&op->out[0], piece->data.data, piece->data.len);
	op->result.eof = piece->data.len == 0;
	pv_guest_finish(op, PV_OK, 0, msg);
}

struct pv_guest_op *pv_guest_read(struct pv_agent *agent, uint64_t id, int fd, uint64_t offset, uint32_t max,
                                  pv_guest_op_cb *cb, void *arg)
{
	struct pv_guest_op *op = pv_guest_op_new(agent, cb, arg);
	Pva__ToGuest message = PVA__TO_GUEST__INIT;
	Pva__ReadStream read = PVA__READ_STREAM__INIT;

	op->poll = true;
	op->max = max;
	read.has_object = 1;
	read.object = id;
	read.has_fd = 1;
	read.fd = (uint32_t)fd;
	read.has_offset = 1;
	read.offset = offset;
	read.has_max = 1;
	read.max = max;
	message.body_case = PVA__TO_GUEST__BODY_READ_STREAM;
	message.read_stream = &read;
	return ask(op, &message, read_done);
}

struct pv_guest_op *pv_guest_network(struct pv_agent *agent, Pva__Network *network, pv_guest_op_cb *cb, void *arg)
{
	Pva__ToGuest message = PVA__TO_GUEST__INIT;

	message.body_case = PVA__TO_GUEST__BODY_NETWORK;
	message.network = network;
	return ask(pv_guest_op_new(agent, cb, arg), &message, done);
}
