"""vring finds what is wrong with a ring: each kind of contradiction, made on purpose in a stopped guest's memory."""
import json
import re

import pytest

from lib import gdb
from lib.guest import ROOT, Guest
from lib.ping import assert_answers

# Names in the cases: H and G are heads in flight (each the first of two descriptors, the second is HN), F the first free
# descriptor and F2 the one behind it.
SETUP = """
set $vi = (struct virtnet_info *)'net/dev.c'::dev_base->ml_priv
set $rq = &$vi->rq[0]
set $r = (struct vring_virtqueue *)$rq->vq
python
import json
def num(e): return int(gdb.parse_and_eval(e))
heads = [i for i in range(num("$r->vq.num")) if num(f"$r->desc_state[{i}].token")]
for name, n in (("H", heads[0]), ("G", heads[1]), ("HN", num(f"$r->desc_state[{heads[0]}].next")), ("F", num("$r->free_head"))):
    gdb.set_convenience_variable(name, n)
gdb.execute("set $F2 = $r->desc_state[$F].next")
gdb.execute("set $U = $r->last_used_idx & $r->mask")
gdb.execute("set $A = ($r->avail_idx - 1) & $r->mask")
gdb.execute("set $tok = (struct pkt_buf *)$r->desc_state[$H].token")
gdb.execute("set $idle = (long)$vi->pool.free.next")
"""

# name: assignments to the ring's memory, and what the answer must say
CASES = {
    "mask": ("$r->mask = 7", "mask is 0x7, with 256"),
    "size": ("$r->vq.num = 3", "3 descriptors: not a power of two"),
    "broken": ("$r->vq.broken = 1", "the queue is broken"),
    "avail idx": ("$r->avail->idx = $r->avail_idx + 5", r"avail idx is \d+, our own says \d+"),
    "avail flags": ("$r->avail->flags = $r->avail->flags ^ 1", "avail flags are .*, our own say"),
    "used ahead": ("$r->used->idx = $r->last_used_idx + $r->in_flight + 3", r"used idx is \d+, (\d+) ahead of last_used"),
    "used read": ("$r->used_idx = $r->last_used_idx + $r->in_flight + 1", r"used_idx as last read is \d+, \d+ ahead"),
    "doorbell": ("$r->kicked_idx = $r->avail_idx - 257", "257 buffers since the last doorbell"),
    "free loop": ("$r->desc_state[$F2].next = $F", r"free list runs in a circle: descriptor (\d+) comes again after 2"),
    "free to head": ("$r->desc_state[$F].next = $H", r"free list leads to descriptor \d+, whose token says"),
    "free outside": ("$r->free_head = 261", "free list leads to descriptor 261 of 256"),
    "num_free": ("$r->vq.num_free = $r->vq.num_free + 1", r"num_free is \d+, but the free list has \d+"),
    "in_flight": ("$r->in_flight = $r->in_flight + 1", r"in_flight is \d+, but \d+ heads have a token"),
    "token NULL": ("$r->desc_state[$H].token = 0", "2 descriptors are neither free nor of a buffer in flight"),
    "no chain": ("$r->desc_state[$H].ndesc = 0", "is a head of 0 descriptors"),
    "chain outside": ("$r->desc_state[$H].next = 999", r"the chain of \d+ leads to descriptor 999 of 256"),
    "chains cross": ("$r->desc_state[$H].next = $r->desc_state[$G].next", r"descriptor \d+ is in the chains of \d+ and \d+"),
    "chain to head": ("$r->desc_state[$H].next = $G", r"is in the chain of \d+ and a head itself"),
    "chain to free": ("$r->desc_state[$H].next = $F", r"is in the chain of \d+ and in the free list"),
    "used id": ("$r->used->ring[$U].id = 9999; $r->used->idx = $r->last_used_idx + 1", r"id 9999 is out of range \(of 256\)"),
    "used free": ("$r->used->ring[$U].id = $F; $r->used->idx = $r->last_used_idx + 1", r"used entry \d+: id \d+ is not a head"),
    "used twice": ("$r->used->ring[$U].id = $H; $r->used->ring[($U + 1) & 255].id = $H; $r->used->ring[$U].len = 60; "
                   "$r->used->ring[($U + 1) & 255].len = 60; $r->used->idx = $r->last_used_idx + 2", r"id \d+ a second time"),
    "used len": ("$r->used->ring[$U].id = $H; $r->used->ring[$U].len = 70000; $r->used->idx = $r->last_used_idx + 1",
                 r"70000 bytes used of \d+"),
    "avail outside": ("$r->avail->ring[$A] = 9999", r"avail entry \d+: descriptor 9999 is out of range"),
    "avail free": ("$r->avail->ring[$A] = $F", r"avail entry \d+: descriptor \d+ is not in flight"),
    "direction": ("$r->desc[$HN].flags = 0", r"flags none, should be WRITE"),
    "no link": ("$r->desc[$H].flags = 2", "flags WRITE, should be NEXT WRITE"),
    "link": ("$r->desc[$H].next = 77", "next is 77, our own says"),
    "outside RAM": ("$r->desc[$H].addr = 0xfee00000", "bytes at 0xfee00000 are outside RAM"),
    "free packet": ("$r->desc[$H].addr = $idle + 256", r"0x\w+ lies in the free packet at 0x\w+"),
    "other packet": ("$r->desc[$H].addr = $r->desc[$G].addr", r"address 0x\w+ is not in its packet at"),
    "no bytes": ("$r->desc[$H].len = 0", r"descriptor \d+: no bytes"),
    "length": ("$r->desc[$HN].len = 99", r"descriptor \d+: \d+ bytes, our own says \d+"),
    "token free": ("$tok->in_use = 0", r"token 0x\w+ is a free packet"),
    "token odd": ("$r->desc_state[$H].token = (char *)$r->desc_state[$H].token + 8", r"token 0x\w+ is not a packet"),
    "table": ("$r->desc[$H].flags = 4", r"descriptor \d+: a table of \d+ bytes at 0x\w+, its own is at 0x"),
    "posted": ("$rq->posted = $rq->posted + 1", r"the driver counts \d+ buffers as posted, \d+ are in flight"),
}

