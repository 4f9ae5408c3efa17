"""/netstat: not only counters, but what the tables hold."""
import re

from lib import http, netstat
from lib.tcp import connect, reset
from lib.wait import wait_until


def lines(lan):
    """Every line of /netstat, by name."""
    res = http.get(lan, "/netstat", netstat.DIAG_PORT)
    assert res.status == 200
    netstat.parse(res.body.decode("ascii"))
    return dict(line.split(" ", 1) for line in res.body.decode("ascii").splitlines())


def sockets(lan):
    """The TCP sockets, as dictionaries."""
    return [dict(part.split("=", 1) for part in value.split(",")) for name, value in lines(lan).items()
            if name.startswith("tcp_socket.")]


def test_interface(module_guest, module_lan):
    """Addresses, link, rings."""
    module_guest.wait_line(r"IPv6 address \S+ is valid")
    got = lines(module_lan)
    assert got["eth0_mac"] == "52:54:00:12:34:56"
    assert got["eth0_ip"] == "10.0.2.2"
    assert got["eth0_gateway"] == "10.0.2.1"
    assert got["eth0_mtu"] == "1500"
    assert got["eth0_link"] == "up"
    assert got["eth0_ip6.0"] == "fe80::5054:ff:fe12:3456"
    for ring in ("eth0_rx_ring", "eth0_tx_ring"):
        assert re.fullmatch(r"num=256,free=\d+,state=ok", got[ring])


def test_sockets(module_guest, module_lan):  # pylint: disable=unused-argument
    """Listeners, and a connection whose peer does not read: its send queue fills; after that it is gone."""
    listening = {s["local"] for s in sockets(module_lan) if s["state"] == "listen"}
    assert listening == {"*:7", "*:9", "*:19", "*:80", "*:9100"}
    with connect(module_lan, 19, rcvbuf=4096) as s:
        me = "%s:%d" % s.getsockname()

        def full():
            mine = [t for t in sockets(module_lan) if t["remote"] == me]
            return mine and mine[0]["local"] == "10.0.2.2:19" and mine[0]["state"] == "established" and \
                int(mine[0]["sendq"]) > 65536
        wait_until(full, 20, "no full send queue")
        assert int(lines(module_lan)["tcp_sockets_established"]) >= 2  # and the one that asks
        reset(s)
    wait_until(lambda: not [t for t in sockets(module_lan) if t["remote"] == me], 20, "the socket stays")


def test_neighbours(module_guest, module_lan):  # pylint: disable=unused-argument
    """The host, by ARP and by neighbour discovery."""
    module_lan.ns.check(["ping", "-c", "1", "-W", "5", "10.0.2.2"])
    module_lan.ns.check(["ping", "-c", "1", "-W", "5", "fe80::5054:ff:fe12:3456%tap0"])
    mac = re.search(r"link/ether (\S+)", module_lan.ns.check(["ip", "link", "show", "tap0"]))[1]
    got = lines(module_lan)
    assert f"ip=10.0.2.1,mac={mac}" in [v for n, v in got.items() if n.startswith("arp.")]
    assert [v for n, v in got.items() if n.startswith("nd6.") and f",mac={mac},state=" in v]
