/*
 * What the plugins share: telling x86 instructions apart by their first bytes, and counters in a
 * file that another process may read at any moment.
 */
#ifndef TESTS_BENCH_PLUGIN_DECODE_H
#define TESTS_BENCH_PLUGIN_DECODE_H

#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include <qemu-plugin.h>

#if QEMU_PLUGIN_VERSION != 1
#error "this QEMU's plugin interface is another one: the plugins are for version 1 (QEMU 6.0 to 8.2)"
#endif

enum insn_kind { INSN_PLAIN, INSN_HLT, INSN_PIO, INSN_WRMSR, INSN_IRET, INSN_RDMSR, INSN_CPUID };

static inline bool is_prefix(uint8_t b)
{
	return b == 0x66 || b == 0x67 || b == 0xf0 || b == 0x2e || b == 0x36 || b == 0x3e ||
	       b == 0x26 || b == 0x64 || b == 0x65 || b == 0xf2 || b == 0xf3;
}

/* rep: a string instruction that repeats itself. */
static inline enum insn_kind decode(const struct qemu_plugin_insn *insn, bool *rep)
{
	const uint8_t *p = qemu_plugin_insn_data(insn);
	size_t n = qemu_plugin_insn_size(insn), i = 0;
	bool repeats = false;

	for (; i < n && is_prefix(p[i]); i++)
		repeats |= p[i] == 0xf2 || p[i] == 0xf3;
	if (i < n && (p[i] & 0xf0) == 0x40) /* REX: the guests are 64-bit ones */
		i++;
	*rep = false;
	if (i >= n)
		return INSN_PLAIN;
	switch (p[i]) {
	case 0xa4 ... 0xa7: /* MOVS, CMPS */
	case 0xaa ... 0xaf: /* STOS, LODS, SCAS */
		*rep = repeats;
		return INSN_PLAIN;
	case 0x6c ... 0x6f: /* INS, OUTS */
		*rep = repeats;
		return INSN_PIO;
	case 0xe4 ... 0xe7: /* IN, OUT */
	case 0xec ... 0xef:
		return INSN_PIO;
	case 0xf4:
		return INSN_HLT;
	case 0xcf:
		return INSN_IRET;
	case 0x0f:
		if (i + 1 < n && p[i + 1] == 0x30)
			return INSN_WRMSR;
		if (i + 1 < n && p[i + 1] == 0x32)
			return INSN_RDMSR;
		if (i + 1 < n && p[i + 1] == 0xa2)
			return INSN_CPUID;
	}
	return INSN_PLAIN;
}

/* n counters of 64 bits at the start of a new file; NULL with a message. */
static inline uint64_t *map_counters(const char *file, size_t n)
{
	int fd = open(file, O_RDWR | O_CREAT | O_TRUNC, 0600);
	void *map;

	if (fd < 0 || ftruncate(fd, (off_t)(n * sizeof(uint64_t))) < 0) {
		perror(file);
		return NULL;
	}
	map = mmap(NULL, n * sizeof(uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (map == MAP_FAILED) {
		perror(file);
		return NULL;
	}
	return map;
}

#endif
