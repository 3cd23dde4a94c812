/* Frames that are under way on a bridge, in snapshots of labs: FramesCall.
 *
 * The state says whether time stands still on a bridge, and what was loaded there; a runner that resumes a run makes its switches so again. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/lab/driver_qemu_net_call.h"
#include "vmctl/hostfile.h"

/* Guests that run take what was handed to them in a moment, and some never do. */
#define UNREAD_WAITS   200u
#define UNREAD_WAIT_MS 1u

#define FILE_MAX ((size_t)128 << 20)

static const struct pv_state *state_of(const struct qemu_driver *driver)
{
	return pv_engine_state(driver->engine);
}

void qemu_bridge_hold(struct qemu_bridge *bridge, bool held)
{
	if (bridge->held == held)
		return;
	bridge->held = held;
	bridge->loaded = false;
	if (held)
		pv_bridge_freeze(bridge->bridge);
	else
		pv_bridge_thaw(bridge->bridge);
}

/* ---- outcomes ---- */

static void report_frames(struct qemu_net_call *call, size_t frames, size_t file_bytes)
{
	Pv__CallEnded ended = PV__CALL_ENDED__INIT;
	Pv__FramesResult result = PV__FRAMES_RESULT__INIT;

	result.has_frames = 1;
	result.frames = frames;
	result.has_file_bytes = file_bytes > 0;
	result.file_bytes = file_bytes;
	ended.outcome_case = PV__CALL_ENDED__OUTCOME_FRAMES;
	ended.frames = &result;
	qemu_net_report(call, &ended);
}

static char *copy_path(ProtobufCBinaryData path)
{
	return pv_xasprintf("%.*s", (int)path.len, (const char *)path.data);
}

/* ---- stopping ---- */

/* Bytes that were handed to guests which run, and that they have not read. */
static size_t unread(const struct qemu_driver *driver, uint32_t bridge)
{
	struct qemu_vm *vm, *next;
	size_t sum = 0;

	HASH_ITER (hh, driver->vms, vm, next) {
		const struct qemu_nic *nic = vm->net.paused ? NULL : qemu_nic_on(vm, bridge);

		if (nic != NULL && nic->port != NULL)
			sum += pv_port_unread(nic->port);
	}
	return sum;
}

static void freeze(struct qemu_net_call *call)
{
	struct qemu_bridge *bridge = qemu_bridge_find(call->driver, call->bridge);

	if (bridge == NULL) {
		report_frames(call, 0, 0);
		return;
	}
	qemu_bridge_hold(bridge, true);
	if (call->waited++ < UNREAD_WAITS && unread(call->driver, call->bridge) > 0)
		qemu_net_timer(call, UNREAD_WAIT_MS);
	else
		report_frames(call, pv_bridge_under_way(bridge->bridge), 0);
}

/* ---- saving ---- */

/* What a crash leaves of it is found by its checksum. */
static enum pv_err write_file(const char *path, const struct pv_buf *bytes, struct pv_errmsg *msg)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	enum pv_err err;

	if (fd < 0)
		return pv_err_sys(msg, pv_hostfile_err(errno), errno, "cannot make %s", path);
	err = pv_hostfile_write(fd, bytes->data, bytes->len, path, msg);
	if (close(fd) != 0 && err == PV_OK)
		err = pv_err_sys(msg, pv_hostfile_err(errno), errno, "cannot write %s", path);
	if (err != PV_OK)
		unlink(path);
	return err;
}

static void save(struct qemu_net_call *call)
{
	struct qemu_bridge *bridge = qemu_bridge_get(call->driver, call->bridge);
	const Pv__BridgeSettings *settings = pv_state_bridge_settings(state_of(call->driver), call->bridge);
	uint32_t *members = pv_xcalloc(call->frames->n_members + 1, sizeof(*members));
	char *path = copy_path(call->frames->path);
	struct pv_buf bytes = { 0 };
	struct pv_errmsg msg = { 0 };
	enum pv_err err = PV_OK;
	size_t n = 0, frames = 0;

	for (size_t i = 0; i < call->frames->n_members && settings != NULL; i++) {
		const Pv__Attachment *member = pv_bridge_member(settings, call->frames->members[i]);

		if (member != NULL)
			members[n++] = member->host;
	}
	if (bridge != NULL) {
		qemu_bridge_hold(bridge, true);
		frames = pv_bridge_save(bridge->bridge, members, n, &bytes);
		err = write_file(path, &bytes, &msg);
	} else {
		err = pv_err_set(&msg, PV_ERR_NOENT, "the bridge is gone");
	}
	if (err == PV_OK)
		report_frames(call, frames, bytes.len);
	else
		qemu_net_report_error(call, PV__ERROR_KIND__ERROR_KIND_FAILED, msg.text);
	pv_buf_free(&bytes);
	free(members);
	free(path);
}

