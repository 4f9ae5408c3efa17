/* ACPI's power button and sleep registers. Task context. */
#ifndef KERNEL_X86_REBOOT_H
#define KERNEL_X86_REBOOT_H

/*
 * Calls pressed() in hard IRQ context when the button is pressed. Without ACPI: logged, nothing
 * happens.
 */
void acpi_power_button_init(void (*pressed)(void));

#endif
