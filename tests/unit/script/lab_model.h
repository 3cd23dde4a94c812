/* A small model of the lab graph of one file, for the property test: written from the reference, not from engine/core. Objects are
 * numbered as they are made; labs are objects too. Each operation gives what the engine must answer. */
#ifndef PV_TESTS_LAB_MODEL_H
#define PV_TESTS_LAB_MODEL_H

#include <stdbool.h>
#include <stddef.h>

enum kind { VM, BRIDGE, LAB, KINDS };

#define MODEL_MAX  6000
#define MEMBER_MAX 400
#define NO_OBJECT  (-1)

struct object {
	enum kind kind;
	char name[24];
	bool alive;
	int home;   /* the lab it closes with when no lab holds it */
	int parent; /* of the scope of a test: the root; else NO_OBJECT */
	bool is_scope;
	int members[KINDS][MEMBER_MAX];
	int n_members[KINDS];
};

struct model {
	struct object *objects;
	int n;
	int scope; /* what `provium` is now */
	int next_anonymous;
};

/* The answer: NULL, then `object` is what comes back (NO_OBJECT: nothing); or words that the error holds. */
struct answer {
	const char *error;
	int object;
};

void model_init(struct model *model); /* with the root lab, object 0 */
void model_free(struct model *model);
void model_open_scope(struct model *model);
void model_close_scope(struct model *model);

struct answer model_find_vm(struct model *model, int lab, const char *name);
struct answer model_make_vm(struct model *model, int lab, const char *name, bool known_profile);
struct answer model_bridge(struct model *model, int lab, const char *name);
struct answer model_make_lab(struct model *model, int lab, const char *name); /* NULL: unnamed */
struct answer model_include(struct model *model, int lab, const int *objects, int n);
struct answer model_remove_name(struct model *model, int lab, const char *name);
struct answer model_remove(struct model *model, int lab, int object);
struct answer model_dot(struct model *model, int lab, const char *name);

#endif
