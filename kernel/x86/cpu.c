/* CPU features: protection bits, and the random number instructions. */
#include "kernel/x86/cpu.h"

#include "kernel/lib/string.h"
#include "kernel/x86/msr.h"

static char features[64];

static u32 max_leaf(void)
{
	return cpuid(0, 0).eax;
}

static struct cpuid_regs cpuid_7(void)
{
	return max_leaf() >= 7 ? cpuid(7, 0) : (struct cpuid_regs){ 0 };
}

bool cpu_has_nx(void)
{
	return cpuid(0x80000000u, 0).eax >= 0x80000001u && cpuid(0x80000001u, 0).edx & (1u << 20);
}

u32 cpu_phys_bits(void)
{
	if (cpuid(0x80000000u, 0).eax < 0x80000008u)
		return 36;
	return cpuid(0x80000008u, 0).eax & 0xff;
}

void cpu_init(void)
{
	struct cpuid_regs l7 = cpuid_7();
	bool smep = l7.ebx & (1u << 7), smap = l7.ebx & (1u << 20), umip = l7.ecx & (1u << 2);
	u64 cr4 = read_cr4() | X86_CR4_PGE;

	write_cr0(read_cr0() | X86_CR0_WP);
	cr4 |= smep ? X86_CR4_SMEP : 0;
	cr4 |= smap ? X86_CR4_SMAP : 0;
	cr4 |= umip ? X86_CR4_UMIP : 0;
	write_cr4(cr4);
	snprintf(features, sizeof(features), "WP%s%s%s%s", rdmsr(MSR_EFER) & EFER_NX ? " NX" : "",
		 smep ? " SMEP" : "", smap ? " SMAP" : "", umip ? " UMIP" : "");
}

const char *cpu_features_text(void)
{
	return features;
}

/*
 * SDM vol. 1, "Random Number Generator Instructions": retry 10 times; a stuck generator gives 0 or
 * ~0.
 */
static bool good_word(u64 v)
{
	return v != 0 && v != ~0ull;
}

bool cpu_rdseed(u64 *out)
{
	if (!(cpuid_7().ebx & (1u << 18)))
		return false;
	for (int i = 0; i < 10; i++) {
		bool ok;

		__asm__ volatile("rdseed %0" : "=r"(*out), "=@ccc"(ok));
		if (ok && good_word(*out))
			return true;
		cpu_pause();
	}
	return false;
}

bool cpu_rdrand(u64 *out)
{
	if (!(cpuid(1, 0).ecx & (1u << 30)))
		return false;
	for (int i = 0; i < 10; i++) {
		bool ok;

		__asm__ volatile("rdrand %0" : "=r"(*out), "=@ccc"(ok));
		if (ok && good_word(*out))
			return true;
	}
	return false;
}