# The same of a packed ring. P: the place of last_used, id 0 and the like as above.
PACKED_SETUP = """
set $vi = (struct virtnet_info *)'net/dev.c'::dev_base->ml_priv
set $rq = &$vi->rq[0]
set $r = (struct vring_virtqueue *)$rq->vq
set $P = $r->p.last_used & 0x7fff
python
import json
def num(e): return int(gdb.parse_and_eval(e))
gdb.set_convenience_variable("H", next(i for i in range(num("$r->vq.num")) if num(f"$r->desc_state[{i}].token")))
"""

PACKED_CASES = {
    "ids": ("$r->free_head = 300", "free list of IDs ends with 300 after 0, should with 256"),
    "id lost": ("$r->desc_state[$H].token = 0", r"\d+ IDs are free and \d+ in flight, of 256"),
    "in_flight": ("$r->in_flight = $r->in_flight + 1", r"in_flight is \d+, but \d+ IDs have a token"),
    "num_free": ("$r->vq.num_free = $r->vq.num_free + 1", r"num_free is \d+, with \d+ of 256 descriptors in flight"),
    "position": ("$r->p.next_avail = $r->p.next_avail ^ 0x8000", r"next_avail is \d+ wrap [01], last_used \d+ wrap [01], with \d+ free"),
    "doorbell": ("$r->p.added = 257", "257 descriptors since the last doorbell, of 256"),
    "broken": ("$r->vq.broken = 1", "the queue is broken"),
    "used id": ("$r->p.desc[$P].id = 9999; $r->p.desc[$P].flags = $r->p.last_used >> 15 ? 0x8080 : 0",
                r"used descriptor \d+: id 9999 is not in flight"),
    "used len": ("$r->p.desc[$P].id = $H; $r->p.desc[$P].len = 70000; $r->p.desc[$P].flags = $r->p.last_used >> 15 ? 0x8080 : 0",
                 r"used descriptor \d+: 70000 bytes used of \d+"),
    "posted": ("$rq->posted = $rq->posted + 1", r"the driver counts \d+ buffers as posted, \d+ are in flight"),
}

