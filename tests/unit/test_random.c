/* kernel/random.c: the published vectors, and what the generator promises. */
#include "tests/unit/test.h"

#include <string.h>

#include "kernel/random.h"
#include "kernel/x86/cpu.h"
#include "tests/fake/fake_kernel.h"

static bool have_rdrand;

bool cpu_rdseed(u64 *out)
{
	(void)out;
	return false;
}

bool cpu_rdrand(u64 *out)
{
	*out = 0x123456789abcdef0ull;
	return have_rdrand;
}

/* RFC 8439, 2.3.2 */
static void chacha20_test_vector(void **state)
{
	static const u32 nonce[3] = { 0x09000000, 0x4a000000, 0 };
	static const u32 want[16] = { 0xe4e7f110, 0x15593bd1, 0x1fdd0f50, 0xc47120a3,
				      0xc7f4d1c7, 0x0368c033, 0x9aaa2204, 0x4e6cd4c3,
				      0x466482d2, 0x09aa9f07, 0x05d7c214, 0xa2028bd9,
				      0xd19c12b5, 0xb94e16de, 0xe883d0cb, 0x4e3c50a2 };
	u32 key[8], out[16];
	u8 bytes[32];

	(void)state;
	for (u8 i = 0; i < 32; i++)
		bytes[i] = i;
	memcpy(key, bytes, 32);
	chacha20_block(key, 1, nonce, out);
	assert_memory_equal(out, want, sizeof(want));
}

/*
 * SipHash's reference vectors (Aumasson and Bernstein, appendix A and vectors.h): key 00..0f, input
 * 00, 01, ...
 */
static void siphash_test_vectors(void **state)
{
	static const u64 key[2] = { 0x0706050403020100ull, 0x0f0e0d0c0b0a0908ull };
	u8 in[15];

	(void)state;
	for (u8 i = 0; i < 15; i++)
		in[i] = i;
	assert_true(siphash(in, 15, key) == 0xa129ca6149be45e5ull);
	assert_true(siphash(in, 0, key) == 0x726fdb47dd0e0e31ull);
	assert_true(siphash(in, 8, key) == 0x93f5f5799a932462ull);
}

static void output_is_not_repeated_and_state_moves_on(void **state)
{
	u8 a[100], b[100];
	size_t same = 0;

	(void)state;
	random_init();
	get_random_bytes(a, sizeof(a));
	get_random_bytes(b, sizeof(b));
	for (size_t i = 0; i < sizeof(a); i++)
		same += a[i] == b[i];
	assert_true(same < 10);
	assert_true(get_random_u32() != get_random_u32() || get_random_u32() != get_random_u32());
}

static void sources_are_named_and_strict_refuses_without(void **state)
{
	(void)state;
	fake_log_clear();
	assert_false(random_report());
	assert_true(fake_log_has("timing jitter only"));
	assert_true(random_tcp_allowed());
	assert_int_equal(fake_cmdline("random.strict", "x"), -22);
	assert_true(random_tcp_allowed());
	assert_int_equal(fake_cmdline("random.strict", "1"), 0);
	assert_false(random_tcp_allowed());
	assert_int_equal(fake_cmdline("random.strict", "0"), 0);
	assert_int_equal(fake_cmdline("random.strict", NULL), 0);
	assert_false(random_tcp_allowed());
	have_rdrand = true;
	random_init();
	assert_true(random_tcp_allowed());
	add_hwgenerator_randomness("virtio-rng", "abcdefgh", 8);
	fake_log_clear();
	assert_true(random_report());
	assert_true(fake_log_has("RDRAND, virtio-rng"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chacha20_test_vector),
		cmocka_unit_test(siphash_test_vectors),
		cmocka_unit_test(output_is_not_repeated_and_state_moves_on),
		cmocka_unit_test(sources_are_named_and_strict_refuses_without),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
