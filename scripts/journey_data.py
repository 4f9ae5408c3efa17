"""What make journey measures with: frames as the tap saw them, the guest's records, and the parts of a round trip.

Times of the host are nanoseconds of CLOCK_REALTIME; times of the guest microseconds of its own clock.
"""
import json
import re
import socket
import struct
from dataclasses import dataclass, field

ETH_P_ALL, ETH_P_IP, PACKET_OUTGOING = 3, 0x0800, 4
SO_TIMESTAMPNS = 35  # asm-generic/socket.h; Python's socket module does not name it
ICMP_ECHO_REPLY, ICMP_ECHO = 0, 8
HOST_PID, GUEST_PID = 2, 1  # of the trace; the guest's own is 1


# ------------------------------------------------------------------- the tap

@dataclass
class Frame:
    """An IPv4 frame on the tap, and when. Sent: by us, to the guest."""
    ns: int
    sent: bool
    length: int
    protocol: int
    ports: tuple  # of TCP and UDP
    l4: bytes     # the header behind IP's, and what follows

    @property
    def payload(self):
        """Bytes behind TCP's header; only for TCP."""
        return self.l4[(self.l4[12] >> 4) * 4:]

    def echo(self, kind):
        """(id, seq) of an ICMP echo of that kind, or None."""
        return struct.unpack_from("!HH", self.l4, 4) if self.protocol == socket.IPPROTO_ICMP and self.l4[0] == kind else None


class Tap:
    """Every frame on an interface with the kernel's time stamp: for one that we send just before the driver gets it, for
    one that comes as soon as QEMU has written it. The stamps are made whether or not somebody reads, so nobody has to
    run, and take the CPU from QEMU, while a packet is under way."""

    def __init__(self, ifname):
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.sock.bind((ifname, ETH_P_ALL))
        self.sock.setblocking(False)

    def frames(self):
        """The IPv4 frames since the last time."""
        found = []
        while True:
            try:
                data, control, _, address = self.sock.recvmsg(65536, 64)
            except BlockingIOError:
                return found
            stamp = next(value for level, kind, value in control if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS))
            seconds, ns = struct.unpack("@ll", stamp)
            if len(data) < 34 or struct.unpack_from("!H", data, 12)[0] != ETH_P_IP:
                continue
            l4 = data[14 + (data[14] & 15) * 4:14 + struct.unpack_from("!H", data, 16)[0]]
            ports = struct.unpack_from("!HH", l4) if data[23] in (socket.IPPROTO_TCP, socket.IPPROTO_UDP) else (0, 0)
            found.append(Frame(seconds * 10**9 + ns, address[2] == PACKET_OUTGOING, len(data), data[23], ports, l4))


# --------------------------------------------------------- the guest's records

@dataclass
class Record:
    """One packet's journey. stages: (name, microseconds since the first), in the order of time, up to the doorbell."""
    number: int
    title: str
    length: int
    at: float
    received: bool  # not sent of the guest's own accord
    stages: list = field(default_factory=list)
    text: str = ""

    @property
    def share(self):
        """From its first stage, which is the interrupt unless it came into a poll that went on, to the doorbell."""
        return self.stages[-1][1] if self.stages else 0.0


def records_of_text(text):
    """/journey as records, each with its own part of the text."""
    records = []
    for part in re.split(r"\n(?= /\* \d+: )", text)[1:]:
        m = re.match(r" /\* (\d+): (.*), (\d+) bytes, at ([\d.]+) s(.*) \*/\n(?: /\* (.*) = ([\d.]+) us to (\w+) \*/\n)?", part)
        record = Record(int(m[1]), m[2], int(m[3]), float(m[4]) * 1e6, "of our own accord" not in m[5], text=part.rstrip())
        if m[6]:
            at = 0.0
            for name, us in re.findall(r"(\w+) ([\d.]+)", m[6]):
                record.stages.append((name, at))
                at = round(at + float(us), 3)
            record.stages.append((m[8], at))
        records.append(record)
    return records


def records_of_json(trace):
    """The same of /journey.json."""
    records = {}
    for event in trace["traceEvents"]:
        args = event["args"]
        if event.get("cat") == "packet":
            records[args["packet"]] = Record(args["packet"], event["name"], args["bytes"], event["ts"], not args["tx_only"])
        elif event.get("cat") == "stage" and args["stage"] != "complete":
            record = records[args["packet"]]
            record.stages.append((args["stage"], round(event["ts"] - record.at, 3)))
    return list(records.values())


