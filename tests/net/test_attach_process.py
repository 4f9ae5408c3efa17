"""Another process between guest and host: DPDK's testpmd as the device (vhost-user), QEMU's own NAT (user), frames over
a stream socket (stream)."""
import pytest

from lib.attach import Station, exercise, link_by_qemu
from lib.testpmd import Pmd
from lib.wire import StreamWire


@pytest.fixture
def station(_tun):
    """A namespace with lo only."""
    s = Station()
    yield s
    s.close()


def test_vhost_user(station, boot, tmp_path):
    """A device that somebody else wrote, in another process, on memory shared with it. Without MSI-X: QEMU 7.2 under TCG
    crashes with both."""
    with Pmd(station, tmp_path) as pmd:
        g = boot(station, image="test", append="diag", machine="q35,memory-backend=mem0", nic="vectors=0",
                 netdev="vhost-user,id=n0,chardev=vu0",
                 extra=["-object", "memory-backend-memfd,id=mem0,size=256M,share=on",
                        "-chardev", f"socket,id=vu0,path={pmd.socket}"])
        g.ready()
        exercise(station, g)
        link_by_qemu(station, g)
        g.close()


def test_stream(lan, boot):
    """Frames over a stream socket, each with its length; the peer at the other end is ours, and hands them to a tap."""
    wire = StreamWire(lan)
    try:
        g = boot(lan, image="test", append="diag", **wire.netdev())
        g.ready()
        exercise(lan, g)
        link_by_qemu(lan, g)
        g.close()
    finally:
        wire.close()


def test_user(station, boot):
    """QEMU's NAT: an address by its DHCP, and what it forwards from the host's loopback. It passes no ping inwards."""
    forwards = ",".join(f"hostfwd={proto}:127.0.0.1:{port}-:{port}" for proto, port in
                        (("tcp", 7), ("tcp", 9), ("tcp", 19), ("tcp", 80), ("tcp", 9100), ("udp", 7)))
    g = boot(station, image="test", ip="ip=dhcp", append="diag", netdev=f"user,id=n0,{forwards}")
    assert g.ready().ip == "10.0.2.15"
    exercise(station, g, "127.0.0.1", icmp=False)
    link_by_qemu(station, g, "127.0.0.1", icmp=False)