/* ---- loading ---- */

static enum pv_err load_file(struct qemu_driver *driver, struct qemu_bridge *bridge, ProtobufCBinaryData at,
                             size_t *file_bytes, struct pv_errmsg *msg)
{
	char *path = copy_path(at);
	struct pv_buf bytes = { 0 };
	enum pv_err err = pv_hostfile_read(path, FILE_MAX, &bytes, msg);

	*file_bytes = bytes.len;
	if (err == PV_OK) {
		err = pv_bridge_load(bridge->bridge, bytes.data, bytes.len, msg);
		if (err != PV_OK)
			err = pv_err_wrap(msg, err, "%s", path);
	}
	if (err == PV_OK) {
		bridge->loaded = true;
		qemu_bridge_renew_rules(driver, bridge);
	}
	pv_buf_free(&bytes);
	free(path);
	return err;
}

static void load(struct qemu_net_call *call)
{
	struct qemu_bridge *bridge = qemu_bridge_get(call->driver, call->bridge);
	struct pv_errmsg msg = { 0 };
	size_t file_bytes;

	if (bridge == NULL) {
		qemu_net_report_error(call, PV__ERROR_KIND__ERROR_KIND_FAILED, "the bridge cannot be made");
		return;
	}
	qemu_bridge_hold(bridge, true);
	if (load_file(call->driver, bridge, call->frames->path, &file_bytes, &msg) == PV_OK) {
		report_frames(call, pv_bridge_under_way(bridge->bridge), file_bytes);
		return;
	}
	qemu_bridge_hold(bridge, false);
	qemu_net_report_error(call, PV__ERROR_KIND__ERROR_KIND_FAILED, msg.text);
}

/* ---- going on ---- */

/* What a runner that has died had loaded is loaded again: while time stands still it makes no difference when. */
static void load_again(struct qemu_driver *driver, struct qemu_bridge *bridge)
{
	struct pv_errmsg msg = { 0 };
	struct pv_hold_view hold;
	size_t file_bytes;

	if (bridge->loaded || !pv_state_hold(state_of(driver), bridge->id, &hold) || hold.loaded.len == 0)
		return;
	qemu_bridge_hold(bridge, true);
	if (load_file(driver, bridge, hold.loaded, &file_bytes, &msg) != PV_OK)
		pv_engine_notice(driver->engine, "frames that were under way are lost: %s", msg.text);
}

static size_t go_on(struct qemu_driver *driver, uint32_t id)
{
	struct qemu_bridge *bridge = qemu_bridge_find(driver, id);
	size_t frames;

	if (bridge == NULL)
		return 0;
	load_again(driver, bridge);
	frames = pv_bridge_under_way(bridge->bridge);
	qemu_bridge_hold(bridge, false);
	return frames;
}

/* ---- the calls ---- */

void qemu_frames_now(struct qemu_net_call *call)
{
	switch (call->frames->step) {
	case PV__FRAMES_STEP__FRAMES_STEP_FREEZE:
		freeze(call);
		break;
	case PV__FRAMES_STEP__FRAMES_STEP_SAVE:
		save(call);
		break;
	case PV__FRAMES_STEP__FRAMES_STEP_LOAD:
		load(call);
		break;
	default:
		report_frames(call, go_on(call->driver, call->bridge), 0);
		break;
	}
}

/* Nothing stays frozen. */
void qemu_frames_cancel(struct qemu_net_call *call)
{
	struct qemu_bridge *bridge = qemu_bridge_find(call->driver, call->bridge);

	if (call->frames->step == PV__FRAMES_STEP__FRAMES_STEP_THAW) {
		qemu_frames_now(call);
		return;
	}
	if (bridge != NULL && call->frames->step != PV__FRAMES_STEP__FRAMES_STEP_SAVE)
		qemu_bridge_hold(bridge, false);
	qemu_net_report_error(call, PV__ERROR_KIND__ERROR_KIND_CANCELED, "cancelled");
}
