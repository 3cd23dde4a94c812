/* To what events belong: every field of an event that names a file, VM, bridge, task or call by its id is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "engine/core/subjects.h"
#include "proto/mem.h"

static char told[256];

static const char *subjects_of(const Pv__Event *event)
{
	static const char letters[] = "?fvbt";
	struct pv_subjects subjects = { .items = NULL };
	struct pv_buf text = { .data = NULL };

	pv_event_subjects(event, &subjects);
	for (size_t i = 0; i < subjects.n; i++)
		pv_buf_addf(&text, "%c%u ", letters[subjects.items[i].kind], subjects.items[i].id);
	if (subjects.call)
		pv_buf_addf(&text, "%s%llu ", subjects.is_outcome ? "outcome" : "intent",
		            (unsigned long long)subjects.call);
	snprintf(told, sizeof(told), "%s", pv_buf_str(&text));
	pv_buf_free(&text);
	pv_subjects_free(&subjects);
	return told;
}

#define EXPECT(body, message, init, wanted, ...)                                                                       \
	do {                                                                                                           \
		Pv__Event event = PV__EVENT__INIT;                                                                     \
		Pv__##message m = init;                                                                                \
		__VA_ARGS__;                                                                                           \
		event.body_case = PV__EVENT__BODY_##body;                                                              \
		event.file = 3;                                                                                        \
		event.task = 9;                                                                                        \
		event.run_started = (Pv__RunStarted *)(void *)&m; /* a union: any body */                              \
		assert_string_equal(subjects_of(&event), "f3 t9 " wanted);                                             \
	} while (0)

static void test_subjects__of_each_body(void **state)
{
	Pv__Member members[] = { PV__MEMBER__INIT, PV__MEMBER__INIT, PV__MEMBER__INIT };
	Pv__Member *all[] = { &members[0], &members[1], &members[2] };

	(void)state;
	members[0].kind = PV__MEMBER_KIND__MEMBER_KIND_VM;
	members[0].id = 5;
	members[1].kind = PV__MEMBER_KIND__MEMBER_KIND_BRIDGE;
	members[1].id = 6;
	members[2].kind = PV__MEMBER_KIND__MEMBER_KIND_LAB;
	members[2].id = 7;
	EXPECT(NOTICE, Notice, PV__NOTICE__INIT, "");
	EXPECT(FILE_DISCOVERED, FileDiscovered, PV__FILE_DISCOVERED__INIT, "f4 ", m.id = 4);
	EXPECT(FILE_DISPATCHED, FileDispatched, PV__FILE_DISPATCHED__INIT, "f4 ", m.id = 4);
	EXPECT(FILE_COMPLETED, FileCompleted, PV__FILE_COMPLETED__INIT, "f4 ", m.id = 4);
	EXPECT(FILE_BLOCKED, FileBlocked, PV__FILE_BLOCKED__INIT, "f4 ", m.id = 4);
	EXPECT(FILE_RESTARTED, FileRestarted, PV__FILE_RESTARTED__INIT, "f4 ", m.id = 4);
	EXPECT(FILE_INTERRUPTED, FileInterrupted, PV__FILE_INTERRUPTED__INIT, "f4 ", m.id = 4);
	EXPECT(TASK_STARTED, TaskStarted, PV__TASK_STARTED__INIT, "t4 ", m.id = 4);
	EXPECT(TASK_ENDED, TaskEnded, PV__TASK_ENDED__INIT, "t4 ", m.id = 4);
	EXPECT(VM_DECLARED, VmDeclared, PV__VM_DECLARED__INIT, "v4 ", m.id = 4);
	EXPECT(BRIDGE_DECLARED, BridgeDeclared, PV__BRIDGE_DECLARED__INIT, "b4 ", m.id = 4);
	EXPECT(MEMBERS_INCLUDED, MembersIncluded, PV__MEMBERS_INCLUDED__INIT, "v5 b6 ", m.n_members = 3;
	       m.members = all);
	EXPECT(MEMBER_REMOVED, MemberRemoved, PV__MEMBER_REMOVED__INIT, "b6 ", m.member = &members[1]);
	EXPECT(MEMBER_REMOVED, MemberRemoved, PV__MEMBER_REMOVED__INIT, "");
	EXPECT(BARRIER_ARRIVED, BarrierArrived, PV__BARRIER_ARRIVED__INIT, "t4 ", m.task = 4);
	EXPECT(BARRIER_WITHDRAWN, BarrierWithdrawn, PV__BARRIER_WITHDRAWN__INIT, "t4 ", m.task = 4);
	EXPECT(VM_CHANGED, VmChanged, PV__VM_CHANGED__INIT, "v4 ", m.vm = 4);
	EXPECT(ADMISSION_REFUSED, AdmissionRefused, PV__ADMISSION_REFUSED__INIT, "v4 ", m.vm = 4);
	EXPECT(ADMISSION_REFUSED, AdmissionRefused, PV__ADMISSION_REFUSED__INIT, "");
	EXPECT(CALL_STARTED, CallStarted, PV__CALL_STARTED__INIT, "v4 intent77 ", m.vm = 4; m.id = 77);
	EXPECT(CALL_ENDED, CallEnded, PV__CALL_ENDED__INIT, "outcome77 ", m.id = 77);
}

static void test_subjects__of_the_run(void **state)
{
	Pv__Event event = PV__EVENT__INIT;
	Pv__RunEnded body = PV__RUN_ENDED__INIT;

	(void)state;
	event.body_case = PV__EVENT__BODY_RUN_ENDED;
	event.run_ended = &body;
	assert_string_equal(subjects_of(&event), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_subjects__of_each_body),
		cmocka_unit_test(test_subjects__of_the_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
