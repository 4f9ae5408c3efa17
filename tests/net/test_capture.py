"""Capturing inside the guest: the same frames as on the tap, read live, bounded, and never the stream itself."""
import json
import re
import select
import struct
import subprocess
import threading

import pytest

from lib import diag, http, netstat, ping, proc, tcp
from lib.wait import wait_until

OWN = netstat.DIAG_PORT


# ---- a capture of the host's own, on the tap

def own_traffic(frame):
    """TCP of the diagnostics port, IPv4."""
    return frame[12:14] == b"\x08\x00" and frame[23] == 6 and OWN in struct.unpack_from("!2H", frame, 34)


def tap_frames(port, until):
    """What passed on the tap, both directions, in order, until until(frame) has said True or the tap is silent."""
    frames = []
    while select.select([port.sock], [], [], 10)[0]:
        frame = port.sock.recv(65536)
        if own_traffic(frame):
            continue
        frames.append(frame)
        if until(frame):
            break
    return frames


# ---- pcapng, by tshark

def tshark(file, *fields, where=()):
    """One list of the fields' texts for each packet."""
    out = proc.check(["tshark", "-n", "-r", file, *where, "-T", "fields", "-E", "separator=|",
                      *[a for f in fields for a in ("-e", f)]], stderr=subprocess.DEVNULL)
    return [line.split("|") for line in out.splitlines()]


def frames_of(file):
    """The packets' bytes."""
    out = proc.check(["tshark", "-n", "-r", file, "-T", "json", "-x", "-j", ""], stderr=subprocess.DEVNULL)
    # The same key for every layer: only the whole frame is wanted.
    return [bytes.fromhex(h) for h in re.findall(r'"frame_raw": \[\s*"([0-9a-f]*)"', out)] if json.loads(out) else []


def blocks(data):
    """(type, body) of each block, lengths checked."""
    at, found = 0, []
    while at < len(data):
        kind, length = struct.unpack_from("<II", data, at)
        assert length % 4 == 0 and struct.unpack_from("<I", data, at + length - 4)[0] == length
        found.append((kind, data[at + 8:at + length - 4]))
        at += length
    assert at == len(data)
    return found


def statistics(data):
    """(received, dropped) of the last statistics block."""
    return [struct.unpack_from("<Q4xQ", body, 16) for kind, body in blocks(data) if kind == 5][-1]


def frames_in(data):
    """(length on the wire, frame) of each packet block."""
    found = []
    for kind, body in blocks(data):
        if kind == 6:
            have, orig = struct.unpack_from("<2I", body, 12)
            found.append((orig, body[20:20 + have]))
    return found


def capture(lan, query, load, file, until=None):
    """What a capture says of load(), which must make it end, or once until(data) is true."""
    with diag.opened(lan, f"/capture.pcapng?{query}") as s:
        assert s.headers["content-type"] == "application/x-pcapng"
        load()
        data = b""
        while part := s.chunk():
            data += part
            # A chunk may end within a block.
            while until and not select.select([s.sock], [], [], 0.5)[0] and not s.buf:
                if until(data):
                    file.write_bytes(data)
                    return data
    file.write_bytes(data)
    return data


# ---- tests

