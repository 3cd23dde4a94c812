#include "fake_driver.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_frames.h"
#include "fake_objects.h"
#include "script_fixture.h"

struct answer {
	struct fake_driver *driver;
	Pv__CallStarted *call; /* a copy */
	struct event *timer;   /* NULL: hangs */
	bool cancelled;
	bool waits; /* for something to happen to an object; the timer is its limit */
	TAILQ_ENTRY(answer) link;
};

struct fake_driver {
	struct fixture *f;
	TAILQ_HEAD(, answer) answers;
	struct fake_objects objects;
	struct pv_buf content; /* of the one file that guests have */
	char refusal[512];
	uint8_t sectors[16 * 512];
};

static Pv__CallStarted *copy_call(const Pv__CallStarted *call)
{
	size_t len = pv__call_started__get_packed_size(call);
	uint8_t *bytes = pv_xmalloc(len);
	Pv__CallStarted *copy;

	pv__call_started__pack(call, bytes);
	copy = pv__call_started__unpack(NULL, len, bytes);
	free(bytes);
	return copy;
}

static void free_answer(struct answer *answer)
{
	TAILQ_REMOVE(&answer->driver->answers, answer, link);
	if (answer->timer != NULL)
		event_free(answer->timer);
	pv__call_started__free_unpacked(answer->call, NULL);
	free(answer);
}

static void set_error(Pv__CallEnded *ended, Pv__CallError *error, Pv__ErrorKind kind, const char *message)
{
	error->has_kind = 1;
	error->kind = kind;
	error->message = (char *)message;
	ended->outcome_case = PV__CALL_ENDED__OUTCOME_ERROR;
	ended->error = error;
}

static char *last_word(const Pv__RunCall *run)
{
	const ProtobufCBinaryData *last = &run->argv[run->n_argv - 1];

	return pv_xasprintf("%.*s", (int)last->len, (const char *)last->data);
}

/* ---- answering ---- */

struct run_reply {
	Pv__RunResult result;
	Pv__Payload out;
	struct pv_buf text;
};

static void run_plain(const Pv__RunCall *run, struct run_reply *reply)
{
	for (size_t i = 0; i < run->n_argv; i++) {
		if (i > 0)
			pv_buf_addstr(&reply->text, "|");
		pv_buf_add(&reply->text, run->argv[i].data, run->argv[i].len);
	}
	reply->out.kind_case = PV__PAYLOAD__KIND_DATA;
	reply->out.data.data = reply->text.data;
	reply->out.data.len = reply->text.len;
	reply->result.stdout_data = &reply->out;
}

static void answer_run(const Pv__RunCall *run, Pv__CallEnded *ended, Pv__CallError *error, struct run_reply *reply)
{
	char *word = last_word(run);

	pv__run_result__init(&reply->result);
	pv__payload__init(&reply->out);
	reply->result.has_status = 1;
	reply->result.status = PV__RUN_STATUS__RUN_STATUS_EXITED;
	reply->result.has_exit_code = 1;
	ended->outcome_case = PV__CALL_ENDED__OUTCOME_RUN;
	ended->run = &reply->result;
	if (strcmp(word, "refuse") == 0) {
		set_error(ended, error, PV__ERROR_KIND__ERROR_KIND_GUEST, "/x: No such file or directory (ENOENT)");
		error->has_sys_errno = 1;
		error->sys_errno = ENOENT;
	} else if (strncmp(word, "exit:", 5) == 0) {
		reply->result.exit_code = atoi(word + 5);
	} else if (strncmp(word, "signal:", 7) == 0) {
		reply->result.status = PV__RUN_STATUS__RUN_STATUS_SIGNALLED;
		reply->result.has_signal = 1;
		reply->result.signal = atoi(word + 7);
	} else if (strcmp(word, "timeout") == 0) {
		reply->result.status = PV__RUN_STATUS__RUN_STATUS_TIMED_OUT;
	} else {
		run_plain(run, reply);
	}
	free(word);
}

static void answer_read(struct fake_driver *driver, const Pv__ReadFileCall *read, Pv__CallEnded *ended,
                        Pv__CallError *error, Pv__Payload *data)
{
	if (read->path.len == 2 && memcmp(read->path.data, "/x", 2) == 0) {
		set_error(ended, error, PV__ERROR_KIND__ERROR_KIND_GUEST, "/x: No such file or directory (ENOENT)");
		return;
	}
	pv__payload__init(data);
	data->kind_case = PV__PAYLOAD__KIND_DATA;
	data->data.data = driver->content.data;
	data->data.len = driver->content.len;
	ended->outcome_case = PV__CALL_ENDED__OUTCOME_DATA;
	ended->data = data;
}

