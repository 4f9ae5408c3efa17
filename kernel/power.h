/* How the machine ends (interface.md, "Serial log"). */
#ifndef KERNEL_POWER_H
#define KERNEL_POWER_H

#include "kernel/lib/types.h"

/* Value of an orderly power-off on isa-debug-exit: QEMU ends with 33. */
#define DEBUG_EXIT_POWEROFF 0x10

/* Writes value to isa-debug-exit. Comes back if there is no such device. Any context. */
void machine_debug_exit(u8 value);

/*
 * Asks for an orderly power-off: cpu_idle() does it when it is next there. Any context.
 */
void orderly_poweroff(void);
bool poweroff_requested(void);

/* Debug port, then ACPI; halts if neither ends the machine. Task context. */
void __noreturn machine_power_off(void);
/* ACPI reset register, 0xcf9, keyboard controller, triple fault. Any context. */
void __noreturn machine_restart(void);

#endif
