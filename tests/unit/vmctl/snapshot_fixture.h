/* Snapshots without QEMU: a child process plays the guest, whose memory is a mapping with a known content. */
#ifndef PV_TEST_SNAPSHOT_FIXTURE_H
#define PV_TEST_SNAPSHOT_FIXTURE_H

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include <stdbool.h>
#include <sys/types.h>

#include "proto/mem.h"
#include "vmctl/snapshot.h"

#define PAGE 4096u
#define MIB  (UINT64_C(1) << 20)

#define OK(call)                                                                                                       \
	do {                                                                                                           \
		struct pv_errmsg *ok_msg = &msg;                                                                       \
		ok_msg->text[0] = '\0';                                                                                \
		if ((call) != PV_OK)                                                                                   \
			fail_msg("%s: %s", #call, ok_msg->text);                                                       \
	} while (0)

struct place {
	char dir[256];
	char path[300]; /* of a snapshot in it */
};

int place_setup(void **state);
int place_teardown(void **state);                        /* fails if temporary files are left */
unsigned place_count(const char *dir, const char *part); /* names there that contain it */

/* Content of page `page` in generation `generation`: never zeros. */
void pattern(uint8_t out[PAGE], uint64_t page, unsigned generation);
bool is_pattern(const uint8_t *data, uint64_t page, unsigned generation);
bool is_zeros(const uint8_t *data, size_t len);

struct guest {
	pid_t pid;
	struct pv_snapshot_memory memory;
};

/* Forks a process that maps `size` bytes (`base` < 0: anonymous, else privately, or shared, the file from 0 on), calls `fill` on them and waits to be
 * killed. */
typedef void fill_fn(uint8_t *memory, const void *arg);
void guest_start(struct guest *guest, uint64_t size, int base, bool shared, fill_fn *fill, const void *arg);
void guest_stop(struct guest *guest);

/* A shape and a manifest to save; static. */
Pvs__Manifest *sample_manifest(void);
struct pv_snapshot_parts sample_parts(const struct guest *guest);

/* A snapshot at place->path of a guest that wrote pages `first`, `first` + `step` ... up to `size`. */
void make_snapshot(const struct place *place, const char *path, uint64_t size, uint64_t step, unsigned generation);

extern struct pv_errmsg msg;

#endif
