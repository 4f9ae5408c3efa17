/* The test image: see variant.h. crash_run() is in kernel/crash.c. */
#include "kernel/variant.h"

const bool pool_checks = true;
const u32 tcp_msl_ms = 5000;