@pytest.mark.parametrize("offloads", [0, 1])
def test_http_exchange(lan, boot, tmp_path, offloads):
    """A connection to port 80 from its SYN to its last ACK: as on the host's tap, packet by packet, byte by byte. With
    checksums left to the device, and to us by the host, they are not there yet, on either side."""
    guest = boot(lan, image="test", append=f"diag virtio_net.csum={offloads} virtio_net.guest_csum={offloads}")
    guest.ready()
    with netstat.leaves_no_trace(guest):
        ping.assert_answers(lan, "10.0.2.2", count=1)
        port = lan.port()
        seen = []

        def exchange():
            port.drain()
            for _ in range(3):
                with http.Connection(lan) as c:
                    assert c.get("/1k").status == 200
                    assert c.get("/").status == 200
            fins = [0]

            def over(frame):
                fins[0] += frame[12:14] == b"\x08\x00" and frame[23] == 6 and frame[47] & 1
                return fins[0] == 6 and not frame[47] & 1
            seen.extend(f for f in tap_frames(port, over) if f[12:14] == b"\x08\x00" and f[23] == 6)

        file = tmp_path / "guest.pcapng"
        # Filters of the guest and of the host are the same: TCP of port 80.
        data = capture(lan, "filter=tcp+and+port:80", exchange, file, lambda d: len(frames_in(d)) >= len(seen))
        assert len(seen) >= 30
        captured = frames_of(file)
        assert captured == [frame for _, frame in frames_in(data)]
        assert len(captured) == len(seen)
        # Two that are on the way at once, one in each direction, pass the guest and the tap in another order; nothing
        # else does. That an ACK comes behind what it acknowledges, tshark checks below.
        for towards in (seen[0][:6], seen[0][6:12]):
            one, other = ([f for f in frames if f[:6] == towards] for frames in (captured, seen))
            assert len(one) > 10
            for n, (ours, theirs) in enumerate(zip(one, other, strict=True)):
                assert ours == theirs, f"packet {n} to {towards.hex(':')}"
        ports = tshark(file, "tcp.srcport", "tcp.dstport", "http.request.uri", "http.response.code")
        assert all("80" in row[:2] for row in ports)
        assert [row[2] for row in ports if row[2]] == ["/1k", "/"] * 3
        assert [row[3] for row in ports if row[3]] == ["200"] * 6
        # Nothing that tshark would complain of; times do not go back.
        wrong = "_ws.malformed || tcp.analysis.lost_segment || tcp.analysis.ack_lost_segment"
        if not offloads:
            wrong += " || tcp.checksum.status == 0"
        assert not tshark(file, "frame.number", where=("-o", f"tcp.check_checksum:{'FALSE' if offloads else 'TRUE'}",
                                                       "-Y", wrong))
        times = [float(row[0]) for row in tshark(file, "frame.time_epoch")]
        assert times == sorted(times)


def test_everything_but_itself(module_lan, module_guest, tmp_path):
    """Without a filter: both directions, every protocol, and never the stream."""
    with netstat.leaves_no_trace(module_guest):
        def load():
            ping.assert_answers(module_lan, "10.0.2.2", count=3)
            tcp.assert_echo(module_lan)
            assert diag.get(module_lan, "/stack")  # another connection to the same port
            ping.assert_answers(module_lan, "10.0.2.2", "-s", "333", count=1)  # the last of all
        file = tmp_path / "all.pcapng"
        data = capture(module_lan, "", load, file, lambda d: sum(n == 375 for n, _ in frames_in(d)) == 2)
        rows = tshark(file, "eth.src", "icmp.type", "tcp.port", "frame.interface_name")
        assert sum(r[1] == "8" for r in rows) == sum(r[1] == "0" for r in rows) == 4
        assert any("7" in r[2].split(",") for r in rows)
        assert not any(str(OWN) in r[2].split(",") for r in rows)
        assert {r[3] for r in rows} == {"eth0"}
        assert len({r[0] for r in rows}) == 2
        assert len(rows) == len(frames_in(data))


def test_queries(module_lan, module_guest, tmp_path):
    """filter=, snaplen=, n=; what is refused."""
    lan = module_lan
    with netstat.leaves_no_trace(module_guest):
        def load():
            tcp.assert_echo(lan)
            ping.assert_answers(lan, "10.0.2.2", count=5)
        file = tmp_path / "some.pcapng"
        data = capture(lan, "filter=icmp&snaplen=50&n=7", load, file)
        rows = tshark(file, "icmp.type", "frame.len", "frame.cap_len")
        assert rows == [["8", "98", "50"], ["0", "98", "50"]] * 3 + [["8", "98", "50"]]
        assert statistics(data) == (7, 0)
        for query in ("filter=nonsense", "snaplen=0", "n=-1", "seconds=0", "journey=99999", "filter=%"):
            status, text = diag.refused(lan, f"/capture.pcapng?{query}")
            assert status == 400 and text.strip()
        with diag.opened(lan, "/capture.pcapng"):
            assert diag.refused(lan, "/capture.pcapng")[0] == 409
        # He has gone: soon there is room for the next.
        def free():
            with diag.Stream(lan, "/capture.pcapng?seconds=1") as s:
                return s.status == 200
        wait_until(free, 10, "the capture of an asker who has gone is not free")


