# The ring, net/ and the NIC driver against the fake device.
UNIT_TESTS += test_virtio_ring test_virtio_net test_virtio_net_offload test_net_dev test_gro test_ring_fence test_pkt_filter test_pcapng test_virtio_ring_event test_virtio_ring_packed
TSAN_TESTS += test_ring_race

FAKE_RING_SRCS := $(wildcard drivers/virtio/virtio_ring*.c) tests/fake/fake_kernel.c tests/fake/fake_virtio.c \
	tests/fake/fake_vring_packed.c
# Journeys and captures: called from everywhere on a packet's way, and files that show them.
TRACE_SRCS := kernel/trace.c kernel/tasklet.c kernel/debugfs.c net/journey.c net/journey_show.c net/capture.c net/pcapng.c \
	net/pkt_filter.c
HOST_NET_SRCS := net/dev.c net/sch_fifo.c net/pkt_buf.c net/gro.c net/checksum.c $(TRACE_SRCS)

test_virtio_ring_SRCS := tests/unit/test_virtio_ring.c $(FAKE_RING_SRCS)
test_virtio_ring_event_SRCS := tests/unit/test_virtio_ring_event.c $(FAKE_RING_SRCS)
test_virtio_ring_packed_SRCS := tests/unit/test_virtio_ring_packed.c $(FAKE_RING_SRCS)
test_net_dev_SRCS := tests/unit/test_net_dev.c $(HOST_NET_SRCS) tests/fake/fake_kernel.c
test_gro_SRCS := tests/unit/test_gro.c $(HOST_NET_SRCS) tests/fake/fake_kernel.c
test_pkt_filter_SRCS := tests/unit/test_pkt_filter.c net/pkt_filter.c kernel/debugfs.c tests/fake/fake_kernel.c
test_pcapng_SRCS := tests/unit/test_pcapng.c net/pcapng.c tests/fake/fake_kernel.c
VIRTIO_NET_SRCS := tests/unit/virtio_net_fixture.c $(wildcard drivers/net/virtio_net*.c) \
	drivers/virtio/virtio.c $(HOST_NET_SRCS) $(FAKE_RING_SRCS)
test_virtio_net_SRCS := tests/unit/test_virtio_net.c $(VIRTIO_NET_SRCS)
test_virtio_net_offload_SRCS := tests/unit/test_virtio_net_offload.c $(VIRTIO_NET_SRCS)

# gcc's TSan does not model fences and warns of it. It need not: what they order is not data, but who
# sleeps; release and acquire order the data.
test_ring_race_SRCS := tests/unit/test_ring_race.c $(FAKE_RING_SRCS)
test_ring_race_CFLAGS := -pthread -Wno-tsan
test_ring_race_LIBS := -pthread
# The same without TSan: fast enough for a missing fence to show, within some 1,000 of its sleeps.
test_ring_fence_SRCS := $(test_ring_race_SRCS)
test_ring_fence_CFLAGS := -pthread -O2 -DMESSAGES=500000u
test_ring_fence_LIBS := -pthread
