#include "engine/run/toml.h"

#include "engine/run/toml_shim.h"

enum pv_err pv_toml_parse(const char *text, size_t len, const char *name, struct json_object **out,
                          struct pv_errmsg *msg)
{
	struct pv_toml_fault fault;

	*out = pv_toml_shim_parse(text, len, &fault);
	if (*out)
		return PV_OK;
	if (fault.line)
		return pv_err_set(msg, PV_ERR_INVAL, "%s:%u: %s", name, fault.line, fault.reason);
	return pv_err_set(msg, PV_ERR_INTERNAL, "%s: %s", name, fault.reason);
}
