"""vring for a packed virtqueue (drivers/virtio/virtio_ring_packed.c; VIRTIO 1.2, 2.8)."""
from barewire.common import container_of, record, records, text

AVAIL, USED = 1 << 7, 1 << 15     # 2.8.1
WANTS = {0: "always", 1: "never"}  # 2.8.14; else from a position on


def place(position):
    """An index and its lap's wrap counter, in words."""
    return f"{position & 0x7fff} wrap {position >> 15}"


def wants(event):
    """What a side wants to hear of."""
    return WANTS.get(event >> 16 & 3, f"from {place(event & 0xffff)}")


class Packed:
    """A queue as read at one moment. wrong: what contradicts, in words."""

    def __init__(self, vq):
        self.wrong = []
        pointer = container_of(vq, "struct vring_virtqueue", "vq")
        self.v, self.p, self.vq = record(pointer), record(pointer["p"].address), record(vq)
        self.state = records(pointer["desc_state"], self.vq.num)
        self.desc = records(pointer["p"]["desc"], self.vq.num)
        self.events = [records(pointer["p"][side], 1)[0] for side in ("driver_event", "device_event")]
        self.heads = [i for i in range(self.vq.num) if self.state[i].token]

    def bad(self, what):
        """One contradiction."""
        self.wrong.append(what)

    def check_ids(self):
        """Each buffer ID is free or in flight; a buffer in flight has descriptors that are not free."""
        num, at, seen = self.vq.num, self.v.free_head, set()
        while at < num and at not in seen and not self.state[at].token:
            seen.add(at)
            at = self.state[at].next
        if at != num:
            self.bad(f"the free list of IDs ends with {at} after {len(seen)}, should with {num}")
        elif len(seen) + len(self.heads) != num:
            self.bad(f"{len(seen)} IDs are free and {len(self.heads)} in flight, of {num}")
        if len(self.heads) != self.v.in_flight:
            self.bad(f"in_flight is {self.v.in_flight}, but {len(self.heads)} IDs have a token")
        taken = sum(self.state[i].ndesc for i in self.heads)
        if taken + self.vq.num_free != num:
            self.bad(f"num_free is {self.vq.num_free}, with {taken} of {num} descriptors in flight")

    def lap(self, position, count):
        """The position so many descriptors further on."""
        index, wrap = (position & 0x7fff) + count, position >> 15
        return index % self.vq.num | (wrap ^ index // self.vq.num) << 15

    def check_positions(self):
        """What is in flight lies between the two positions."""
        p = self.p
        if self.lap(p.last_used, self.vq.num - self.vq.num_free) != p.next_avail:
            self.bad(f"next_avail is {place(p.next_avail)}, last_used {place(p.last_used)}, with {self.vq.num_free} free")
        if p.added > self.vq.num:
            self.bad(f"{p.added} descriptors since the last doorbell, of {self.vq.num}")
        if self.vq.broken:
            self.bad(f"the queue is broken and not used any more: the device broke the protocol ({self.vq.bad_used} times)")

    def waiting(self):
        """The used descriptor that virtqueue_get_buf() is going to read next, if there is one; checked."""
        d = self.desc[self.p.last_used & 0x7fff]
        if d.flags & (AVAIL | USED) != (AVAIL | USED if self.p.last_used >> 15 else 0):
            return "none"
        if d.id >= self.vq.num or not self.state[d.id].token:
            self.bad(f"used descriptor {self.p.last_used & 0x7fff}: id {d.id} is not in flight")
        elif self.state[d.id].in_len and d.len > self.state[d.id].in_len:
            self.bad(f"used descriptor {self.p.last_used & 0x7fff}: {d.len} bytes used of {self.state[d.id].in_len}")
        return f"id {d.id}, {d.len} bytes"


def show_packed(name, vq, receiver):
    """One queue. receiver: the driver's receive queue, or None."""
    ring = Packed(vq)
    ring.check_ids()
    ring.check_positions()
    waiting = ring.waiting()
    v, p, q = ring.v, ring.p, ring.vq
    if receiver is not None and int(receiver["posted"]) != v.in_flight:
        ring.bad(f"the driver counts {int(receiver['posted'])} buffers as posted, {v.in_flight} are in flight")
    print(f"{name} ({text(vq['vdev']['name'])} queue {q.index}, {text(vq['name'])}): {q.num} descriptors, packed, at {p.desc:#x}")
    print(f"  next_avail {place(p.next_avail)}, {p.added} added since the last doorbell; the device wants to hear {wants(ring.events[1])}")
    print(f"  last_used {place(p.last_used)}, waiting {waiting}; we want to hear {wants(ring.events[0])}")
    print(f"  free: num_free {q.num_free}; in flight {v.in_flight} buffers, {q.num - q.num_free} descriptors")
    print(f"  kicks {q.kicks}, suppressed {q.kicks_suppressed}; interrupts {q.interrupts}, spurious {q.spurious}; bad_used {q.bad_used}")
    for what in ring.wrong:
        print(f"  INCONSISTENT: {what}")
    if not ring.wrong:
        print("  consistent")
