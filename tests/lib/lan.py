"""The guest's network: a namespace with one tap, or several on a bridge, whose host end is 10.0.2.1/24."""
from lib.frames import Port
from lib.netns import NetNs

HOST_IP = "10.0.2.1"
GUEST_IP = "10.0.2.2"
STATIC_IP = f"ip={GUEST_IP}::{HOST_IP}:255.255.255.0::eth0:off"


class Lan:
    """taps=1: the address is on tap0 itself. taps=n: tap0 .. tap(n-1) on br0, which has the address."""

    def __init__(self, taps=1, mtu=1500):
        self.ns = NetNs()
        self.taps = [f"tap{n}" for n in range(taps)]
        self.iface = "tap0" if taps == 1 else "br0"
        self.ports = []
        try:
            # Duplicate address detection would keep the host's link-local address unusable for a second.
            self.ns.sysctl(ipv6__conf__default__accept_dad=0, ipv6__conf__default__router_solicitations=0)
            lines = []
            if taps > 1:
                lines += ["link add br0 type bridge forward_delay 0 mcast_snooping 0"]
            for tap in self.taps:
                lines += [f"tuntap add dev {tap} mode tap", f"link set {tap} mtu {mtu} txqueuelen 1000"]
                if taps > 1:
                    lines += [f"link set {tap} master br0"]
            lines += [f"address add {HOST_IP}/24 dev {self.iface}"]
            lines += [f"link set {dev} up" for dev in [*self.taps, *(["br0"] if taps > 1 else [])]]
            self.ns.ip(*lines)
        except BaseException:
            self.ns.close()
            raise

    def port(self, iface=None):
        """A raw Ethernet socket on the host end (frames.Port), closed with the LAN."""
        with self.ns.entered():
            port = Port(iface or self.iface)
        self.ports.append(port)
        return port

    def close(self):
        """Closes what hangs on the namespace; the namespace itself goes with its last process."""
        for port in self.ports:
            port.close()
        self.ns.close()