static bool boot_fails(const struct fake_driver *driver, uint32_t vm)
{
	struct pv_vm_view view;

	return pv_state_vm(pv_engine_state(driver->f->engine), vm, &view) && strncmp(view.name, "bad", 3) == 0;
}

/* ---- snapshots: a text file "<VM> <profile> <bytes of memory>" ---- */

static char *path_text(ProtobufCBinaryData path)
{
	return pv_xasprintf("%.*s", (int)path.len, (const char *)path.data);
}

static void answer_snapshot(struct fake_driver *driver, const Pv__CallStarted *call, Pv__CallEnded *ended,
                            Pv__CallError *error, Pv__SnapshotResult *result)
{
	char *path = path_text(call->snapshot->path);
	FILE *file = fopen(path, "we");
	struct pv_vm_view vm;

	ended->outcome_case = PV__CALL_ENDED__OUTCOME_SNAPSHOT;
	ended->snapshot = result;
	result->has_file_bytes = result->has_stopped_ns = 1;
	result->file_bytes = 4096;
	result->stopped_ns = 2000000;
	if (!pv_state_vm(pv_engine_state(driver->f->engine), call->vm, &vm) || strncmp(vm.name, "stuck", 5) == 0)
		set_error(ended, error, PV__ERROR_KIND__ERROR_KIND_FAILED, "no space left");
	else if (file == NULL)
		set_error(ended, error, PV__ERROR_KIND__ERROR_KIND_FAILED, "the file cannot be written");
	else
		fprintf(file, "%s %s %llu", vm.name, vm.profile, (unsigned long long)vm.last_spec->memory_bytes);
	if (file != NULL)
		fclose(file);
	free(path);
}

static enum pv_err look(void *self, const char *path, const char *profile, const Pv__VmSpec *spec,
                        struct pv_snapshot_facts *facts, struct pv_errmsg *msg)
{
	FILE *file = fopen(path, "re");
	char name[64], saved_profile[64];
	unsigned long long memory;
	int n = file != NULL ? fscanf(file, "%63s %63s %llu", name, saved_profile, &memory) : 0;

	(void)self;
	if (file == NULL)
		return pv_err_sys(msg, PV_ERR_NOENT, ENOENT, "%s", path);
	fclose(file);
	if (n != 3)
		return pv_err_set(msg, PV_ERR_CORRUPT, "%s: no snapshot", path);
	if (profile != NULL && spec->memory_bytes != memory)
		return pv_err_set(msg, PV_ERR_INVAL, "memory differs: the snapshot has %llu bytes, the VM %llu", memory,
		                  (unsigned long long)spec->memory_bytes);
	facts->vm_name = pv_xstrdup(name);
	facts->profile = pv_xstrdup(saved_profile);
	facts->spec = PV_NEW(Pv__VmSpec);
	pv__vm_spec__init(facts->spec);
	facts->spec->has_memory_bytes = 1;
	facts->spec->memory_bytes = memory;
	return PV_OK;
}

static void answer_restore(struct fake_driver *driver, const Pv__CallStarted *call, Pv__CallEnded *ended,
                           Pv__CallError *error, Pv__BootResult *result)
{
	char *path = path_text(call->restore->path);
	struct pv_snapshot_facts facts = { .spec = NULL };
	struct pv_errmsg msg;
	struct pv_vm_view vm;

	ended->outcome_case = PV__CALL_ENDED__OUTCOME_BOOT;
	ended->boot = result;
	result->has_paused = result->paused = call->restore->stay_paused;
	snprintf(driver->refusal, sizeof(driver->refusal), "the VM is gone");
	if (!pv_state_vm(pv_engine_state(driver->f->engine), call->vm, &vm) || strncmp(vm.name, "bad", 3) == 0)
		set_error(ended, error, PV__ERROR_KIND__ERROR_KIND_FAILED, "QEMU did not take the state");
	else if (look(driver, path, vm.profile, call->restore->spec, &facts, &msg) != PV_OK) {
		snprintf(driver->refusal, sizeof(driver->refusal), "%.*s", 400, msg.text);
		set_error(ended, error, PV__ERROR_KIND__ERROR_KIND_FAILED, driver->refusal);
	}
	pv_snapshot_facts_free(&facts);
	free(path);
}

