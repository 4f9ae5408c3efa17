/*
 * PCI configuration space (PCI Local Bus 3.0, chapter 6; PCI-to-PCI Bridge 1.2, 3.2; PCI Express
 * Base, 7.8). Offsets are plain; fields are masks. Width and access stand beside each register.
 */
#ifndef DRIVERS_PCI_PCI_REGS_H
#define DRIVERS_PCI_PCI_REGS_H

/* All functions (6.1). */
#define PCI_VENDOR_ID 0x00 /* 16, RO; 0xffff: no function here */
#define PCI_DEVICE_ID 0x02 /* 16, RO */
#define PCI_COMMAND 0x04   /* 16, RW (6.2.2) */
#define PCI_COMMAND_IO 0x001
#define PCI_COMMAND_MEMORY 0x002
#define PCI_COMMAND_DECODE 0x003 /* both: answer to the BARs at all */
#define PCI_COMMAND_MASTER 0x004
#define PCI_COMMAND_INTX_DISABLE 0x400
#define PCI_STATUS 0x06 /* 16, RO and W1C (6.2.3) */
#define PCI_STATUS_CAP_LIST 0x10
#define PCI_REVISION_ID 0x08 /* 8, RO; class code in the 24 bits above */
#define PCI_HEADER_TYPE 0x0e /* 8, RO */
#define PCI_HEADER_TYPE_MASK 0x7f
#define PCI_HEADER_TYPE_NORMAL 0
#define PCI_HEADER_TYPE_BRIDGE 1
#define PCI_HEADER_TYPE_MFD 0x80
#define PCI_CAPABILITY_LIST 0x34 /* 8, RO (6.7) */
#define PCI_INTERRUPT_LINE 0x3c  /* 8, RW: what the firmware left */
#define PCI_INTERRUPT_PIN 0x3d   /* 8, RO: 1 = INTA#, 0 = none */

/* Base address registers (6.2.5.1): 32, RW. Type 0 has 6 of them, a bridge 2. */
#define PCI_BASE_ADDRESS_0 0x10
#define PCI_BASE_ADDRESS_SPACE_IO 0x01
#define PCI_BASE_ADDRESS_IO_MASK 0xfffffffcu
#define PCI_BASE_ADDRESS_MEM_TYPE_MASK 0x06
#define PCI_BASE_ADDRESS_MEM_TYPE_64 0x04
#define PCI_BASE_ADDRESS_MEM_PREFETCH 0x08
#define PCI_BASE_ADDRESS_MEM_MASK 0xfffffff0u

/* Type 0 only. */
#define PCI_SUBSYSTEM_ID 0x2e /* 16, RO */

/* Type 1 only (bridges, 3.2.5). */
#define PCI_PRIMARY_BUS 0x18 /* 4 x 8, RW: primary, secondary, subordinate, latency timer */
#define PCI_IO_BASE 0x1c     /* 8, RW: address bits 15:12 in 7:4 */
#define PCI_IO_LIMIT 0x1d    /* 8, RW */
#define PCI_IO_RANGE_TYPE_32 0x01
#define PCI_MEMORY_BASE 0x20 /* 16, RW: address bits 31:20 in 15:4 */
#define PCI_MEMORY_LIMIT 0x22
#define PCI_PREF_MEMORY_BASE 0x24
#define PCI_PREF_MEMORY_LIMIT 0x26
#define PCI_PREF_RANGE_TYPE_64 0x01
#define PCI_PREF_BASE_UPPER32 0x28
#define PCI_PREF_LIMIT_UPPER32 0x2c
#define PCI_IO_BASE_UPPER16 0x30
#define PCI_IO_LIMIT_UPPER16 0x32

/* Class codes (appendix D): base class and subclass. */
#define PCI_CLASS_BRIDGE_HOST 0x0600
#define PCI_CLASS_BRIDGE_PCI 0x0604

/* Capabilities (6.7): 8-bit id, 8-bit pointer to the next. */
#define PCI_CAP_LIST_NEXT 1
#define PCI_CAP_ID_VNDR 0x09
#define PCI_CAP_ID_EXP 0x10
#define PCI_CAP_ID_MSIX 0x11
#define PCI_STD_HEADER_SIZEOF 0x40 /* no capability lies below */

/* PCI Express (PCIe Base 5.0, 7.5.3.2). */
#define PCI_EXP_FLAGS 2 /* 16, RO */
#define PCI_EXP_FLAGS_TYPE 0x00f0
#define PCI_EXP_TYPE_ROOT_PORT 0x4
#define PCI_EXP_TYPE_DOWNSTREAM 0x6

/* MSI-X (6.8.2). */
#define PCI_MSIX_FLAGS 2            /* 16, RW */
#define PCI_MSIX_FLAGS_QSIZE 0x07ff /* entries - 1 */
#define PCI_MSIX_FLAGS_MASKALL 0x4000
#define PCI_MSIX_FLAGS_ENABLE 0x8000
#define PCI_MSIX_TABLE 4 /* 32, RO: offset, and in the low bits which BAR */
#define PCI_MSIX_PBA 8   /* 32, RO: likewise */
#define PCI_MSIX_BIR 0x00000007u
#define PCI_MSIX_OFFSET 0xfffffff8u
/* One entry of the table (6.8.2.6-9): 32-bit registers. */
#define PCI_MSIX_ENTRY_SIZE 16
#define PCI_MSIX_ENTRY_LOWER_ADDR 0x0
#define PCI_MSIX_ENTRY_UPPER_ADDR 0x4
#define PCI_MSIX_ENTRY_DATA 0x8
#define PCI_MSIX_ENTRY_VECTOR_CTRL 0xc
#define PCI_MSIX_ENTRY_CTRL_MASKBIT 0x00000001u

#endif