EACH = """
python
answers = {}
for name, (assignments, _) in json.loads(CASES).items():
    old = []
    for one in assignments.split("; "):
        place, new = one.split(" = ", 1)
        old.append((place, num(f"(unsigned long)({place})")))
        gdb.execute(f"set var {place} = {new}")
    answers[name] = gdb.execute("vring rx0", to_string=True)
    for place, number in reversed(old):
        gdb.execute(f"set var {place} = {number}")
    answers[name + ", and back"] = gdb.execute("vring rx0", to_string=True)
print("ANSWERS " + json.dumps(answers))
"""


def provoke(lan, folder, nic, setup, cases):
    """What vring says to each case, and after each was taken back, in a guest that has seen packets, and is left as it was."""
    stub = gdb.Stub()
    g = Guest(lan, image="test", append="diag", nic=nic, extra=stub.qemu)
    try:
        ready = g.ready()
        assert_answers(lan, ready.ip, count=10)
        script = folder / "script"
        script.write_text(setup + f"CASES = {json.dumps(cases)!r}\nend\n" + EACH + "end\n", encoding="ascii")
        out = gdb.run(stub, "vring", f"source {script}", "vring")
        assert_answers(lan, ready.ip, count=10)
        assert g.alive()
        assert out[0].count("  consistent") == 2 and out[2].count("  consistent") == 2, out
        m = re.search(r"^ANSWERS (.*)$", out[1], re.M)
        assert m, out[1]
        return json.loads(m[1])
    finally:
        g.close()
        stub.close()


@pytest.fixture(scope="module")
def answers(module_lan, tmp_path_factory):
    """Of a split ring with buffers of two descriptors (the legacy interface without ANY_LAYOUT)."""
    return provoke(module_lan, tmp_path_factory.mktemp("vring"), "disable-modern=on,disable-legacy=off,any_layout=off", SETUP, CASES)


@pytest.fixture(scope="module")
def packed_answers(module_lan, tmp_path_factory):
    """Of a packed ring."""
    return provoke(module_lan, tmp_path_factory.mktemp("vring"), "packed=on,disable-legacy=on", PACKED_SETUP, PACKED_CASES)


@pytest.mark.parametrize("case", CASES)
def test_reported(answers, case):
    """The contradiction is named, and gone when the memory is as before."""
    found = [line for line in answers[case].splitlines() if "INCONSISTENT" in line]
    assert any(re.search(CASES[case][1], line) for line in found), answers[case]
    assert "  consistent" in answers[case + ", and back"], answers[case + ", and back"]


@pytest.mark.parametrize("case", PACKED_CASES)
def test_reported_of_a_packed_ring(packed_answers, case):
    """The same."""
    found = [line for line in packed_answers[case].splitlines() if "INCONSISTENT" in line]
    assert any(re.search(PACKED_CASES[case][1], line) for line in found), packed_answers[case]
    assert "  consistent" in packed_answers[case + ", and back"], packed_answers[case + ", and back"]


@pytest.mark.parametrize("ring,least", [("vring", 30), ("vring_packed", 9)])
def test_no_kind_is_left_out(answers, packed_answers, ring, least):
    """Every kind of contradiction that vring can name has been provoked above."""
    source = (ROOT / f"scripts/gdb/barewire/{ring}.py").read_text(encoding="utf-8")
    answers = packed_answers if ring == "vring_packed" else answers
    kinds = re.findall(r"\.bad\(f?\"((?:[^\"\\]|\\.)*)\"", source)
    said = "\n".join(answers.values())
    missing = [k for k in kinds if not re.search("INCONSISTENT: " + ".*".join(map(re.escape, re.split(r"\{[^}]*\}", k))), said)]
    assert len(kinds) > least and not missing, missing
