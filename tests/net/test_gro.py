"""GRO in the running guest: segments of a bulk transfer are merged, acknowledged fewer times, and nothing is lost."""
from lib import netstat, tcp
from lib.lan import Lan

SIZE = 4 << 20


def transfer(boot, word):
    """Bulk to the discard service, then through the echo service, in real segments: none larger than the MTU, each
    with its checksum. Returns (frames in, of them merged, frames out) of the first."""
    net = Lan()
    g = boot(net, append=f"diag {word}")
    try:
        g.ready()
        net.ns.run(["ethtool", "-K", net.taps[0], "tso", "off", "gso", "off", "tx", "off", "sg", "off"])
        before = netstat.read(net)
        with tcp.connect(net, 9) as sock:
            sock.sendall(bytes(SIZE))
            sock.shutdown(1)
            assert sock.recv(1) == b""
        after = netstat.read(net)
        with tcp.connect(net, 7) as sock:
            tcp.echo_stream(sock, SIZE)
        assert g.alive()
        return tuple(after[n] - before[n] for n in ("eth0_rx_packets", "eth0_rx_gro_merged", "eth0_tx_packets"))
    finally:
        g.close()
        net.close()


def test_bulk_is_merged_and_acknowledged_less(_tun, boot):
    """Without offloads of the device: the same bytes in as many frames, but most of them merged, and fewer ACKs."""
    frames_off, merged_off, acks_off = transfer(boot, "virtio_net.gro=0")
    frames_on, merged_on, acks_on = transfer(boot, "")
    print(f"gro=0: {frames_off} frames, {acks_off} sent; gro=1: {frames_on} frames, {merged_on} merged, {acks_on} sent")
    assert merged_off == 0
    assert frames_on > SIZE / 1460
    assert merged_on > frames_on / 2
    assert acks_on < acks_off * 0.7
