"""Where randomness comes from: the log says it, and without any hardware source there is a warning, or no TCP."""
import pytest

from lib import tcp
from lib.ping import assert_answers


@pytest.mark.parametrize("cpu,rng,word", [("max", False, "rdrand"), ("max", True, "rdrand|virtio"),
                                          ("qemu64", True, "virtio")])
def test_source_is_named(lan, boot, cpu, rng, word):
    """RDRAND, or virtio-rng where the CPU has none."""
    g = boot(lan, cpu=cpu, rng=rng)
    g.ready()
    assert g.log.find(rf"(?i)random: .*({word})"), g.log.tail()
    assert not g.log.find(r"random: .*jitter"), g.log.tail()


def test_no_source_warns_once(lan, boot):
    """One warning, and service."""
    g = boot(lan, cpu="qemu64", rng=False)
    g.ready()
    assert len(g.log.find(r"(?i)random: .*jitter")) == 1, g.log.tail()
    tcp.assert_echo(lan)


def test_strict_refuses_tcp(lan, boot):
    """random.strict without a source: ping, but no TCP."""
    g = boot(lan, cpu="qemu64", rng=False, append="random.strict")
    g.wait_line(r"(?i)random.*(strict|refus)")
    g.wait_line(r"eth0.*10\.0\.2\.2|^barewire: ready")
    assert_answers(lan, "10.0.2.2")
    with pytest.raises(OSError):
        tcp.connect(lan, tcp.ECHO, timeout=4)
    assert g.alive()


def test_strict_with_a_source_serves(lan, boot):
    """random.strict where there is a source changes nothing."""
    boot(lan, append="random.strict").ready()
    tcp.assert_echo(lan)
