#include "tests/unit/test_lwip.h"

int main(void)
{
	int failed = 0;

	if (fx_start(NULL))
		return 1;
	failed += run_glue_tests();
	failed += run_timer_tests();
	failed += run_patch_tests();
	failed += run_gro_tests();
	failed += run_conn_tests();
	failed += run_sleep_tests();
	failed += run_ipconfig_tests(); /* last: it changes the address */
	return failed;
}
