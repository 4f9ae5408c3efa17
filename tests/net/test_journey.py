"""Journeys of packets: their stages and times in every form there is, under load, and for whom."""
import json
import re

import pytest

from lib import diag, netstat, ping, tcp
from lib.lan import Lan

STAGES = ["interrupt", "softirq", "poll", "gro", "input", "app", "queue", "ring", "doorbell", "complete"]
FUNCTIONS = ["common_interrupt", "net_rx_action", "napi_poll", "napi_gro_receive", "lwip_input", "app_callback",
             "dev_queue_xmit", "start_xmit", "virtqueue_kick", "free_old_xmit"]
FLOOD = 10000


def strict(text):
    """JSON by the book: no NaN, no key twice."""
    def once(pairs):
        assert len({k for k, _ in pairs}) == len(pairs), pairs
        return dict(pairs)

    def refuse(name):
        raise ValueError(name)
    return json.loads(text, object_pairs_hook=once, parse_constant=refuse)


def packets(doc):
    """Checks Chrome's trace format; returns [(packet event, [stage events])]."""
    found = {}
    for e in doc["traceEvents"]:
        assert e["ph"] == "X" and isinstance(e["name"], str) and e["name"]
        assert isinstance(e["pid"], int) and isinstance(e["tid"], int)
        assert isinstance(e["ts"], (int, float)) and isinstance(e["dur"], (int, float)) and e["ts"] >= 0 and e["dur"] >= 0
        number = e["args"]["packet"]
        assert e["tid"] == number
        if e["cat"] == "packet":
            assert number not in found
            found[number] = (e, [])
        else:
            assert e["cat"] == "stage" and e["name"] == FUNCTIONS[STAGES.index(e["args"]["stage"])]
            found[number][1].append(e)
    return [found[n] for n in sorted(found)]


def check(whole, stages):
    """In order, one after the other, inside the whole, and together as long as it. Times are exact to the nanosecond."""
    def ns(us):
        return round(us * 1000)
    at = ns(whole["ts"])
    for e in stages:
        assert ns(e["ts"]) == at, (whole, stages)
        at += ns(e["dur"])
    assert at == ns(whole["ts"]) + ns(whole["dur"])
    order = [STAGES.index(e["args"]["stage"]) for e in stages]
    assert order == sorted(set(order)), order


def recorded(lan, path, load):
    """What the file says after load()."""
    with diag.opened(lan, path) as s:
        load()
        return s.text()


def pings(lan, count):
    """Each answered before the next."""
    ping.assert_lossless(lan, "10.0.2.2", "-i", "0.01", count=count)


def test_json(module_lan, module_guest):
    """Echo requests: all nine stages that one comes by, of each."""
    with netstat.leaves_no_trace(module_guest):
        text = recorded(module_lan, "/journey.json?n=20&match=icmp+and+host+10.0.2.1", lambda: pings(module_lan, 20))
        doc = strict(text)
        assert doc["otherData"] == {"wanted": 20, "packets": 20, "lost": 0}
        found = packets(doc)
        assert len(found) == 20
        for whole, stages in found:
            check(whole, stages)
            assert whole["name"] == "ICMP 10.0.2.1 > 10.0.2.2" and whole["args"]["bytes"] == 98
            assert whole["args"]["sent"] and whole["args"]["done"] and not whole["args"]["tx_only"]
            names = [e["args"]["stage"] for e in stages]
            assert {"poll", "gro", "input", "queue", "ring", "doorbell", "complete"} <= set(names), names
        # Some may have come while the CPU was at something else.
        assert sum(len(stages) == 9 for _, stages in found) > 10


def test_text(module_lan, module_guest):
    """ftrace's head and columns, braces that match, durations that contain each other, sums that are right."""
    with netstat.leaves_no_trace(module_guest):
        text = recorded(module_lan, "/journey?n=5&match=icmp", lambda: pings(module_lan, 5))
        head, *records = text.split("\n\n /* ")
        assert head.split("\n") == ["# tracer: function_graph", "#", "# 5 of 5 packets, match icmp; 0 lost", "#",
                                    "# CPU  DURATION                  FUNCTION CALLS",
                                    "# |     |   |                     |   |   |   |"]
        assert len(records) == 5
        for n, record in enumerate(records):
            title, sums, *lines = record.splitlines()
            assert re.fullmatch(rf"{n + 1}: ICMP 10\.0\.2\.1 > 10\.0\.2\.2, 98 bytes, at \d+\.\d{{9}} s \*/", title), title
            parts = re.fullmatch(r" /\* ((?:\w+ [0-9.]+(?: \+ )?)+) = ([0-9.]+) us to doorbell \*/", sums)
            total = sum(round(float(p.split()[1]) * 1000) for p in parts[1].split(" + "))
            assert total == round(float(parts[2]) * 1000)
            stack, last = [], 0.0
            for line in lines:
                # Column 0 to 17 CPU and duration, then "|".
                m = re.fullmatch(r" 0\) [ +!#*@$] (?P<us>[0-9.]+) us +\|  (?P<call> *\S.*)", line) or \
                    re.fullmatch(r" 0\) {15}\|  (?P<call> *\S.*)", line)
                assert m and line.index("|") == 18, line
                call, us = m["call"], m.groupdict().get("us")
                depth = (len(call) - len(call.lstrip())) // 2
                if call.strip().startswith("/*"):
                    assert not stack
                elif call.endswith("() {"):
                    assert depth == len(stack)
                    stack.append(call.strip()[:-4])
                elif call.endswith("();"):
                    assert depth == len(stack) and us
                    last = float(us)
                else:
                    assert depth == len(stack) - 1 and call.strip() == f"}} /* {stack.pop()} */"
                    assert float(us) >= last
                    last = float(us)
            assert not stack and "lwip_input() {" in record


