/*
 * What the firmware's loader knows and the kernel needs: the only thing handed over at entry.
 * boot/pvh.c and boot/efi/main.c fill one; the kernel copies what it keeps, since the firmware's
 * memory becomes free memory in mm_init().
 */
#ifndef BOOT_BOOT_H
#define BOOT_BOOT_H

#include <stdint.h>

#define BOOT_MAX_RANGES 128
#define BOOT_CMDLINE_SIZE 2048
#define BOOT_INFO_MAGIC 0x6572697765726162ull /* "barewire", little endian */

/* Free memory; all else is left alone. */
struct boot_range {
	uint64_t start; /* physical, bytes, inclusive; need not be page aligned */
	uint64_t end;   /* exclusive */
	/*
	 * The firmware's page tables or the loader's data may lie here: free once the kernel has
	 * its own.
	 */
	uint64_t reclaim;
};

struct boot_info {
	uint64_t magic;
	char origin[8]; /* "uefi" or "pvh" */
	uint64_t rsdp;  /* physical address of ACPI's RSDP; 0: look for it below 1 MiB */
	uint32_t nr_ranges;
	uint32_t dropped_ranges; /* free ranges that did not fit into the array */
	struct boot_range range[BOOT_MAX_RANGES];
	char cmdline[BOOT_CMDLINE_SIZE]; /* terminated; ASCII */
	uint8_t cmdline_cut;             /* the firmware's was longer */
	char note[128];                  /* something the loader wants logged, or "" */
};

#endif
