# drivers/pci, the transports of virtio and virtio-rng on the host, against fake hardware.
UNIT_TESTS += test_pci test_virtio_pci test_virtio_mmio

PCI_SRCS := drivers/bus.c $(wildcard drivers/pci/*.c)
FAKE_PCI_SRCS := tests/fake/fake_pci.c tests/fake/fake_kernel.c

test_pci_SRCS := tests/unit/test_pci.c $(PCI_SRCS) drivers/virtio/virtio.c $(FAKE_PCI_SRCS)
test_virtio_pci_SRCS := tests/unit/test_virtio_pci.c tests/fake/fake_virtio_pci.c $(FAKE_PCI_SRCS) \
	$(PCI_SRCS) drivers/virtio/virtio.c $(wildcard drivers/virtio/virtio_ring*.c) \
	$(wildcard drivers/virtio/virtio_pci_*.c) drivers/char/virtio_rng.c
test_virtio_mmio_SRCS := tests/unit/test_virtio_mmio.c tests/fake/fake_virtio_mmio.c $(wildcard drivers/virtio/virtio_mmio*.c) \
	drivers/virtio/virtio.c $(wildcard drivers/virtio/virtio_ring*.c) tests/fake/fake_virtio.c \
	tests/fake/fake_vring_packed.c tests/fake/fake_kernel.c
