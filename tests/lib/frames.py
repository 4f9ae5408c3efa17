"""Raw Ethernet from the host's side: scapy builds and reads the frames, a packet socket carries them.

scapy's own send and sniff functions keep routes and interfaces in globals read at import time, in another
namespace than the test's; so they are not used.
"""
import fcntl
import logging
import select
import socket
import struct
import time

logging.getLogger("scapy.runtime").setLevel(logging.ERROR)  # complains of missing routes when imported

# pylint: disable=wrong-import-position
from scapy.layers.l2 import ARP, Ether  # noqa: E402

BROADCAST = "ff:ff:ff:ff:ff:ff"
ETH_P_ALL = 3


class Port:
    """A packet socket on one interface. Make it inside the namespace (Lan.port())."""

    def __init__(self, iface):
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.sock.bind((iface, ETH_P_ALL))
        raw = fcntl.ioctl(self.sock, 0x8927, struct.pack("256s", iface.encode()))  # SIOCGIFHWADDR
        self.mac = raw[18:24].hex(":")

    def close(self):
        """Idempotent."""
        self.sock.close()

    def send(self, frame):
        """frame: bytes or a scapy packet."""
        self.sock.send(bytes(frame))

    def drain(self):
        """Forgets what has arrived so far."""
        while select.select([self.sock], [], [], 0)[0]:
            self.sock.recv(65536)

    def frames(self, timeout):
        """Yields incoming frames (bytes, not our own) until the deadline."""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([self.sock], [], [], left)[0]:
                return
            data, addr = self.sock.recvfrom(65536)
            if addr[2] != socket.PACKET_OUTGOING:
                yield data

    def expect(self, match, timeout=5):
        """The first incoming frame, as a scapy packet, for which match(packet) is true; None at the deadline."""
        for data in self.frames(timeout):
            pkt = Ether(data)
            if match(pkt):
                return pkt
        return None

    def arp(self, ip, own_ip, timeout=5):
        """Asks who has ip; returns the MAC or None."""
        self.send(Ether(dst=BROADCAST, src=self.mac) / ARP(op=1, hwsrc=self.mac, psrc=own_ip, pdst=ip))
        reply = self.expect(lambda p: ARP in p and p[ARP].op == 2 and p[ARP].psrc == ip, timeout)
        return reply[ARP].hwsrc if reply else None
