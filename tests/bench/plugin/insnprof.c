/*
 * QEMU TCG plugin: counts executed guest instructions by their address, into a mapped file.
 *
 *   -plugin insnprof.so,out=FILE,base=ADDR,end=ADDR
 *
 * Counter n is for the instruction at base + n; the one behind the last is for all the others
 * (firmware). A REP instruction is one, as in insncount's insns - rep. tests/bench/profile.py reads
 * the file.
 */
#include <stdlib.h>
#include <string.h>

#include "decode.h"

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

static uint64_t *counters;
static uint64_t base, end;

static void translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	size_t n = qemu_plugin_tb_n_insns(tb);

	(void)id;
	for (size_t i = 0; i < n; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		uint64_t at = qemu_plugin_insn_vaddr(insn);
		bool rep;

		decode(insn, &rep);
		if (rep && i == 0)
			continue;
		at = at >= base && at < end ? at - base : end - base;
		qemu_plugin_register_vcpu_insn_exec_inline(insn, QEMU_PLUGIN_INLINE_ADD_U64,
							   &counters[at], 1);
	}
}

QEMU_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc,
					   char **argv)
{
	const char *file = NULL;

	(void)info;
	for (int i = 0; i < argc; i++) {
		if (!strncmp(argv[i], "out=", 4)) {
			file = argv[i] + 4;
		} else if (!strncmp(argv[i], "base=", 5)) {
			base = strtoull(argv[i] + 5, NULL, 0);
		} else if (!strncmp(argv[i], "end=", 4)) {
			end = strtoull(argv[i] + 4, NULL, 0);
		} else {
			fprintf(stderr, "insnprof: what is %s?\n", argv[i]);
			return -1;
		}
	}
	if (!file || base >= end) {
		fprintf(stderr, "insnprof: out=, base= and end= are needed\n");
		return -1;
	}
	counters = map_counters(file, end - base + 1);
	if (!counters)
		return -1;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
	return 0;
}
