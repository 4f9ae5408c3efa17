"""Eight stations that follow the guest's TCP state and then do the wrong thing: options, windows, sequence numbers,
fragments in odd orders, neighbour discovery, and frames with flipped bytes. What came of the same seed differs with the
host's speed, but not what kind of thing was tried."""
import random
import select
import socket
import struct
import time

import pytest

from lib import netstat, tcp
from lib.ping import assert_answers

SEEDS = [2, 11]
SECONDS = 6
STATIONS = 8
GUEST_MAC = bytes.fromhex("525400123456")
GUEST4 = bytes([10, 0, 2, 2])
GUEST6 = socket.inet_pton(socket.AF_INET6, "fe80::5054:ff:fe12:3456")
GROUP6 = socket.inet_pton(socket.AF_INET6, "ff02::1:ff12:3456")
ALL_NODES = socket.inet_pton(socket.AF_INET6, "ff02::1")
FIN, SYN, RST, ACK = 1, 2, 4, 16
PORTS = [7, 9, 19, 80, 80, 7, 9100]
REQUESTS = [b"GET /1k HTTP/1.1\r\nHost: a\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n", b"GET /netstat HTTP/1.1\r\nHost: b\r\n\r\n"]


def checksum(data):
    """RFC 1071."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def mac(i):
    """Of station i."""
    return bytes([2, 0, 0, 0, 0, i])


def ip4(i):
    """Of station i."""
    return bytes([10, 0, 2, 100 + i])


def ip6(i):
    """Of station i."""
    return bytes.fromhex("fe80" + "00" * 9 + "fffe") + bytes([0, 1, i])


def ether(i, kind, payload, dst=GUEST_MAC):
    """A frame from station i."""
    return dst + mac(i) + struct.pack("!H", kind) + payload


def packet4(i, proto, payload, ident, frag=0):
    """An IPv4 frame."""
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), ident, frag, 64, proto, 0, ip4(i), GUEST4)
    return ether(i, 0x0800, head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload)


def packet6(i, proto, payload, dst=GUEST6, dst_mac=GUEST_MAC):
    """An IPv6 frame."""
    return ether(i, 0x86dd, struct.pack("!IHBB", 0x60000000, len(payload), proto, 255) + ip6(i) + dst + payload, dst_mac)


def with_sum(v6, i, proto, payload, offset, dst=GUEST6):
    """payload with the checksum over the pseudo header at offset."""
    if v6:
        pseudo = ip6(i) + dst + struct.pack("!IHBB", len(payload), 0, 0, proto)
    else:
        pseudo = ip4(i) + GUEST4 + struct.pack("!BBH", 0, proto, len(payload))
    payload = payload[:offset] + b"\0\0" + payload[offset + 2:]
    return payload[:offset] + struct.pack("!H", checksum(pseudo + payload)) + payload[offset + 2:]


def segment(key, seq, ack, flags, data=b"", window=65535, options=b""):
    """The TCP segment of connection key = (station, IPv6, source port, destination port)."""
    i, v6, sport, dport = key
    head = struct.pack("!HHIIBBHHH", sport, dport, seq & 0xffffffff, ack & 0xffffffff, (20 + len(options)) // 4 << 4,
                       flags, window, 0, 0)
    return with_sum(v6, i, 6, head + options + data, 16)


def option(kind, data):
    """A TCP option."""
    return bytes([kind, 2 + len(data)]) + data


class Fuzzer:
    """conns: of each connection what we send next, and what the guest sends next (None: not answered yet)."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.conns = {}

    def chance(self, p):
        """True with probability p."""
        return self.rng.random() < p

    def carry(self, i, v6, proto, payload):
        """Frames with the payload: whole or in fragments, some of them twice, missing, overlapping or out of order."""
        r, ident, out = self.rng, self.rng.randrange(65536), []
        if len(payload) <= 1400 and (self.chance(0.75) or len(payload) < 16):
            return [packet6(i, proto, payload) if v6 else packet4(i, proto, payload, ident)]
        at = 0
        while at < len(payload):
            n = min(len(payload) - at, 8 * r.choice([1, 2, 3, 4, 5, 8, 20, 100, 180]))
            more, part = at + n < len(payload), payload[at:at + n]
            offset = max(0, at + 8 * r.randrange(-3, 3)) if self.chance(0.03) else at
            if v6:
                out.append(packet6(i, 44, struct.pack("!BBHI", proto, 0, offset & 0xfff8 | more, ident) + part))
            else:
                out.append(packet4(i, proto, part, ident, offset // 8 & 0x1fff | (0x2000 if more else 0)))
            at += n
        if self.chance(0.5):
            r.shuffle(out)
        if self.chance(0.2):
            out.pop()
        return (out + out[:self.chance(0.1)])[:60]

    def options(self):
        """Up to 40 bytes of TCP options, well formed or not."""
        r, out = self.rng, b""
        for _ in range(r.randrange(5)):
            kind = r.choice([0, 1, 1, 2, 3, 4, 5, 5, 8, 14, 30, r.randrange(256)])
            if kind < 2:
                out += bytes([kind])
            elif kind == 2:
                out += option(2, r.choice([0, 1, 48, 536, 1460, 65535]).to_bytes(2, "big"))
            elif kind == 3:
                out += option(3, bytes([r.randrange(20)]))
            elif kind == 5:
                out += bytes([5, r.choice([10, 18, 2, 255])]) + r.randbytes(8)
            else:
                n = r.randrange(8)
                out += bytes([kind, n + 2 if self.chance(0.9) else r.randrange(256)]) + r.randbytes(n)
        out = out[:40]
        return out + b"\1" * (-len(out) % 4)

    def tcp_open(self, i, v6):
        """A SYN."""
        r = self.rng
        key = (i, v6, r.randrange(1024, 1100), r.choice(PORTS))
        seq = r.getrandbits(32)
        self.conns[key] = [seq + 1, None]
        flags = SYN if self.chance(0.95) else r.randrange(256)
        data = b"" if self.chance(0.95) else r.randbytes(30)
        return self.carry(i, v6, 6, segment(key, seq, 0, flags, data, r.choice([0, 1, 100, 65535, 65535]), self.options()))

    def tcp_next(self):
        """Something for a connection that there is: what comes next, or what does not."""
        r = self.rng
        key = r.choice(list(self.conns))
        i, v6 = key[:2]
        conn = self.conns[key]
        if conn[1] is None and self.chance(0.9):
            return []
        ack = r.getrandbits(32) if conn[1] is None else conn[1]
        window = r.choice([0, 1, 100, 1460, 65535])
        data = r.choice([REQUESTS[0] * r.randrange(1, 50), *REQUESTS[1:], r.randbytes(1460)])[:1460]
        n = r.choice([0, 0, 1, 1, 5, 50, 536, 1400, 1460])
        if not n or self.chance(0.6):
            data = data[:n]
        dice, seq, flags, options = r.random(), conn[0], r.randrange(256), self.options()
        if dice < 0.5:
            conn[0] += len(data)
            flags, options = ACK | r.choice([0, 8]), options if self.chance(0.3) else b""
        elif dice < 0.8:
            seq += r.choice([-1, 0, 1, 10, 100, 1460, 2920, -1460, -5, 20000, 65535, 128480, 128479,
                             r.randrange(-200000, 200000)])
            ack += r.choice([0, 0, 0, -1, 1, 1000, -1000, 70000])
            flags = ACK | r.choice([0, FIN, 8, 0, 0, 32, RST, SYN])
        elif dice < 0.83:
            conn[0] += len(data) + 1
            flags, options = ACK | FIN, b""
        elif dice < 0.87:
            del self.conns[key]
            if dice > 0.84:
                return []  # forgotten
            flags, data, options = RST, b"", b""
        else:
            seq, ack = seq + r.randrange(-3, 4), ack + r.randrange(-3, 4)
        return self.carry(i, v6, 6, segment(key, seq, ack, flags, data, window, options))

    def icmp(self, i, v6):
        """Pings up to the largest, and other types."""
        r = self.rng
        payload = r.randbytes(4 + r.choice([0, 1, 10, 500, 1472, 3000, 8000, 20000, 60000]))
        if v6:
            return self.carry(i, True, 58, with_sum(True, i, 58, bytes([128, 0, 0, 0]) + payload, 2))
        payload = bytes([r.choice([8, 8, 8, r.randrange(20)]), 0, 0, 0]) + payload
        return self.carry(i, False, 1, payload[:2] + struct.pack("!H", checksum(payload)) + payload[4:])

    def udp(self, i, v6):
        """To echo, discard and the DHCP client, some with a length that is not true."""
        r, n = self.rng, self.rng.choice([0, 1, 10, 500, 1472, 3000, 20000])
        head = struct.pack("!HHHH", r.choice([7, 19, 68, 53, r.randrange(65536)]), r.choice([7, 9, 68, r.randrange(65536)]),
                           8 + n if self.chance(0.9) else r.randrange(65536), 0)
        return self.carry(i, v6, 17, with_sum(v6, i, 17, head + r.randbytes(n), 6))

    def arp(self, i):
        """Requests and replies, the guest's own address among the senders."""
        r = self.rng
        body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, r.choice([1, 2, 1, 2, r.randrange(65536)])) + mac(i)
        body += r.choice([ip4(i), GUEST4, bytes(4)]) + r.choice([GUEST_MAC, bytes(6)])
        body += r.choice([GUEST4, GUEST4, ip4(2)]) + r.randbytes(r.randrange(20))
        return [ether(i, 0x0806, body, r.choice([GUEST_MAC, b"\xff" * 6]))]

    def icmp6(self, i):
        """Neighbour discovery, multicast listeners and errors, with options."""
        r = self.rng
        bodies = {
            133: bytes(4),
            134: r.randbytes(2) + struct.pack("!HII", r.choice([0, 1, 5, 1800, 65535]), r.choice([0, r.randrange(65536)]), 0),
            135: bytes(4) + r.choice([GUEST6, ip6(i), r.randbytes(16)]),
            136: r.choice([b"\x60", b"\xe0", b"\0", b"\x20"]) + bytes(3) + r.choice([ip6(i), GUEST6, r.randbytes(16)]),
            137: bytes(4) + r.choice([ip6(i), r.randbytes(16)]) + r.choice([ip6(i + 1), GUEST6]),
            130: struct.pack("!HH", r.choice([0, 1, 1000, 65535]), 0) + r.choice([bytes(16), GROUP6]),
            131: bytes(4) + GROUP6,
        }
        kind = r.choice([*bodies, 132, 143, 1, 2, 3, 4, 128])
        body = bodies.get(kind) or r.randbytes(r.randrange(4, 60))
        for _ in range(r.randrange(4)):
            opt = r.choice([1, 1, 2, 2, 3, 3, 5, r.randrange(256)])
            if opt in (1, 2):
                body += bytes([opt, 1]) + mac(i)
            elif opt == 3:
                body += bytes([3, 4, r.choice([64, 0, 128, 63, 65]), r.choice([0xc0, 0x40, 0x80, 0])])
                body += struct.pack("!III", r.choice([0, 1, 5, 7200, 0xffffffff]), r.choice([0, 1, 5, 0xffffffff]), 0)
                body += bytes([0xfd, 0, r.randrange(8)]) + bytes(13)
            elif opt == 5:
                body += bytes([5, 1, 0, 0]) + struct.pack("!I", r.choice([0, 68, 600, 1280, 1500, 9000, 0xffffffff]))
            else:
                body += bytes([opt, r.randrange(3)]) + r.randbytes(6)
        dst = r.choice([GUEST6, GUEST6, ALL_NODES, GROUP6])
        payload = with_sum(True, i, 58, bytes([kind, r.choice([0, 0, 0, 1]), 0, 0]) + body, 2, dst)
        dst_mac = r.choice([GUEST_MAC, b"\x33\x33\0\0\0\1"])
        if self.chance(0.15):  # behind a hop-by-hop header
            return [packet6(i, 0, bytes([58, 0, 5, 2, 0, 0, 1, 0]) + payload, dst, dst_mac)]
        return [packet6(i, 58, payload, dst, dst_mac)]

    def flipped(self, i, v6):
        """Any protocol, some bytes wrong, cut anywhere."""
        r = self.rng
        proto = r.choice([6, 17, 1, 58, 2, 0, r.randrange(256)])
        frame = bytearray(r.choice(self.carry(i, v6, proto, r.randbytes(r.randrange(200))) or [bytes(60)]))
        for _ in range(r.randrange(1, 6)):
            frame[r.randrange(12, len(frame))] = r.randrange(256)
        return [bytes(frame[:r.randrange(14, len(frame) + 1)])]

    def frames(self):
        """The next few."""
        i, v6, dice = self.rng.randrange(STATIONS), self.chance(0.35), self.rng.random()
        if dice < 0.1:
            return self.tcp_open(i, v6)
        if dice < 0.62 and self.conns:
            return self.tcp_next()
        if dice < 0.72:
            return self.icmp(i, v6)
        if dice < 0.8:
            return self.udp(i, v6)
        if dice < 0.86:
            return self.arp(i)
        return self.icmp6(i) if dice < 0.96 else self.flipped(i, v6)

    def heard(self, frame):
        """Follows what the guest sends. Returns the frame to answer with, or None."""
        kind = frame[12:14]
        if kind == b"\x08\x06" and frame[21] == 1 and frame[38:41] == ip4(0)[:3] and 100 <= frame[41] < 100 + STATIONS:
            i = frame[41] - 100
            return ether(i, 0x0806, struct.pack("!HHBBH", 1, 0x0800, 6, 4, 2) + mac(i) + ip4(i) + frame[22:28] + GUEST4)
        if kind == b"\x86\xdd" and frame[20] == 58 and frame[54] == 135 and frame[62:77] == ip6(0)[:15]:
            i = frame[77]
            body = bytes([136, 0, 0, 0, 0x60, 0, 0, 0]) + ip6(i) + bytes([2, 1]) + mac(i)
            return packet6(i, 58, with_sum(True, i, 58, body, 2)) if i < STATIONS else None
        if kind == b"\x08\x00" and frame[23] == 6 and 100 <= frame[33] < 100 + STATIONS:
            i, v6, at, length = frame[33] - 100, False, 34, int.from_bytes(frame[16:18], "big") - 20
        elif kind == b"\x86\xdd" and frame[20] == 6 and frame[38:53] == ip6(0)[:15]:
            i, v6, at, length = frame[53], True, 54, int.from_bytes(frame[18:20], "big")
        else:
            return None
        sport, dport, seq, _, offset, flags = struct.unpack("!HHIIBB", frame[at:at + 14])
        key = (i, v6, dport, sport)
        if flags & RST:
            self.conns.pop(key, None)
            return None
        conn = self.conns.get(key)
        after = seq + length - (offset >> 4) * 4 + bool(flags & FIN) + bool(flags & SYN) & 0xffffffff
        if conn and (conn[1] is None or (after - conn[1] & 0xffffffff) < 1 << 31 and self.chance(0.95)):
            conn[1] = after
        return None


def converse(port, fuzzer):
    """Answers what has arrived."""
    while select.select([port.sock], [], [], 0)[0]:
        frame, addr = port.sock.recvfrom(65536)
        if addr[2] != socket.PACKET_OUTGOING and frame[6:12] == GUEST_MAC:
            answer = fuzzer.heard(frame)
            if answer:
                port.send(answer)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_fuzz(guest, lan, seed):
    """The guest lives, serves, and gets everything back, though nobody answers or resets what was left open: reassembly
    after a minute, unanswered data after six tries, silent connections by keepalive after two minutes."""
    guest.wait_line(r"IPv6 address \S+ is valid")
    before = netstat.read(lan)
    port, fuzzer, sent = lan.port(), Fuzzer(seed), 0
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and guest.alive():
        for _ in range(20):
            for frame in fuzzer.frames():
                port.send(frame)
                sent += 1
        converse(port, fuzzer)
        time.sleep(0.004)
    where = f"seed {seed}, {sent} frames"
    assert guest.alive(), f"{where}: {guest.panics()}\n{guest.log.tail()}"
    assert sent > 1000, where
    try:
        assert_answers(lan, "10.0.2.2")
        tcp.assert_echo(lan)
        netstat.settled(lan, before, timeout=240)
    except (AssertionError, OSError) as e:
        raise AssertionError(f"{where}: {e}") from e
    assert guest.alive(), f"{where}: {guest.panics()}\n{guest.log.tail()}"
