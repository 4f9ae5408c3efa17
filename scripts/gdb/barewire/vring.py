"""vring: a split virtqueue (drivers/virtio/virtio_ring.c), and everything in it that contradicts something else."""
import re

import gdb

from barewire.common import Trouble, array, bits, command, container_of, record, records, static, text, value, virtnets
from barewire.vring_packed import show_packed

NEXT, WRITE, INDIRECT = 1, 2, 4  # VIRTIO 1.2, 2.7.5
NO_INTERRUPT, NO_NOTIFY = 1, 1   # 2.7.6, 2.7.8
LARGEST = 32768                  # 2.6


def queues():
    """{"eth0 rx0": (queue, True if the device writes, driver's queue, virtnet_info)}; the queue is NULL during a reset."""
    found = {}
    for dev, vi in virtnets():
        for kind, field in (("rx", "rq"), ("tx", "sq")):
            for n, q in enumerate(array(vi[field])):
                found[f"{dev} {kind}{n}"] = (q["vq"], kind == "rx", q, vi)
    return found


class Pools:
    """Which packet an address belongs to, if any."""

    def __init__(self, vi):
        self.kind = gdb.lookup_type("struct pkt_buf")
        tx = static("net/pkt_buf.c", "tx_pool")
        self.pools = [(int(p["mem"]), int(p["block_size"]), int(p["fresh"])) for p in (vi["pool"], tx) if int(p["mem"])]
        boot = static("kernel/main.c", "boot_info")
        count = min(int(boot["nr_ranges"]), boot["range"].type.range()[1] + 1)
        self.ram = [(r.start, r.end) for r in records(boot["range"][0].address, count)]
        if self.ram:
            self.ram.append((int(value("&__image_start")), int(value("&__image_end"))))

    def in_ram(self, address, length):
        """Memory that a device may be told of. Ranges that touch count as one."""
        at = address
        while at < address + length:
            end = next((e for s, e in self.ram if s <= at < e), None)
            if end is None:
                return False
            at = end
        return True

    def packet(self, address):
        """The packet whose block an address lies in: (its address, None or "free"); None outside of the pools."""
        for mem, size, fresh in self.pools:
            if mem <= address < mem + size * fresh:
                block = mem + (address - mem) // size * size
                pointer = gdb.Value(block).cast(self.kind.pointer())
                return block, None if int(pointer["in_use"]) == 1 else "free"
        return None


