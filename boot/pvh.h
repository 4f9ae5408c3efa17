/* Between boot/pvh.asm and boot/pvh.c. */
#ifndef BOOT_PVH_H
#define BOOT_PVH_H

struct boot_info;

/*
 * start_info: physical address of struct hvm_start_info, as the hypervisor left it in ebx. Never
 * NULL.
 */
struct boot_info *pvh_boot_info(const void *start_info);

#endif