/* What the networks say: a VM named "stuck..." takes no NIC, the bridge "nowhere" has no uplink, a capture has the four bytes "pcap". */
struct net_reply {
	Pv__NicCounters counters;
	Pv__SpawnResult spawned;
	Pv__StreamData data;
	Pv__Payload payload;
	Pv__FramesResult frames;
};

static bool answer_network(const struct fake_driver *driver, const Pv__CallStarted *call, Pv__CallEnded *ended,
                           Pv__CallError *error, struct net_reply *reply)
{
	const struct pv_state *state = pv_engine_state(driver->f->engine);
	struct pv_bridge_view bridge;
	const char *failure;
	struct pv_vm_view vm;

	switch (call->op_case) {
	case PV__CALL_STARTED__OP_NIC:
		if (pv_state_vm(state, call->vm, &vm) && strncmp(vm.name, "stuck", 5) == 0)
			set_error(ended, error, PV__ERROR_KIND__ERROR_KIND_FAILED, "no room on the bus");
		return true;
	case PV__CALL_STARTED__OP_UPLINK:
		if (pv_state_bridge(state, call->uplink->bridge, &bridge) && strcmp(bridge.name, "nowhere") == 0)
			set_error(ended, error, PV__ERROR_KIND__ERROR_KIND_FAILED, "no host network");
		return true;
	case PV__CALL_STARTED__OP_FRAMES:
		failure = fake_frames(state, call->frames, &reply->frames);
		ended->outcome_case = PV__CALL_ENDED__OUTCOME_FRAMES;
		ended->frames = &reply->frames;
		if (failure != NULL)
			set_error(ended, error, PV__ERROR_KIND__ERROR_KIND_FAILED, failure);
		return true;
	case PV__CALL_STARTED__OP_NIC_COUNTERS:
		pv__nic_counters__init(&reply->counters);
		reply->counters.has_tx_packets = 1;
		reply->counters.tx_packets = 7;
		ended->outcome_case = PV__CALL_ENDED__OUTCOME_NIC_COUNTERS;
		ended->nic_counters = &reply->counters;
		return true;
	case PV__CALL_STARTED__OP_OPEN_CAPTURE:
		pv__spawn_result__init(&reply->spawned);
		ended->outcome_case = PV__CALL_ENDED__OUTCOME_SPAWNED;
		ended->spawned = &reply->spawned;
		return true;
	case PV__CALL_STARTED__OP_READ_CAPTURE:
		pv__stream_data__init(&reply->data);
		pv__payload__init(&reply->payload);
		reply->payload.kind_case = PV__PAYLOAD__KIND_DATA;
		reply->payload.data.data = (uint8_t *)(uintptr_t) "pcap";
		reply->payload.data.len = call->read_capture->offset == 0 ? 4 : 0;
		reply->data.has_timed_out = reply->data.timed_out = call->read_capture->offset > 0;
		reply->data.data = &reply->payload;
		ended->outcome_case = PV__CALL_ENDED__OUTCOME_STREAM_DATA;
		ended->stream_data = &reply->data;
		return true;
	default:
		return call->op_case == PV__CALL_STARTED__OP_CLOSE_CAPTURE;
	}
}

/* Disks: all have the same 16 sectors; one called "stuck" does not let go. */
struct disk_reply {
	Pv__CountResult count;
	Pv__Payload payload;
};

static bool answer_disk(struct fake_driver *driver, const Pv__CallStarted *call, Pv__CallEnded *ended,
                        Pv__CallError *error, struct disk_reply *reply)
{
	uint8_t *sectors = driver->sectors;

	switch (call->op_case) {
	case PV__CALL_STARTED__OP_DETACH_DISK:
		if (strcmp(call->detach_disk->id, "stuck") == 0)
			set_error(ended, error, PV__ERROR_KIND__ERROR_KIND_FAILED, "the guest does not let go");
		return true;
	case PV__CALL_STARTED__OP_DISK_SIZE:
		pv__count_result__init(&reply->count);
		reply->count.has_count = 1;
		reply->count.count = sizeof(driver->sectors);
		ended->outcome_case = PV__CALL_ENDED__OUTCOME_COUNT;
		ended->count = &reply->count;
		return true;
	case PV__CALL_STARTED__OP_READ_SECTORS:
		pv__payload__init(&reply->payload);
		reply->payload.kind_case = PV__PAYLOAD__KIND_DATA;
		reply->payload.data.data = sectors + call->read_sectors->first * 512;
		reply->payload.data.len = call->read_sectors->count * 512;
		ended->outcome_case = PV__CALL_ENDED__OUTCOME_DATA;
		ended->data = &reply->payload;
		if (call->read_sectors->first + call->read_sectors->count > 16)
			set_error(ended, error, PV__ERROR_KIND__ERROR_KIND_FAILED, "past the end");
		return true;
	case PV__CALL_STARTED__OP_WRITE_SECTORS:
		memcpy(sectors + call->write_sectors->first * 512, call->write_sectors->content->data.data,
		       call->write_sectors->content->data.len);
		return true;
	default:
		return call->op_case == PV__CALL_STARTED__OP_ATTACH_DISK;
	}
}

