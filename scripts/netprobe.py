"""Asks a guest and watches its own question: did it leave, did an answer come in, did the answer arrive. Where those
three part is where to look. For scripts/doctor; needs packet sockets (root in the namespace)."""
import errno
import fcntl
import os
import select
import socket
import struct
import time
from dataclasses import dataclass, field

ETH_P_ALL, ETH_P_ARP, ETH_P_IP = 3, 0x0806, 0x0800
ICMP, TCP = 1, 6


@dataclass
class Way:
    """What became of a question. refused: what the kernel said to it."""
    left: bool = False
    came_back: bool = False
    arrived: bool = False
    refused: str = ""


@dataclass
class Watch:
    """Packet sockets on interfaces."""
    socks: dict = field(default_factory=dict)

    def add(self, iface):
        """Raises PermissionError without the right to, OSError if the interface is not fit for it."""
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        sock.bind((iface, ETH_P_ALL))
        self.socks[iface] = sock

    def close(self):
        """Idempotent."""
        for sock in self.socks.values():
            sock.close()
        self.socks = {}

    def frames(self, deadline, also=()):
        """Yields (interface, going out, frame) until the deadline, and (None, False, sock) when one of `also` is ready."""
        names = {sock: name for name, sock in self.socks.items()}
        while (left := deadline - time.monotonic()) > 0:
            for sock in select.select([*names, *also], [], [], left)[0]:
                if sock in names:
                    data, addr = sock.recvfrom(2048)
                    yield names[sock], addr[2] == socket.PACKET_OUTGOING, data
                else:
                    yield None, False, sock


def mac_text(raw):
    """Six bytes as 52:54:00:..."""
    return raw.hex(":")


def ask_arp(iface, ip, own_ip, watched=()):
    """Who has ip? Returns (MACs that answered, {source MAC: interfaces it was seen coming in by}). Asked twice, so that
    a second station gets its word in, and once more if nobody has answered."""
    watch, answers, seen = Watch(), set(), {}
    try:
        for name in {iface, *watched}:
            watch.add(name)
        sock = watch.socks[iface]
        own = fcntl.ioctl(sock, 0x8927, struct.pack("256s", iface.encode()))[18:24]  # SIOCGIFHWADDR
        target = socket.inet_aton(ip)
        request = (b"\xff" * 6 + own + struct.pack("!HHHBBH", ETH_P_ARP, 1, ETH_P_IP, 6, 4, 1) + own
                   + socket.inet_aton(own_ip or "0.0.0.0") + bytes(6) + target)
        for patience in (0.3, 0.5, 1.2):
            if answers and patience > 1:
                break
            sock.send(request)
            for name, out, frame in watch.frames(time.monotonic() + patience):
                if out:
                    continue
                if name != iface or not watched:
                    seen.setdefault(mac_text(frame[6:12]), set()).add(name)
                if frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\2" and frame[28:32] == target:
                    answers.add(mac_text(frame[22:28]))
    finally:
        watch.close()
    return answers, seen


def checksum(data):
    """RFC 1071."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def ip_payload(frame, protocol):
    """(source, destination, what IP carries) of an IPv4 frame of that protocol, or None."""
    if frame[12:14] != b"\x08\x00" or len(frame) < 34 or frame[23] != protocol:
        return None
    return socket.inet_ntoa(frame[26:30]), socket.inet_ntoa(frame[30:34]), frame[14 + (frame[14] & 15) * 4:]


def ask_ping(iface, ip, seconds=2.0):
    """Two echo requests, and where each got to."""
    way, watch = Way(), Watch()
    ident = os.getpid() & 0xffff
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, ICMP) as sock:
        try:
            watch.add(iface)
            for seq in (1, 2):
                body = struct.pack("!HH", ident, seq) + b"barewire doctor."
                try:
                    sock.sendto(struct.pack("!BBH", 8, 0, checksum(b"\x08\0\0\0" + body)) + body, (ip, 0))
                except OSError as e:
                    way.refused = errno.errorcode.get(e.errno, str(e))
                for _, out, what in watch.frames(time.monotonic() + seconds / 2, [sock]):
                    if what is sock:
                        packet = sock.recv(2048)
                        payload = packet[(packet[0] & 15) * 4:]
                        way.arrived |= payload[0] == 0 and payload[4:6] == body[:2] and socket.inet_ntoa(packet[12:16]) == ip
                    elif (found := ip_payload(what, ICMP)) and found[2][4:6] == body[:2]:
                        way.left |= out and found[1] == ip
                        way.came_back |= not out and found[0] == ip and found[2][0] == 0
                    if way.arrived:
                        return way
        finally:
            watch.close()
    return way


def ask_tcp(iface, ip, port, seconds=3.0):
    """A connection, and where its SYN and the answer got to. A refusal by the guest is an answer."""
    way, watch = Way(), Watch()
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        try:
            watch.add(iface)
            sock.setblocking(False)
            status = sock.connect_ex((ip, port))
            if status not in (0, errno.EINPROGRESS, errno.ECONNREFUSED):
                way.refused = errno.errorcode.get(status, str(status))
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                for _, out, frame in watch.frames(min(deadline, time.monotonic() + 0.05)):
                    if (found := ip_payload(frame, TCP)) and len(found[2]) >= 4:
                        ports = struct.unpack("!HH", found[2][:4])
                        way.left |= out and found[1] == ip and ports[1] == port
                        way.came_back |= not out and found[0] == ip and ports[0] == port
                if select.select([], [sock], [], 0)[1]:
                    status = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    way.arrived = status in (0, errno.ECONNREFUSED)
                    if not way.arrived:
                        way.refused = errno.errorcode.get(status, str(status))
                    return way
        finally:
            watch.close()
    return way
