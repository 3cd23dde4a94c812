/* Names of VMs, bridges and labs: what they may look like, and when one is taken. */
#include <string.h>

#include "engine/core/state_internal.h"

const char *pv_kind_name(Pv__MemberKind kind)
{
	switch (kind) {
	case PV__MEMBER_KIND__MEMBER_KIND_VM:
		return "VM";
	case PV__MEMBER_KIND__MEMBER_KIND_BRIDGE:
		return "bridge";
	case PV__MEMBER_KIND__MEMBER_KIND_LAB:
		return "lab";
	default:
		return "resource";
	}
}

bool pv_name_is_reserved(const char *name)
{
	static const char *const reserved[] = { "pack", "unpack", "vm_fixture", "lab_fixture" };

	for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++) {
		if (strcmp(name, reserved[i]) == 0)
			return true;
	}
	return false;
}

/* ASCII only, whatever the locale. '#' is for the second restore of a fixture: "base#2". */
static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static bool is_well_formed(const char *name)
{
	size_t len = strlen(name);

	if (len > PV_NAME_MAX || !is_alnum(name[0]))
		return false;
	for (size_t i = 1; i < len; i++) {
		if (!is_alnum(name[i]) && strchr("-.#", name[i]) == NULL)
			return false;
	}
	return true;
}

enum pv_err pv_name_check(Pv__MemberKind kind, const char *name, struct pv_errmsg *msg)
{
	const char *what = pv_kind_name(kind);

	if (name == NULL || name[0] == '\0')
		return pv_err_set(msg, PV_ERR_INVAL, "the name of a %s must not be empty", what);
	if (pv_name_is_reserved(name))
		return pv_err_set(msg, PV_ERR_INVAL,
		                  "\"%s\" is reserved for the method of that name: no %s may be called so", name, what);
	if (!is_well_formed(name))
		return pv_err_set(
		    msg, PV_ERR_INVAL,
		    "bad %s name \"%.100s\": a name has letters, digits, '_', '-', '.' and '#', begins with a "
		    "letter, a digit or '_', and is at most %d bytes long",
		    what, name, PV_NAME_MAX);
	return PV_OK;
}

const char *pv_duplicate_word(Pv__MemberKind kind)
{
	switch (kind) {
	case PV__MEMBER_KIND__MEMBER_KIND_VM:
		return "DuplicateVmName";
	case PV__MEMBER_KIND__MEMBER_KIND_BRIDGE:
		return "DuplicateBridgeName";
	default:
		return "DuplicateLabName";
	}
}

enum pv_err pv_name_is_free(const struct pv_state *state, const struct pv_lab *lab, Pv__MemberKind kind,
                            const char *name, struct pv_errmsg *msg)
{
	const char *what = pv_kind_name(kind);

	if (pv_member_find(state, lab, kind, name) != NULL)
		return pv_err_set(msg, PV_ERR_EXISTS, "%s: the lab \"%s\" has a %s \"%s\" already; pick another name",
		                  pv_duplicate_word(kind), lab->res.name, what, name);
	if (lab->kind == PV__LAB_KIND__LAB_KIND_TEST && pv_member_find(state, lab->res.home, kind, name) != NULL)
		return pv_err_set(
		    msg, PV_ERR_EXISTS,
		    "%s \"%s\" is already declared at parent scope, in the lab \"%s\": look that one up by its "
		    "name, or pick another name for the one of this test",
		    what, name, lab->res.home->res.name);
	return PV_OK;
}

bool pv_name_is_anonymous(const char *name, uint32_t *n)
{
	static const char prefix[] = "__lab_";
	const char *digits = name + sizeof(prefix) - 1;
	uint64_t value = 0;
	size_t len;

	if (strncmp(name, prefix, sizeof(prefix) - 1) != 0)
		return false;
	len = strspn(digits, "0123456789");
	if (len == 0 || len > 10 || digits[len] != '\0' || (digits[0] == '0' && len > 1))
		return false;
	for (size_t i = 0; i < len; i++)
		value = 10 * value + (uint64_t)(digits[i] - '0');
	if (value >= UINT32_MAX)
		return false;
	*n = (uint32_t)value;
	return true;
}