static void arm(struct answer *answer, long ms);

static bool is_up(const struct fake_driver *driver, uint32_t vm)
{
	struct pv_vm_view view;

	return pv_state_vm(pv_engine_state(driver->f->engine), vm, &view) &&
	       (view.state == PV__VM_STATE__VM_STATE_BOOTED || view.state == PV__VM_STATE__VM_STATE_PAUSED);
}

/* Those that wait for an object may have their answer now; a call that a shutdown cut has it anyway. */
static void look_again(struct fake_driver *driver)
{
	struct answer *answer;

	TAILQ_FOREACH (answer, &driver->answers, link)
		if (answer->waits && !answer->cancelled) {
			answer->waits = false;
			event_free(answer->timer);
			arm(answer, 0);
		}
}

/* True if the call is one on an object; *pending if it has no answer yet. */
static bool answer_object(struct answer *answer, Pv__CallEnded *ended, struct fake_parts *parts, bool *pending)
{
	struct fake_driver *driver = answer->driver;
	uint64_t limit_ms = fake_objects_limit_ms(answer->call);
	enum fake_answer is = fake_objects_answer(&driver->objects, answer->call, answer->waits,
	                                          is_up(driver, answer->call->vm), &driver->content, ended, parts);

	*pending = is == FAKE_PENDING;
	if (is == FAKE_PENDING) {
		answer->waits = true;
		event_free(answer->timer);
		arm(answer, limit_ms > 0 ? (long)limit_ms : 3600000);
	}
	return is != FAKE_NOT_MINE;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct answer *answer = arg;
	struct fake_parts parts;
	bool pending = false;
	struct fake_driver *driver = answer->driver;
	const Pv__CallStarted *call = answer->call;
	Pv__CallEnded ended = PV__CALL_ENDED__INIT;
	Pv__CallError error = PV__CALL_ERROR__INIT;
	Pv__CallDone done = PV__CALL_DONE__INIT;
	Pv__BootResult boot = PV__BOOT_RESULT__INIT;
	Pv__SnapshotResult snapshot = PV__SNAPSHOT_RESULT__INIT;
	struct run_reply reply = { .text = { 0 } };
	struct net_reply network;
	struct disk_reply disk;
	Pv__Payload data;

	(void)fd;
	(void)what;
	ended.has_id = 1;
	ended.id = call->id;
	ended.outcome_case = PV__CALL_ENDED__OUTCOME_DONE;
	ended.done = &done;
	if (answer->cancelled) {
		set_error(&ended, &error, PV__ERROR_KIND__ERROR_KIND_CANCELED, "cancelled");
	} else if (answer_network(driver, call, &ended, &error, &network)) {
		/* that was all */
	} else if (answer_disk(driver, call, &ended, &error, &disk)) {
		/* that was all */
	} else if (answer_object(answer, &ended, &parts, &pending)) {
		if (pending)
			return;
	} else if (call->op_case == PV__CALL_STARTED__OP_RUN) {
		answer_run(call->run, &ended, &error, &reply);
	} else if (call->op_case == PV__CALL_STARTED__OP_READ_FILE) {
		answer_read(driver, call->read_file, &ended, &error, &data);
	} else if (call->op_case == PV__CALL_STARTED__OP_BOOT) {
		strncat(driver->objects.console, "booted\n",
		        sizeof(driver->objects.console) - strlen(driver->objects.console) - 1);
		ended.outcome_case = PV__CALL_ENDED__OUTCOME_BOOT;
		ended.boot = &boot;
		if (boot_fails(driver, call->vm))
			set_error(&ended, &error, PV__ERROR_KIND__ERROR_KIND_VM_DEAD, "the agent never answered");
	} else if (call->op_case == PV__CALL_STARTED__OP_SNAPSHOT) {
		answer_snapshot(driver, call, &ended, &error, &snapshot);
	} else if (call->op_case == PV__CALL_STARTED__OP_RESTORE) {
		answer_restore(driver, call, &ended, &error, &boot);
	} else if (call->op_case == PV__CALL_STARTED__OP_WRITE_FILE) {
		pv_buf_clear(&driver->content);
		pv_buf_add(&driver->content, call->write_file->content->data.data, call->write_file->content->data.len);
	}
	pv_engine_call_done(driver->f->engine, &ended);
	pv_buf_free(&reply.text);
	free_answer(answer);
	look_again(driver);
}