class Ring:
    """A queue as read at one moment. wrong: what contradicts, in words."""

    def __init__(self, vq):
        self.wrong = []
        pointer = container_of(vq, "struct vring_virtqueue", "vq")
        v, self.vq = record(pointer), record(vq)
        self.v, num = v, self.vq.num
        if not 0 < num <= LARGEST or num & (num - 1):
            raise Trouble(f"INCONSISTENT: {num} descriptors: not a power of two up to {LARGEST}; nothing more can be said")
        if v.mask != num - 1:
            self.bad(f"mask is {v.mask:#x}, with {num} descriptors")
        self.desc = records(pointer["desc"], num)
        self.state = records(pointer["desc_state"], num)
        self.avail = record(pointer["avail"])
        self.used = record(pointer["used"])
        self.avail_ring = records(pointer["avail"]["ring"][0].address, num)
        self.used_ring = records(pointer["used"]["ring"][0].address, num)
        self.free, self.owner = [], {}

    def bad(self, what):
        """One contradiction."""
        self.wrong.append(what)

    # ---- our own books

    def check_free_list(self):
        """The free list ends with an index beyond the last descriptor (vring_create_virtqueue)."""
        num, at, seen = self.vq.num, self.v.free_head, set()
        while at < num:
            if at in seen:
                self.bad(f"the free list runs in a circle: descriptor {at} comes again after {len(seen)}")
                break
            if self.state[at].token:
                self.bad(f"the free list leads to descriptor {at}, whose token says that it is in flight")
                break
            seen.add(at)
            self.free.append(at)
            at = self.state[at].next
        if at > num:
            self.bad(f"the free list leads to descriptor {at} of {num}")
        if len(self.free) != self.vq.num_free:
            self.bad(f"num_free is {self.vq.num_free}, but the free list has {len(self.free)}")

    def check_chains(self):
        """Each buffer in flight: its chain, in desc_state[], overlaps no other and not the free list."""
        num, free = self.vq.num, set(self.free)
        heads = [i for i in range(num) if self.state[i].token]
        for head in heads:
            state = self.state[head]
            if not 1 <= state.ndesc <= num:
                self.bad(f"descriptor {head} is a head of {state.ndesc} descriptors")
                continue
            at = head
            for n in range(state.ndesc):
                if at >= num:
                    self.bad(f"the chain of {head} leads to descriptor {at} of {num}")
                    break
                if at in self.owner:
                    self.bad(f"descriptor {at} is in the chains of {self.owner[at]} and {head}")
                    break
                if at in free:
                    self.bad(f"descriptor {at} is in the chain of {head} and in the free list")
                if n and self.state[at].token:
                    self.bad(f"descriptor {at} is in the chain of {head} and a head itself")
                self.owner[at] = head
                at = self.state[at].next
        if len(heads) != self.v.in_flight:
            self.bad(f"in_flight is {self.v.in_flight}, but {len(heads)} heads have a token")
        lost = [i for i in range(num) if i not in self.owner and i not in free]
        if lost:
            self.bad(f"{len(lost)} descriptors are neither free nor of a buffer in flight (a NULL token?): {some(lost)}")
        return heads

    # ---- what is shared with the device

    def check_indices(self):
        """2.7.6, 2.7.8; and our own copies of them."""
        v = self.v
        if self.avail.idx != v.avail_idx:
            self.bad(f"avail idx is {self.avail.idx}, our own says {v.avail_idx}")
        want = 0 if v.event or v.cb_enabled else NO_INTERRUPT
        if self.avail.flags != want:
            self.bad(f"avail flags are {self.avail.flags:#x}, our own say {want:#x}")
        for name, idx in (("used idx", self.used.idx), ("used_idx as last read", v.used_idx)):
            ahead = idx - v.last_used_idx & 0xffff
            if ahead > v.in_flight:
                self.bad(f"{name} is {idx}, {ahead} ahead of last_used {v.last_used_idx}, with {v.in_flight} in flight")
        unkicked = v.avail_idx - v.kicked_idx & 0xffff
        if unkicked > self.vq.num:
            self.bad(f"{unkicked} buffers since the last doorbell, with {self.vq.num} descriptors")
        if self.vq.broken:
            self.bad(f"the queue is broken and not used any more: the device broke the protocol ({self.vq.bad_used} times)")

    def pending(self):
        """How many used entries we have not looked at."""
        return min(self.used.idx - self.v.last_used_idx & 0xffff, self.vq.num)

    def check_used(self):
        """The entries that virtqueue_get_buf() is going to read."""
        seen = set()
        for n in range(self.pending()):
            slot = self.v.last_used_idx + n & self.vq.num - 1
            e = self.used_ring[slot]
            if e.id >= self.vq.num:
                self.bad(f"used entry {slot}: id {e.id} is out of range (of {self.vq.num})")
            elif not self.state[e.id].token:
                self.bad(f"used entry {slot}: id {e.id} is not a head in flight")
            elif e.id in seen:
                self.bad(f"used entry {slot}: id {e.id} a second time")
            elif self.state[e.id].in_len and e.len > self.state[e.id].in_len:
                self.bad(f"used entry {slot}: id {e.id}: {e.len} bytes used of {self.state[e.id].in_len}")
            seen.add(e.id)

    def check_avail(self):
        """What the device may still read: the newest entries, as many as it has not used."""
        for n in range(1, min(self.v.in_flight - self.pending(), self.vq.num) + 1):
            slot = self.v.avail_idx - n & self.vq.num - 1
            head = self.avail_ring[slot]
            if head >= self.vq.num:
                self.bad(f"avail entry {slot}: descriptor {head} is out of range (of {self.vq.num})")
            elif not self.state[head].token:
                self.bad(f"avail entry {slot}: descriptor {head} is not in flight (unless the device uses buffers out of order)")

    def table(self, head):
        """The entries of an indirect descriptor (2.7.5.3), or None: it is none, or leads elsewhere."""
        d, v, size = self.desc[head], self.v, 16
        if d.flags != INDIRECT:
            return None
        place = v.indirect_dma + head * v.indirect_pieces * size
        if not v.indirect or d.addr != place or d.len % size or not 2 <= d.len // size <= v.indirect_pieces:
            self.bad(f"descriptor {head}: a table of {d.len} bytes at {d.addr:#x}, its own is at {place:#x}")
            return []
        return records(gdb.Value(place).cast(gdb.lookup_type("struct virtq_desc").pointer()), d.len // size)

    def check_descriptors(self, heads, receive, pools):
        """The ring's own copy, which only the device reads: direction, links, addresses."""
        for head in heads:
            state = self.state[head]
            chain = [i for i, h in self.owner.items() if h == head]
            table = self.table(head) if chain else None
            # (what to call it, the descriptor, where our own books say that it leads)
            pieces = [(f"descriptor {i}", self.desc[i], self.state[i].next) for i in chain]
            if table is not None:
                pieces = [(f"descriptor {head}, entry {n}", d, n + 1) for n, d in enumerate(table)]
            total = 0
            for n, (called, d, next_one) in enumerate(pieces):
                last = n == len(pieces) - 1
                want = (WRITE if receive else 0) | (0 if last else NEXT)
                if d.flags != want:
                    self.bad(f"{called}: flags {flags(d.flags)}, should be {flags(want)}")
                if not last and d.next != next_one:
                    self.bad(f"{called}: next is {d.next}, our own says {next_one}")
                total += d.len
                self.check_address(called, d, pools)
            if receive and total != state.in_len:
                self.bad(f"descriptor {head}: {total} bytes, our own says {state.in_len}")
            packet = pools.packet(state.token)
            if not packet or packet[0] != state.token:
                self.bad(f"descriptor {head}: token {state.token:#x} is not a packet")
            elif packet[1]:
                self.bad(f"descriptor {head}: token {state.token:#x} is a free packet")
            elif receive and chain and table is None and pools.packet(self.desc[head].addr) != packet:
                self.bad(f"descriptor {head}: address {self.desc[head].addr:#x} is not in its packet at {state.token:#x}")

    def check_address(self, called, d, pools):
        """In RAM, and of no packet that somebody else may be given."""
        if d.len == 0:
            self.bad(f"{called}: no bytes")
        if pools.ram and not pools.in_ram(d.addr, max(d.len, 1)):
            self.bad(f"{called}: {d.len} bytes at {d.addr:#x} are outside RAM")
        else:
            packet = pools.packet(d.addr)
            if packet and packet[1]:
                self.bad(f"{called}: {d.addr:#x} lies in the free packet at {packet[0]:#x}")

    def check(self, receive, pools):
        """All of it."""
        self.check_indices()
        self.check_free_list()
        heads = self.check_chains()
        self.check_used()
        self.check_avail()
        self.check_descriptors(heads, receive, pools)


def some(numbers):
    """The first of them."""
    return " ".join(map(str, numbers[:8])) + (" ..." if len(numbers) > 8 else "")


def flags(mask):
    """A descriptor's flags in words."""
    return bits(mask, [(NEXT, "NEXT"), (WRITE, "WRITE"), (INDIRECT, "INDIRECT")])


def inside():
    """The function on the stack that is changing rings right now, or None."""
    frame = gdb.newest_frame()
    while frame:
        table = frame.find_sal().symtab
        if table and table.filename.endswith(("drivers/virtio/virtio_ring.c", "drivers/virtio/virtio_ring_packed.c",
                                                     "drivers/net/virtio_net.c")):
            return frame.name()
        frame = frame.older()
    return None


def show(name, vq, receive, driver, vi):
    """One queue."""
    if not int(vq):
        print(f"{name}: no ring: the device is being set up or reset")
        return
    if int(container_of(vq, "struct vring_virtqueue", "vq")["packed"]):
        show_packed(name, vq, driver if receive else None)
        return
    try:
        ring = Ring(vq)
    except Trouble as e:
        print(f"{name}: {e}")
        return
    pools = Pools(vi)
    ring.check(receive, pools)
    v, q = ring.v, ring.vq
    if receive and int(driver["posted"]) != v.in_flight:
        ring.bad(f"the driver counts {int(driver['posted'])} buffers as posted, {v.in_flight} are in flight")
    print(f"{name} ({text(vq['vdev']['name'])} queue {q.index}, {text(vq['name'])}): {q.num} descriptors, "
          f"desc {v.desc:#x} avail {v.avail:#x} used {v.used:#x}")
    print(f"  avail: idx {ring.avail.idx}, at the last doorbell {v.kicked_idx}; flags "
          f"{bits(ring.avail.flags, [(NO_INTERRUPT, 'NO_INTERRUPT')])}")
    print(f"  used: idx {ring.used.idx}, last_used {v.last_used_idx}, waiting {ring.used.idx - v.last_used_idx & 0xffff}; flags "
          f"{bits(ring.used.flags, [(NO_NOTIFY, 'NO_NOTIFY')])}")
    print(f"  free: num_free {q.num_free}, list {len(ring.free)} from {v.free_head}; in flight {v.in_flight} buffers, "
          f"{len(ring.owner)} descriptors")
    print(f"  kicks {q.kicks}, suppressed {q.kicks_suppressed}; interrupts {q.interrupts}, spurious {q.spurious}; "
          f"bad_used {q.bad_used}")
    if not pools.ram:
        print("  no memory map yet: addresses are not checked")
    busy = inside()
    if busy and ring.wrong:
        print(f"  stopped inside {busy}(), which may be half way through a change")
    for what in ring.wrong:
        print(f"  INCONSISTENT: {what}")
    if not ring.wrong:
        print("  consistent")


@command("vring")
def vring(name=""):
    """vring [QUEUE]: a virtqueue's state, with every inconsistency pointed out; rx0, tx0, "eth1 rx0", or all of them.

Indices and flags on both sides, free list, buffers in flight, descriptors and their packets."""
    known = queues()
    wanted = [n for n in known if not name or n == name or n.split()[1] == name]
    if not wanted:
        hint = ", ".join(sorted({re.sub(r"^\S+ ", "", n) for n in known}))
        raise Trouble(f"no queue {name}; there are {hint}")
    for n in wanted:
        show(n, *known[n])
