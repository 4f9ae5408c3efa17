"""Each feature of the ring and the device, on and off: what the guest says it negotiated, and that it serves the same."""
import pytest

from lib import netstat, tcp
from lib.ping import assert_answers, assert_lossless, ping

MIB = 1 << 20
# word of the command line -> what is needed of the device
WORDS = {"event_idx": "", "indirect": "", "ctrl_vq": "", "packed": "packed=on,disable-legacy=on"}
PACKED = WORDS["packed"]


def features(lan):
    """What was negotiated."""
    return set(netstat.read(lan).texts["eth0_features"].split(","))


def flood(lan, count, *options):
    """So many requests as fast as they are answered; fewer than one in a thousand may get lost on a busy host."""
    p = ping(lan, "10.0.2.2", "-f", "-q", *options, count=count, timeout=120)
    assert p.lost <= count // 1000, p.text


def exercise(lan, guest):
    """A flood, and 4 MiB byte-exact, without a trace."""
    with netstat.leaves_no_trace(guest):
        assert_answers(lan, "10.0.2.2", "-s", "1400")
        flood(lan, 3000)
        tcp.assert_echo(lan, size=4 * MIB)


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("on", [1, 0])
def test_on_and_off(lan, boot, word, on):
    """virtio_net.<word>=1 and =0."""
    g = boot(lan, image="test", append=f"diag virtio_net.{word}={on}", nic=WORDS[word])
    g.ready()
    assert (word in features(lan)) == bool(on)
    exercise(lan, g)


@pytest.mark.parametrize("nic,word", [("event_idx=off", "event_idx"), ("indirect_desc=off", "indirect"),
                                      ("disable-modern=on,disable-legacy=off", "version_1")])
def test_not_offered(lan, boot, nic, word):
    """A device without the feature is served without it; what it has is used, by a legacy device, too."""
    g = boot(lan, image="test", append="diag", nic=nic)
    g.ready()
    got = features(lan)
    assert word not in got
    assert {"event_idx", "indirect"} - {word} <= got
    exercise(lan, g)


@pytest.mark.parametrize("words", ["virtio_net.event_idx=0", "virtio_net.indirect=0",
                                   "virtio_net.event_idx=0 virtio_net.indirect=0"])
def test_packed_with_less(lan, boot, words):
    """The packed ring without what it can do besides."""
    g = boot(lan, image="test", append=f"diag {words}", nic=PACKED)
    g.ready()
    assert "packed" in features(lan)
    exercise(lan, g)


@pytest.mark.parametrize("nic", ["vectors=0", "vectors=2", "rx_queue_size=1024"])
def test_packed_by_other_interrupts(lan, boot, nic):
    """The packed ring by INTx, by a shared vector, and a longer one."""
    g = boot(lan, image="test", append="diag", nic=f"{PACKED},{nic}")
    g.ready()
    assert "packed" in features(lan)
    exercise(lan, g)


def test_packed_on_mmio(lan, boot):
    """The packed ring by virtio-mmio."""
    g = boot(lan, image="test", machine="microvm", mmio=2, append="diag", nic="packed=on")
    g.ready()
    assert "packed" in features(lan)
    exercise(lan, g)


@pytest.mark.parametrize("nic", ["", PACKED])
@pytest.mark.parametrize("event_idx", [1, 0])
def test_lone_ping_is_cheap(lan, boot, event_idx, nic):
    """One interrupt and one doorbell for each request that comes alone, at most."""
    g = boot(lan, append=f"diag virtio_net.event_idx={event_idx}", nic=nic)
    g.ready()
    assert_answers(lan, "10.0.2.2")
    before = netstat.read(lan)
    after = netstat.read(lan)  # what a reading itself costs, once
    own = {n: after[n] - before[n] for n in ("eth0_interrupts", "eth0_kicks")}
    before = after
    assert_lossless(lan, "10.0.2.2", "-i", "0.02", count=100)
    after = netstat.read(lan)
    for name, cost in own.items():
        spent = after[name] - before[name] - cost
        print(f"event_idx={event_idx} {nic}: {spent} {name} for 100 requests")
        # Besides the requests there are an ARP query or two, and whatever the host multicasts.
        assert spent <= 110, (name, spent)


@pytest.mark.parametrize("nic", ["", PACKED])
def test_a_burst_rings_once(lan, boot, nic):
    """Under a flood most buffers go without a doorbell of their own, and most interrupts announce more than one."""
    g = boot(lan, append="diag", nic=nic)
    g.ready()
    before = netstat.read(lan)
    flood(lan, 20000, "-l", "64")
    after = netstat.read(lan)
    packets = after["eth0_rx_packets"] - before["eth0_rx_packets"]
    kicks, interrupts = (after[n] - before[n] for n in ("eth0_kicks", "eth0_interrupts"))
    print(f"{packets} packets in, {kicks} kicks, {interrupts} interrupts")
    assert packets >= 20000
    assert kicks < packets / 2 and interrupts < packets / 2
