/* The parts of the program test_lwip: each a table of tests on the one stack of lwip_fixture.h. */
#ifndef TESTS_UNIT_TEST_LWIP_H
#define TESTS_UNIT_TEST_LWIP_H

#include "tests/unit/lwip_fixture.h"
#include "tests/unit/test.h"

int run_glue_tests(void);
int run_timer_tests(void);
int run_patch_tests(void);
int run_gro_tests(void);
int run_ipconfig_tests(void);
int run_conn_tests(void);
int run_sleep_tests(void);

#define FX_TEST(t) cmocka_unit_test_setup_teardown(t, fx_begin, fx_end)

#endif
