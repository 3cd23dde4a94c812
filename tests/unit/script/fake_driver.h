/* The driver of script_fixture.h. */
#ifndef PV_TESTS_SCRIPT_FAKE_DRIVER_H
#define PV_TESTS_SCRIPT_FAKE_DRIVER_H

struct fixture;
struct fake_driver;

/* Hands itself to the fixture's engine, which frees it. */
struct fake_driver *fake_driver_install(struct fixture *f);

#endif
