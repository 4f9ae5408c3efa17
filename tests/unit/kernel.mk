# kernel/ on the host. The real files replace the weak ones of tests/fake/fake_kernel.c.
UNIT_TESTS += test_softirq test_tasklet test_slab test_mm test_random test_string test_cmdline test_acpi test_time test_debugfs

test_softirq_SRCS := tests/unit/test_softirq.c kernel/softirq.c tests/fake/fake_kernel.c
test_slab_SRCS := tests/unit/test_slab.c kernel/slab.c tests/fake/fake_kernel.c
test_mm_SRCS := tests/unit/test_mm.c kernel/mm.c tests/fake/fake_kernel.c
test_random_SRCS := tests/unit/test_random.c kernel/random.c tests/fake/fake_kernel.c
# Under names of its own, beside the C library's.
test_string_SRCS := tests/unit/test_string.c
test_cmdline_SRCS := tests/unit/test_cmdline.c kernel/cmdline.c tests/fake/fake_kernel.c
test_acpi_SRCS := tests/unit/test_acpi.c kernel/x86/acpi.c tests/fake/fake_kernel.c
test_time_SRCS := tests/unit/test_time.c kernel/time.c tests/fake/fake_kernel.c
test_tasklet_SRCS := tests/unit/test_tasklet.c kernel/tasklet.c kernel/softirq.c tests/fake/fake_kernel.c
test_debugfs_SRCS := tests/unit/test_debugfs.c kernel/debugfs.c tests/fake/fake_kernel.c
