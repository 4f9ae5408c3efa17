/*
 * kernel/mm.c on a piece of the process's own memory: every split and merge, checked against a
 * bitmap.
 */
#include "tests/unit/test.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "boot/boot.h"
#include "kernel/mm.h"
#include "kernel/x86/sections.h"
#include "tests/fake/fake_kernel.h"

#define PAGES 256

/* The image lies in the middle of the second range. */
u8 __image_start[PAGE_SIZE] __aligned(4096), __image_end[1] __aligned(4096);

static u8 *arena;
static bool owned[PAGES];

static size_t page_of(const void *p)
{
	assert_true((const u8 *)p >= arena && (const u8 *)p < arena + PAGES * PAGE_SIZE);
	return (size_t)((const u8 *)p - arena) / PAGE_SIZE;
}

static void take(void *p, size_t pages)
{
	for (size_t i = 0; i < pages; i++) {
		assert_false(owned[page_of(p) + i]);
		owned[page_of(p) + i] = true;
	}
	memset(p, 0xab, pages * PAGE_SIZE);
}

static void give(void *p, size_t pages)
{
	for (size_t i = 0; i < pages; i++)
		owned[page_of(p) + i] = false;
	free_pages_exact(p, pages * PAGE_SIZE);
}

static void bad_firmware_maps_are_survived(void **state)
{
	/*
	 * Overlapping, empty, wrapping, unaligned, low memory: only sound whole pages count, and
	 * once.
	 */
	struct boot_info bi = { .nr_ranges = 6 };
	u64 a = (u64)(uintptr_t)arena;

	(void)state;
	bi.range[0] = (struct boot_range){ .start = 0, .end = 0x9fc00 };
	bi.range[1] = (struct boot_range){ .start = a + 100,
					   .end = a + 10 * PAGE_SIZE + 5,
					   .reclaim = 1 };
	bi.range[2] = (struct boot_range){ .start = a + 4 * PAGE_SIZE,
					   .end = a + 12 * PAGE_SIZE,
					   .reclaim = 1 };
	bi.range[3] = (struct boot_range){ .start = a + 50, .end = a + 60, .reclaim = 1 };
	bi.range[4] = (struct boot_range){ .start = a + PAGE_SIZE, .end = a, .reclaim = 1 };
	bi.range[5] = (struct boot_range){ .start = a + 10 * PAGE_SIZE,
					   .end = a + PAGES * PAGE_SIZE,
					   .reclaim = 1 };
	mm_init(&bi);
	assert_int_equal(totalram_pages(), 0);
	mm_init_late(&bi);
	/* Pages 1..9 and 10..255. */
	assert_int_equal(totalram_pages(), PAGES - 1);
	assert_int_equal(nr_free_pages(), PAGES - 1);
	owned[0] = true;
}

static void random_traffic_never_overlaps_and_all_comes_back(void **state)
{
	struct {
		void *p;
		size_t pages;
	} held[64] = { { 0 } };

	(void)state;
	srand(1);
	for (int i = 0; i < 20000; i++) {
		size_t slot = (size_t)rand() % 64;

		if (held[slot].p) {
			give(held[slot].p, held[slot].pages);
			held[slot].p = NULL;
			continue;
		}
		held[slot].pages = 1 + (size_t)rand() % 12;
		if (rand() % 4 == 0) {
			held[slot].p =
				alloc_pages_aligned(held[slot].pages * PAGE_SIZE, 4 * PAGE_SIZE);
			assert_int_equal((uintptr_t)held[slot].p % (4 * PAGE_SIZE), 0);
		} else {
			held[slot].p = alloc_pages_exact(held[slot].pages * PAGE_SIZE -
							 (size_t)rand() % PAGE_SIZE);
		}
		if (held[slot].p)
			take(held[slot].p, held[slot].pages);
	}
	for (size_t slot = 0; slot < 64; slot++) {
		if (held[slot].p)
			give(held[slot].p, held[slot].pages);
	}
	assert_int_equal(nr_free_pages(), PAGES - 1);
	/* Merged again: all of it in one piece. */
	held[0].p = alloc_pages_exact((PAGES - 1) * PAGE_SIZE);
	assert_ptr_equal(held[0].p, arena + PAGE_SIZE);
	assert_null(alloc_pages_exact(1));
	free_pages_exact(held[0].p, (PAGES - 1) * PAGE_SIZE);
}

static void impossible_sizes_give_null(void **state)
{
	(void)state;
	assert_null(alloc_pages_exact(0));
	assert_null(alloc_pages_exact(PAGES * PAGE_SIZE));
	assert_null(alloc_pages_exact(~0ul));
	assert_int_equal(nr_free_pages(), PAGES - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_firmware_maps_are_survived),
		cmocka_unit_test(random_traffic_never_overlaps_and_all_comes_back),
		cmocka_unit_test(impossible_sizes_give_null),
	};

	/* Below 2^47 and above 4 GiB, as the late half of a memory map. */
	arena = mmap(NULL, PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		     -1, 0);
	if (arena == MAP_FAILED)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