static void arm(struct answer *answer, long ms)
{
	struct timeval after = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };

	answer->timer = evtimer_new(answer->driver->f->base, on_timer, answer);
	evtimer_add(answer->timer, &after);
}

static void remember(struct fixture *f, const Pv__CallStarted *call)
{
	size_t len;
	uint8_t *bytes;

	if (call->op_case == PV__CALL_STARTED__OP_RUN) {
		if (f->last_run != NULL)
			pv__run_call__free_unpacked(f->last_run, NULL);
		len = pv__run_call__get_packed_size(call->run);
		bytes = pv_xmalloc(len);
		pv__run_call__pack(call->run, bytes);
		f->last_run = pv__run_call__unpack(NULL, len, bytes);
		free(bytes);
	} else if (call->op_case == PV__CALL_STARTED__OP_BOOT) {
		if (f->last_boot != NULL)
			pv__vm_spec__free_unpacked(f->last_boot, NULL);
		len = pv__vm_spec__get_packed_size(call->boot->spec);
		bytes = pv_xmalloc(len + 1);
		pv__vm_spec__pack(call->boot->spec, bytes);
		f->last_boot = pv__vm_spec__unpack(NULL, len, bytes);
		free(bytes);
	}
}

/* A VM "hanging..." hangs in a restore, and in a snapshot to a directory beside the run's. */
static bool hangs(const struct fake_driver *driver, const Pv__CallStarted *call)
{
	const struct pv_state *state = pv_engine_state(driver->f->engine);
	struct pv_vm_view vm;

	if (call->op_case == PV__CALL_STARTED__OP_FRAMES)
		return fake_frames_hang(state, call->frames, driver->f->run_dir);
	if (!pv_state_vm(state, call->vm, &vm) || strncmp(vm.name, "hanging", 7) != 0)
		return false;
	return call->op_case == PV__CALL_STARTED__OP_RESTORE ||
	       (call->op_case == PV__CALL_STARTED__OP_SNAPSHOT &&
	        strncmp((const char *)call->snapshot->path.data, driver->f->run_dir, strlen(driver->f->run_dir)) != 0);
}

static void start(void *self, const Pv__CallStarted *call)
{
	struct fake_driver *driver = self;
	struct answer *answer = PV_NEW(struct answer);
	char *word = call->op_case == PV__CALL_STARTED__OP_RUN ? last_word(call->run) : pv_xstrdup("");

	remember(driver->f, call);
	answer->driver = driver;
	answer->call = copy_call(call);
	TAILQ_INSERT_TAIL(&driver->answers, answer, link);
	if (hangs(driver, call))
		answer->timer = NULL;
	else if (strncmp(word, "sleep:", 6) == 0)
		arm(answer, atol(word + 6));
	else if (strcmp(word, "hang") != 0)
		arm(answer, 0);
	free(word);
}

static void cancel(void *self, uint64_t call)
{
	struct fake_driver *driver = self;
	struct answer *answer;

	driver->f->n_cancelled++;
	TAILQ_FOREACH (answer, &driver->answers, link)
		if (answer->call->id == call)
			break;
	if (answer == NULL)
		return;
	answer->cancelled = true;
	if (answer->timer != NULL)
		event_free(answer->timer);
	arm(answer, 0);
}

static void settle(void *self, uint64_t call)
{
	(void)self;
	(void)call;
}

static void console_tail(void *self, uint32_t vm, size_t max, struct pv_buf *out)
{
	(void)self;
	(void)vm;
	(void)max;
	(void)out;
}

static void destroy(void *self)
{
	struct fake_driver *driver = self;

	while (!TAILQ_EMPTY(&driver->answers))
		free_answer(TAILQ_FIRST(&driver->answers));
	pv_buf_free(&driver->content);
	free(driver);
}

struct fake_driver *fake_driver_install(struct fixture *f)
{
	static const struct pv_driver_ops ops = {
		.name = "fake",
		.start = start,
		.cancel = cancel,
		.settle = settle,
		.look = look,
		.console_tail = console_tail,
		.destroy = destroy,
	};
	struct fake_driver *driver = PV_NEW(struct fake_driver);

	driver->f = f;
	TAILQ_INIT(&driver->answers);
	pv_engine_set_driver(f->engine, &ops, driver);
	return driver;
}
