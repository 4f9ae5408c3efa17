/* kernel/slab.c: limits, reuse, return of pages, and the checks of the test image. */
#include "tests/unit/test.h"

#include <string.h>

#include "kernel/bug.h"
#include "kernel/mm.h"
#include "kernel/slab.h"
#include "kernel/variant.h"
#include "tests/fake/fake_kernel.h"

const bool pool_checks = true;

static struct kmem_cache cache;
static bool cache_made;
static jmp_buf panicked;
static char panic_text[200];

static void on_panic(enum panic_class cls, const char *text)
{
	(void)cls;
	strncpy(panic_text, text, sizeof(panic_text) - 1);
	longjmp(panicked, 1);
}

static int setup(void **state)
{
	(void)state;
	fake_kernel_reset();
	if (!cache_made)
		kmem_cache_init(&cache, "things", 100, 1000);
	cache_made = true;
	cache.max = 0;
	cache.failed = 0;
	return 0;
}

static void sizes_are_rounded_and_objects_aligned(void **state)
{
	u8 *a, *b;

	(void)state;
	assert_int_equal(cache.object_size, 112);
	a = kmem_cache_alloc(&cache);
	b = kmem_cache_alloc(&cache);
	assert_non_null(a);
	assert_int_equal((uintptr_t)a % 16, 0);
	assert_true(b >= a + 112 || a >= b + 112);
	memset(a, 1, 112);
	memset(b, 2, 112);
	kmem_cache_free(&cache, a);
	kmem_cache_free(&cache, b);
	assert_int_equal(cache.used, 0);
	assert_int_equal(cache.max, 2);
}

static void the_limit_holds_and_is_counted(void **state)
{
	static void *obj[1000];

	(void)state;
	for (int i = 0; i < 1000; i++) {
		obj[i] = kmem_cache_alloc(&cache);
		assert_non_null(obj[i]);
	}
	assert_null(kmem_cache_alloc(&cache));
	assert_int_equal(cache.failed, 1);
	/* Every other one first, so that slabs become partial in between. */
	for (int i = 0; i < 1000; i += 2)
		kmem_cache_free(&cache, obj[i]);
	for (int i = 1; i < 1000; i += 2)
		kmem_cache_free(&cache, obj[i]);
	assert_int_equal(cache.used, 0);
}

static void empty_slabs_go_back_but_one(void **state)
{
	static void *obj[900];
	size_t before = fake_alloc_live();
	void *p = kmem_cache_alloc(&cache);

	(void)state;
	assert_non_null(p);
	kmem_cache_free(&cache, p);
	before = fake_alloc_live();
	for (int i = 0; i < 900; i++)
		obj[i] = kmem_cache_alloc(&cache);
	assert_true(fake_alloc_live() > before);
	for (int i = 0; i < 900; i++)
		kmem_cache_free(&cache, obj[i]);
	assert_int_equal(fake_alloc_live(), before);
}

static void no_pages_is_null_not_a_crash(void **state)
{
	static void *obj[1000];
	int n = 0;

	(void)state;
	/* Until the next slab would be needed. */
	do {
		fake_alloc_fail_nth(1);
		obj[n] = kmem_cache_alloc(&cache);
	} while (obj[n] && ++n < 999);
	assert_true(n > 0 && n < 999);
	assert_int_equal(cache.failed, 1);
	fake_alloc_fail_nth(0);
	while (n--)
		kmem_cache_free(&cache, obj[n]);
}

static void double_free_is_found(void **state)
{
	void *a = kmem_cache_alloc(&cache), *b = kmem_cache_alloc(&cache);

	(void)state;
	kmem_cache_free(&cache, a);
	fake_panic_hook = on_panic;
	if (setjmp(panicked) == 0) {
		kmem_cache_free(&cache, a);
		fail_msg("a double free went through");
	}
	fake_panic_hook = NULL;
	assert_non_null(strstr(panic_text, "freed twice"));
	kmem_cache_free(&cache, b);
}

static void write_after_free_is_found(void **state)
{
	u8 *a = kmem_cache_alloc(&cache);

	(void)state;
	kmem_cache_free(&cache, a);
	a[50] = 0;
	fake_panic_hook = on_panic;
	if (setjmp(panicked) == 0) {
		(void)!kmem_cache_alloc(&cache);
		fail_msg("a write after free went unseen");
	}
	fake_panic_hook = NULL;
	assert_non_null(strstr(panic_text, "after it was freed"));
}

static void kmalloc_of_every_size(void **state)
{
	size_t before;
	void *p[200];

	(void)state;
	/* The classes keep one slab each from the first use on. */
	for (size_t size = 1; size <= 3000; size += 50)
		kfree(kmalloc(size));
	before = fake_alloc_live();
	for (size_t i = 0; i < 200; i++) {
		size_t size = i * 660 + 1;

		p[i] = kmalloc(size);
		if (size > 128 * 1024) {
			assert_null(p[i]);
			continue;
		}
		assert_non_null(p[i]);
		assert_int_equal((uintptr_t)p[i] % 16, 0);
		memset(p[i], 0xee, size);
	}
	for (size_t i = 0; i < 200; i++)
		kfree(p[i]);
	assert_int_equal(fake_alloc_live(), before);
	kfree(NULL);
}

int main(void)
{
	/* write_after_free_is_found leaves its object damaged: last. */
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(sizes_are_rounded_and_objects_aligned, setup),
		cmocka_unit_test_setup(the_limit_holds_and_is_counted, setup),
		cmocka_unit_test_setup(empty_slabs_go_back_but_one, setup),
		cmocka_unit_test_setup(no_pages_is_null_not_a_crash, setup),
		cmocka_unit_test_setup(double_free_is_found, setup),
		cmocka_unit_test_setup(kmalloc_of_every_size, setup),
		cmocka_unit_test_setup(write_after_free_is_found, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
