/* The release image: see variant.h. */
#include "kernel/variant.h"

const bool pool_checks = false;
const u32 tcp_msl_ms = 60000;

void crash_run(void)
{
}