def test_live(module_lan, module_guest):
    """curl into tshark: packets are shown while the capture goes on."""
    lan = module_lan
    with netstat.leaves_no_trace(module_guest):
        curl = lan.ns.spawn(["curl", "-sN", f"http://10.0.2.2:{OWN}/capture.pcapng?filter=icmp"], stdout=subprocess.PIPE)
        shark = lan.ns.spawn(["tshark", "-n", "-l", "-r", "-", "-T", "fields", "-e", "icmp.seq"], stdin=curl.stdout,
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            curl.stdout.close()
            got = [b""]

            def shown():
                # One ping more, until the capture is armed and tshark has begun.
                ping.assert_answers(lan, "10.0.2.2", count=1)
                while select.select([shark.stdout], [], [], 0.2)[0]:
                    part = shark.stdout.read1(4096)
                    assert part, "tshark ended"
                    got[0] += part
                return got[0].count(b"\n") >= 4
            wait_until(shown, 30, "tshark shows nothing")
            assert curl.poll() is None and shark.poll() is None
        finally:
            proc.stop(curl)
            proc.stop(shark)
            shark.stdout.close()


def test_comments(module_lan, module_guest, tmp_path):
    """journey=N: the stage times of the first N in their comments, those of request and answer the same."""
    with netstat.leaves_no_trace(module_guest):
        file = tmp_path / "journeys.pcapng"
        capture(module_lan, "filter=icmp&n=8&journey=3", lambda: ping.assert_answers(module_lan, "10.0.2.2", count=4), file)
        rows = [row[0] for row in tshark(file, "frame.comment")]
        assert len(rows) == 8 and rows[6:] == ["", ""]
        for n in range(0, 6, 2):
            assert rows[n] == rows[n + 1]
            m = re.fullmatch(r"((?:\w+ [0-9.]+(?: \+ )?)+) = ([0-9.]+) us to doorbell", rows[n])
            assert m, rows[n]
            assert sum(round(float(p.split()[1]) * 1000) for p in m[1].split(" + ")) == round(float(m[2]) * 1000)


def test_slow_reader_under_flood(lan, guest):
    """The reader does not read while thousands of large echoes pass: frames are dropped from the capture and counted,
    the echoes are not; then it is read to its end."""
    with netstat.leaves_no_trace(guest) as before:
        with diag.opened(lan, "/capture.pcapng?filter=icmp&n=1500") as s:
            assert ping.ping(lan, "10.0.2.2", "-f", "-s", "1400", count=1500, deadline=60).received >= 1500
            # Others are served meanwhile.
            tcp.assert_echo(lan)
            during = netstat.read(lan)
            data = []
            reader = threading.Thread(target=lambda: data.append(s.chunks()), daemon=True)
            reader.start()

            def enough():
                ping.assert_answers(lan, "10.0.2.2", count=50)
                return not reader.is_alive()
            wait_until(enough, 60, "the capture does not end after 1500 frames")
            data = data[0]
        received, dropped = statistics(data)
        packets = sum(kind == 6 for kind, _ in blocks(data))
        assert packets == 1500 and dropped > 1000 and received == packets + dropped and received >= 3000
        after = netstat.read(lan)
        assert during["capture_dropped"] > before["capture_dropped"]
        assert after["capture_dropped"] - before["capture_dropped"] == dropped
        assert after["capture_packets"] - before["capture_packets"] == packets