def histogram(text):
    """Rows: stage -> (count, p50, p99, max)."""
    note, head, *rows = text.splitlines()
    assert head == f"{'stage':<10} {'count':>8} {'p50':>10} {'p99':>10} {'max':>10}"
    result = {}
    for row, stage in zip(rows, STAGES, strict=True):
        m = re.fullmatch(r"(\w+) +(\d+) +(\d+|-) +(\d+|-) +(\d+|-)", row)
        assert m and m[1] == stage and len(row) == 52, row
        result[stage] = (int(m[2]), *(0 if v == "-" else int(v) for v in m.groups()[2:]))
        assert result[stage][1] <= result[stage][2] <= result[stage][3]
    return note, result


@pytest.mark.parametrize("path", ["/journey/histogram", "/journey.json"])
def test_flood(lan, guest, path):
    """Ten thousand packets of a flood: not one record is lost, nor what they are made of."""
    with netstat.leaves_no_trace(guest):
        def flood():
            assert ping.ping(lan, "10.0.2.2", "-f", count=FLOOD, timeout=150, deadline=140).received >= FLOOD

        text = recorded(lan, f"{path}?n={FLOOD}&match=icmp&seconds=300", flood)
        if path == "/journey.json":
            doc = strict(text)
            assert doc["otherData"] == {"wanted": FLOOD, "packets": FLOOD, "lost": 0}
            found = packets(doc)
            assert len(found) == FLOOD
            for whole, stages in found:
                check(whole, stages)
                assert len(stages) >= 7 and whole["args"]["done"]
            return
        note, rows = histogram(text)
        assert note.startswith(f"# {FLOOD} of {FLOOD} packets; 0 lost;")
        for stage in ("poll", "gro", "input", "queue", "ring", "doorbell"):
            assert rows[stage][0] == FLOOD, rows
        assert rows["complete"] == rows["app"] == (0, 0, 0, 0)


def test_tcp_and_udp(module_lan, module_guest):
    """An application's stage; match= by protocol and port."""
    lan = module_lan

    def echo():
        with tcp.connect(lan, tcp.ECHO) as sock, tcp.udp_socket(lan) as udp:
            udp.sendto(b"x" * 20, ("10.0.2.2", 7))
            assert udp.recv(100) == b"x" * 20
            for n in range(10):
                sock.sendall(b"%099d\n" % n)
                assert tcp.recv_exact(sock, 100) == b"%099d\n" % n

    with netstat.leaves_no_trace(module_guest):
        found = packets(strict(recorded(lan, "/journey.json?n=12&match=tcp+port:7", echo)))
        assert len(found) == 12
        for whole, stages in found:
            check(whole, stages)
            assert whole["name"].startswith("TCP ") and ":7" in whole["name"]
        way = [[e["args"]["stage"] for e in stages] for _, stages in found]
        assert sum({"input", "app", "queue", "ring", "doorbell", "complete"} <= set(w) for w in way) >= 5, way

        (whole, stages), = packets(strict(recorded(lan, "/journey.json?n=1&match=udp", echo)))
        check(whole, stages)
        assert re.fullmatch(r"UDP 10\.0\.2\.1:\d+ > 10\.0\.2\.2:7", whole["name"])
        assert "app" in [e["args"]["stage"] for e in stages]
        # The port of nobody: nothing, after the time that was given.
        text = recorded(lan, "/journey?n=1&match=port:8&seconds=1", echo)
        assert "# 0 of 1 packets, match port:8; 0 lost" in text


def test_nobody_sees_himself(module_lan, module_guest):
    """Without match= nothing of the diagnostics port is there: only the ping."""
    with netstat.leaves_no_trace(module_guest):
        ping.assert_answers(module_lan, "10.0.2.2", count=1)
        found = packets(strict(recorded(module_lan, "/journey.json?n=3&seconds=5", lambda: pings(module_lan, 3))))
        assert not [whole["name"] for whole, _ in found if "9100" in whole["name"]]


def test_refusals(module_lan, module_guest):
    """One session at a time, over when its asker hangs up; what is not understood."""
    lan = module_lan
    with netstat.leaves_no_trace(module_guest):
        with diag.opened(lan, "/journey?n=9"):
            for path in ("/journey", "/journey.json", "/journey/histogram", "/capture.pcapng?journey=1"):
                status, text = diag.refused(lan, path)
                assert status == 409 and "somebody else" in text
        for query in ("n=0", "n=40000", "match=nonsense", "match=host+1.2.3", "match=%2", "seconds=x"):
            status, text = diag.refused(lan, f"/journey?{query}")
            assert status == 400 and text.strip()
        assert diag.get(lan, "/journey?match=port:8&seconds=1")


def test_closed_without_diag(_tun, boot):
    """Nothing listens on the diagnostics port."""
    lan = Lan()
    guest = boot(lan)
    try:
        guest.ready()
        with pytest.raises(ConnectionRefusedError):
            tcp.connect(lan, netstat.DIAG_PORT)
    finally:
        guest.close()
        lan.close()
