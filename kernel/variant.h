/*
 * The only differences between the release and the test image (interface.md):
 * kernel/variant_release.c or kernel/variant_test.c is linked, all other objects are the same.
 */
#ifndef KERNEL_VARIANT_H
#define KERNEL_VARIANT_H

#include "kernel/lib/types.h"

extern const char barewire_version[];

/* Freed objects are poisoned and checked. */
extern const bool pool_checks;
/* TCP's maximum segment lifetime in milliseconds (RFC 9293, 3.4.2; lwIP's TCP_MSL). */
extern const u32 tcp_msl_ms;

/* The fault that `crash=` named, test images only. Task, once, after the drivers are up. */
void crash_run(void);

#endif
