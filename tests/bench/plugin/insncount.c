/*
 * QEMU TCG plugin: counts executed guest instructions into a mapped file.
 *
 *   -plugin insncount.so,out=FILE[,mmio=on]
 *
 * The file is an array of 64-bit counters, in the order of the enum below (tests/bench/vm.py:
 * COUNTERS). Counts are added when a translation block starts, so one that an exception leaves
 * early is counted whole. For one CPU: the inline add is not atomic.
 */
#include <string.h>

#include "decode.h"

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

enum counter {
	C_INSNS, /* each iteration of a REP instruction is one: so TCG runs them */
	C_REP,   /* of those, iterations after the first */
	C_HLT,
	C_PIO,
	C_WRMSR,
	C_IRET,
	C_MMIO, /* accesses that reached a device; with mmio=on, a callback for each one */
	C_BLOCKS,
	C_RDMSR,
	C_CPUID,
	NR_COUNTERS
};

static const int counter_of[] = {
	[INSN_PLAIN] = -1,      [INSN_HLT] = C_HLT,   [INSN_PIO] = C_PIO,
	[INSN_WRMSR] = C_WRMSR, [INSN_IRET] = C_IRET, [INSN_RDMSR] = C_RDMSR,
	[INSN_CPUID] = C_CPUID,
};

static uint64_t *counters;
static bool count_mmio;

static void memory_access(unsigned int cpu, qemu_plugin_meminfo_t info, uint64_t vaddr, void *data)
{
	struct qemu_plugin_hwaddr *hw = qemu_plugin_get_hwaddr(info, vaddr);

	(void)cpu;
	(void)data;
	if (hw && qemu_plugin_hwaddr_is_io(hw))
		counters[C_MMIO]++;
}

static void translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	size_t n = qemu_plugin_tb_n_insns(tb);
	uint64_t add[NR_COUNTERS] = { [C_INSNS] = n, [C_BLOCKS] = 1 };

	(void)id;
	for (size_t i = 0; i < n; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		bool rep;
		int c = counter_of[decode(insn, &rep)];

		if (c >= 0)
			add[c]++;
		/* TCG comes back to a REP instruction in a block that begins with it. */
		if (rep && i == 0)
			add[C_REP]++;
		if (count_mmio)
			qemu_plugin_register_vcpu_mem_cb(insn, memory_access,
							 QEMU_PLUGIN_CB_NO_REGS, QEMU_PLUGIN_MEM_RW,
							 NULL);
	}
	for (int c = 0; c < NR_COUNTERS; c++)
		if (add[c])
			qemu_plugin_register_vcpu_tb_exec_inline(tb, QEMU_PLUGIN_INLINE_ADD_U64,
								 &counters[c], add[c]);
}

QEMU_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc,
					   char **argv)
{
	const char *file = NULL;

	(void)info;
	for (int i = 0; i < argc; i++) {
		if (!strncmp(argv[i], "out=", 4)) {
			file = argv[i] + 4;
		} else if (!strcmp(argv[i], "mmio=on")) {
			count_mmio = true;
		} else {
			fprintf(stderr, "insncount: what is %s?\n", argv[i]);
			return -1;
		}
	}
	if (!file) {
		fprintf(stderr, "insncount: out= is needed\n");
		return -1;
	}
	counters = map_counters(file, NR_COUNTERS);
	if (!counters)
		return -1;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
	return 0;
}