def pair(sent, records):
    """Which frame a record is about: the tap, and the guest's receive ring behind it, keep the order, so the first record
    of a received frame is about the first that was sent, and so on. Returns {index into sent: record}."""
    received = [r for r in records if r.received]
    pairs = dict(enumerate(received[:len(sent)]))
    for i, record in pairs.items():
        if record.length != sent[i].length:
            raise ValueError(f"frame {i + 1} on the tap has {sent[i].length} bytes and the guest's record {record.length}")
    return pairs


# ------------------------------------------------------------ a round trip's parts

PARTS = ("host out", "QEMU", "guest", "host in")
WITHIN = 0.05


@dataclass
class Exchange:
    """What the host knows: when the program sent, the request and the answer on the tap, when the program had it (all ns),
    and the round-trip time that the program measured (us): to when it had the answer, or (ping) to the stamp on the tap."""
    label: str
    sent: int
    out: int
    back: int
    received: int
    rtt: float
    request: int  # index into the frames sent
    to_tap: bool = False


@dataclass
class Trip:
    """An exchange and the guest's record of it, in microseconds."""
    exchange: Exchange
    record: Record

    @property
    def parts(self):
        """Microseconds by the names in PARTS. QEMU: what the guest does not have of the time between the stamps on the tap."""
        e = self.exchange
        return {"host out": (e.out - e.sent) / 1e3, "QEMU": (e.back - e.out) / 1e3 - self.record.share,
                "guest": self.record.share, "host in": (e.received - e.back) / 1e3}

    @property
    def total(self):
        """The sum of the parts that the RTT is made of."""
        return sum(self.parts.values()) - (self.parts["host in"] if self.exchange.to_tap else 0)

    @property
    def off(self):
        """How far that is from the RTT, as a share of it."""
        return abs(self.total - self.exchange.rtt) / self.exchange.rtt

    @property
    def sound(self):
        """The parts add up, and none is negative."""
        return self.off <= WITHIN and min(self.parts.values()) >= 0


# --------------------------------------------------------------- for Perfetto

def merged(trace, trips):
    """The guest's trace with the host's share as a process of its own. The clocks share no zero, so each round trip is laid
    so that the guest's share is in the middle of the time between its stamps on the tap."""
    trace["otherData"]["clocks"] = ("guest and host share no zero: each packet's host times are shifted so that the guest's "
                                    "share is in the middle of the time between the two stamps on the tap")
    events = trace["traceEvents"]
    for pid, name in ((GUEST_PID, "guest"), (HOST_PID, "host")):
        events.append({"name": "process_name", "ph": "M", "pid": pid, "tid": 0, "args": {"name": name}})
    for trip in trips:
        e, parts = trip.exchange, trip.parts
        zero = trip.record.at - parts["QEMU"] / 2 - parts["host out"]
        for name, start, us in (
                ("round trip", 0, e.rtt), ("host out", 0, parts["host out"]),
                ("tap to tap", parts["host out"], parts["QEMU"] + parts["guest"]),
                ("host in", (e.back - e.sent) / 1e3, parts["host in"])):
            events.append({"name": name, "cat": "host", "ph": "X", "pid": HOST_PID, "tid": trip.record.number,
                           "ts": round(zero + start, 3), "dur": round(us, 3),
                           "args": {"packet": trip.record.number, "label": e.label,
                                    "in_rtt": name != "host in" or not e.to_tap}})
    return trace


def only(trace, number):
    """Of a trace just one packet."""
    keep = [e for e in trace["traceEvents"] if e["ph"] == "M" or e["args"]["packet"] == number]
    return {**trace, "otherData": {**trace["otherData"], "wanted": 1, "packets": 1}, "traceEvents": keep}


def dumps(trace):
    """As the guest writes it: an event a line."""
    head = {k: v for k, v in trace.items() if k != "traceEvents"}
    lines = ",\n".join(json.dumps(e, separators=(",", ":")) for e in trace["traceEvents"])
    return json.dumps(head, separators=(",", ":"))[:-1] + ',\n"traceEvents":[\n' + lines + "\n]}\n"
