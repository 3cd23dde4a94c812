/* The keeper of a run: who pauses its VMs when this process is killed. */
#include "engine/lab/driver_qemu_internal.h"
#include "vmctl/keeper.h"

static void on_notice(void *arg, const char *line)
{
	struct qemu_driver *driver = arg;

	pv_engine_notice(driver->engine, "%s", line);
}

static struct pv_keeper_config config_of(struct qemu_driver *driver)
{
	return (struct pv_keeper_config){
		.program = driver->keeper_program,
		.run_dir = driver->run_dir,
		.socket_dir = driver->socket_dir,
		.orphan_ms = driver->orphan_ms,
		.notice = on_notice,
		.arg = driver,
	};
}

struct pv_keeper *qemu_keeper(struct qemu_driver *driver)
{
	struct pv_keeper_config config;
	struct pv_errmsg msg = { 0 };

	if (driver->keeper != NULL || driver->keeper_tried || driver->keeper_program == NULL)
		return driver->keeper;
	driver->keeper_tried = true;
	config = config_of(driver);
	if (pv_keeper_start(pv_engine_base(driver->engine), &config, &driver->keeper, &msg) != PV_OK)
		pv_engine_notice(driver->engine,
		                 "%s: if this runner is killed by force, its VMs run on until they are ended by hand",
		                 msg.text);
	return driver->keeper;
}

enum pv_err qemu_adopt_keeper(struct qemu_driver *driver, struct pv_errmsg *msg)
{
	struct pv_keeper_config config;
	enum pv_err err;

	if (driver->keeper != NULL || driver->keeper_program == NULL)
		return PV_OK;
	config = config_of(driver);
	err = pv_keeper_adopt(pv_engine_base(driver->engine), &config, &driver->keeper, msg);
	return err == PV_ERR_NOENT ? PV_OK : err;
}
