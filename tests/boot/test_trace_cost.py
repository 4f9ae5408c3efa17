"""What looking at packets costs, in guest instructions: two a stage while nobody looks, at most 40 while journeys are
recorded. Counted one by one in the release image."""
import re
import time
from statistics import median

import pytest

from lib import diag, ping, tcp
from lib.insns import Image, logged, wakeups

PACKETS = 30
# Who looks, switches it on and off, or asks what for: not on a packet's way while it is off.
LOOKERS = re.compile(r"__trace_|journey_|capture_|probe_|stack_probe|app_file_")
# A packet's stages, and where the stack is done with it, which is a place to look at as well.
STAGES = {"icmp": 9, "udp": 10}


@pytest.fixture(name="image", scope="module")
def _image():
    return Image()


@pytest.fixture(name="sites", scope="module")
def _sites(image):
    """Addresses of the instructions that look whether somebody looks, and function names."""
    found = {}
    for at, text in image.insns.items():
        name = image.function_of(at)
        if "<tracing>" not in text or LOOKERS.match(name):
            continue
        jump = image.next(at)
        assert re.match(r"(testb\s+\$0x[1-7],|cmpb\s+\$0x0,)0x[0-9a-f]+\(%rip\)", text), f"{name}: {text}"
        assert re.match(r"j[ne]+\s", image.insns[jump]), f"{name}: {text}; {image.insns[jump]}"
        found[at] = found[jump] = name.split(".")[0]
    return found


def test_two_instructions_a_place(sites):
    """Each place is one comparison with memory and one jump, and all stages are there."""
    assert set(sites.values()) >= {"common_interrupt", "net_rx_action", "napi_poll", "napi_gro_receive", "lwip_input",
                                   "tcp_input", "udp_input", "dev_queue_xmit", "start_xmit", "free_old_xmit"}


def exchange(lan, kind):
    """PACKETS requests, each answered before the next, and 10 ms apart: the guest sleeps between them."""
    if kind == "icmp":
        ping.assert_lossless(lan, "10.0.2.2", "-i", "0.01", count=PACKETS)
        return
    with tcp.udp_socket(lan, timeout=10) as s:
        s.connect(("10.0.2.2", 7))
        for n in range(PACKETS):
            s.send(b"%056d" % n)
            assert s.recv(100) == b"%056d" % n
            time.sleep(0.01)


def per_packet(lan, guest, image, kind, file):
    """Lists of the instructions of the wakeups in which one packet was received and answered; the usual ones."""
    with logged(guest, file) as addresses:
        exchange(lan, kind)
    marks = [image.functions[f] for f in (f"{kind}_input", "start_xmit")]
    runs = [r for r in wakeups(addresses(), image) if [r.count(m) for m in marks] == [1, 1]]
    assert len(runs) > PACKETS / 2, f"{len(runs)} of {PACKETS} packets came alone"
    usual = median(sorted(len(r) for r in runs))
    return usual, [r for r in runs if len(r) == usual]


def test_instructions_per_stage(lan, boot, image, sites, tmp_path):
    """Off: what a packet executes at those places is two instructions each. On: the difference, by the stages that
    the records show."""
    guest = boot(lan, append="diag")
    guest.ready()
    guest.wait_line(r"IPv6 address \S+ is valid")
    for kind, stages in STAGES.items():
        exchange(lan, kind)  # ARP is over
        off, runs = per_packet(lan, guest, image, kind, tmp_path / "off")
        looked = [sum(at in sites for at in run) for run in runs]
        assert looked and max(looked) <= 2 * (stages + 1), looked
        with diag.opened(lan, f"/journey/histogram?n={PACKETS}&match={kind}") as s:
            on, _ = per_packet(lan, guest, image, kind, tmp_path / "on")
            rows = [line.split() for line in s.text().splitlines() if not line.startswith(("#", "stage"))]
        counts = {r[0]: int(r[1]) for r in rows}
        # The last one has nothing behind it to measure to; a few packets come while the CPU is at something else.
        assert sum(c > PACKETS / 2 for c in counts.values()) == stages - 1, counts
        print(f"{kind}: {off} instructions a packet, of them {max(looked)} to look; {on} while recorded: "
              f"{(on - off) / stages:.1f} for each of {stages} stages")
        assert (on - off) / stages <= 40
