"""make journey: where the time of a round trip goes, and the README's figure of it."""
import json
import os
import re
import sys
import xml.etree.ElementTree as ET
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader

import pytest

from lib import proc
from lib.guest import ROOT

JOURNEY = str(ROOT / "scripts" / "journey")
SETTINGS = {"BOOT", "MACHINE", "NET", "VHOST", "ACCEL", "MEM", "APPEND", "QEMU_ARGS", "RUN_SECONDS", "MATCH", "N", "MAKEFLAGS",
            "MAKELEVEL"}
WAY = ["interrupt", "softirq", "poll", "gro", "input", "queue", "ring", "doorbell"]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(name="run")
def _run(tmp_path):
    """run(env, cmd): scripts/journey, with no terminal and its files in tmp_path."""
    def run(env, cmd=(JOURNEY, "--out", str(tmp_path)), timeout=120):
        clean = {k: v for k, v in os.environ.items() if k not in SETTINGS}
        return proc.run(cmd, timeout, cwd=ROOT, env={**clean, "ACCEL": "tcg", "BAREWIRE_RUN_DIR": str(tmp_path), **env})
    return run


def strict_json(path):
    """The file's content; no name twice, no NaN."""
    def once(pairs):
        assert len(dict(pairs)) == len(pairs), f"a name stands twice in {pairs}"
        return dict(pairs)

    def refuse(word):
        raise AssertionError(f"{word} is not JSON")
    return json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=once, parse_constant=refuse)


def rows(text, label):
    """The lines of the packets' table as lists of figures."""
    head = re.search(r"^ +host out .*$", text, re.M)[0].split("  ")
    names = [name.strip() for name in head if name.strip()]
    found = re.findall(rf"^{label}\d+ +([\d. %-]+)", text, re.M)
    return [dict(zip(names, (float(f.strip("%")) for f in line.split()))) for line in found]


def assert_adds_up(text, label, count, parts):
    """Our own sum of what was printed. Most packets, as the program has it: on a busy host one may be off."""
    table = rows(text, label)
    assert len(table) == count, text
    off = sorted(abs(sum(row[p] for p in parts) - row["RTT"]) / row["RTT"] for row in table)
    assert off[count // 2] <= 0.05, text
    for row in table:
        assert abs(sum(row[p] for p in parts) - row["sum"]) <= 0.3, row
    assert re.search(rf"^==> the parts add up to the RTT within 5% for \d+ of {count} packets", text, re.M), text


def assert_trace(trace, count, way):
    """Chrome's format; each packet has its stages in order, and they lie between the stamps on the tap. Most of them, that is:
    a packet that comes while the guest is still busy has no interrupt of its own, or one from before."""
    events = trace["traceEvents"]
    for e in events:
        assert e["ph"] in ("X", "M") and isinstance(e["name"], str) and isinstance(e["pid"], int) and isinstance(e["tid"], int)
        assert e["ph"] == "M" or e["ts"] >= 0 and e["dur"] >= 0 or e["cat"] == "host", e
    hosts = {e["args"]["packet"] for e in events if e.get("cat") == "host"}
    assert len(hosts) == count
    whole = inside = 0
    for packet in hosts:
        mine = [e for e in events if e.get("args", {}).get("packet") == packet]
        stages = [e for e in mine if e["cat"] == "stage"]
        came_by = [s["args"]["stage"] for s in stages if s["args"]["stage"] != "complete"]
        assert came_by in (way, way[1:], way[2:]), mine
        whole += came_by == way
        assert [s["ts"] for s in stages] == sorted(s["ts"] for s in stages)
        tap = next(e for e in mine if e["name"] == "tap to tap")
        bell = next(s for s in stages if s["args"]["stage"] == "doorbell")
        inside += tap["ts"] <= stages[0]["ts"] and bell["ts"] <= tap["ts"] + tap["dur"]
    assert 2 * inside > count and 2 * whole > count, events


def test_journey(_tun, run, tmp_path):
    """Status 0, a graph as ftrace's, parts that add up, and three files that are what their names say."""
    res = run({"N": "5"})
    assert res.returncode == 0, res.stdout
    assert "booted by pvh" in res.stdout
    assert re.search(r"^ 0\) .*\|  common_interrupt\(\) \{\n 0\) .*\|    net_rx_action\(\) \{", res.stdout, re.M), res.stdout
    assert_adds_up(res.stdout, "icmp_seq=", 5, ("host out", "QEMU", "guest"))
    assert "QEMU's ways in and out are one figure" in res.stdout
    for name in ("host out", "QEMU", "guest", "sum", "RTT"):
        assert re.search(rf"^{name} .* us +\d+\.\d%$", res.stdout, re.M), name
    assert_trace(strict_json(tmp_path / "journey.json"), 5, WAY)
    assert (tmp_path / "journey.txt").read_text().startswith("# tracer: function_graph\n#\n# 5 of 5 packets")
    assert ET.parse(tmp_path / "journey.svg").getroot().tag == f"{SVG}svg"
    assert not (tmp_path / "pid").exists()


@pytest.mark.parametrize("match", ["tcp", "udp", "port:80"])
def test_other_packets(_tun, run, tmp_path, match):
    """An exchange that fits, through an application; here the way in to the program is part of the round trip."""
    res = run({"N": "3", "MATCH": match})
    assert res.returncode == 0, res.stdout
    assert_adds_up(res.stdout, "exchange ", 3, ("host out", "QEMU", "guest", "host in"))
    assert_trace(strict_json(tmp_path / "journey.json"), 3, WAY[:5] + ["app"] + WAY[5:])


def test_no_answer(_tun, run):
    """A guest without an address, by way of make; one that is where no ping comes to. Status 1, and the reason."""
    res = run({"APPEND": "ip=dhcp", "RUN_SECONDS": "3"}, ["make", "journey"], 240)
    assert res.returncode == 1 and re.search(r"^make journey: the guest has no address", res.stdout, re.M), res.stdout
    res = run({"APPEND": "ip=10.9.9.2/24"})
    assert res.returncode == 1 and "make journey: no answer to a ping of 10.9.9.2" in res.stdout, res.stdout


@pytest.mark.parametrize("env,right", [({"MATCH": "arp"}, "icmp udp tcp"), ({"N": "0"}, "at most 999"), ({"NET": "user"}, "tap"),
                                       ({"BOOT": "bios"}, "uefi pvh microvm")])
def test_wrong_values(run, env, right):
    """A wrong value ends with 2 and names the right ones."""
    res = run(env, timeout=20)
    assert res.returncode == 2 and right in res.stdout and next(iter(env)) in res.stdout, res.stdout


@pytest.fixture(name="journey", scope="module")
def _journey():
    """scripts/journey as a module."""
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        loader = SourceFileLoader("journey", JOURNEY)
        module = module_from_spec(spec_from_loader("journey", loader))
        loader.exec_module(module)
        return module
    finally:
        sys.path.pop(0)


def test_what_does_not_add_up_is_said(journey, capsys):
    """An RTT that the parts are not the sum of, and a guest's share longer than the time on the tap, are found."""
    def trip(rtt, share):
        record = journey.journey_data.Record(1, "ICMP", 98, 0.0, True, [("interrupt", 0.0), ("doorbell", share)])
        return journey.Trip(journey.Exchange("icmp_seq=1", 0, 20_000, 250_000, 300_000, rtt, 0, True), record)

    class Printer:
        """Has run-qemu's say()."""
        say = staticmethod(print)

    good, slow, early = trip(250.0, 60.0), trip(300.0, 60.0), trip(250.0, 240.0)
    assert good.sound and good.off == 0 and not slow.sound and not early.sound
    assert journey.check(Printer, [good, good, slow]) is None and "2 of 3" in capsys.readouterr().out
    assert "1 of 3" in journey.check(Printer, [good, slow, early])


def test_frames_and_records_that_do_not_fit(journey):
    """A record of another length than its frame has is no match."""
    data = journey.journey_data
    frames = [data.Frame(0, True, 98, 1, (0, 0), b""), data.Frame(1, True, 60, 1, (0, 0), b"")]
    records = [data.Record(1, "", 98, 0.0, True), data.Record(2, "", 42, 0.0, False), data.Record(3, "", 60, 0.0, True)]
    assert {i: r.number for i, r in data.pair(frames, records).items()} == {0: 1, 1: 3}
    with pytest.raises(ValueError, match="frame 2"):
        data.pair(frames, records[:2] + [data.Record(3, "", 61, 0.0, True)])


def test_figure(journey, tmp_path):
    """The README's figure is what the script makes of the trace beside it, fits a page, and no text lies on another."""
    made = tmp_path / "journey.svg"
    res = proc.run([sys.executable, "scripts/journey_svg.py", "docs/journey.json", str(made)], 20, cwd=ROOT)
    assert res.returncode == 0, res.stdout
    assert made.read_bytes() == (ROOT / "docs" / "journey.svg").read_bytes(), "run scripts/journey_svg.py (docs/testing.md)"
    assert "docs/journey.svg" in (ROOT / "README.md").read_text(encoding="utf-8")
    svg = ET.parse(made).getroot()
    assert int(svg.get("width")) <= 1000
    boxes = []
    for t in svg.iter(f"{SVG}text"):
        width = journey.journey_svg.width_of(t.text) * (1.3 if t.get("class") == "title" else 1)
        left = float(t.get("x")) - width * {"start": 0, "middle": 0.5, "end": 1}[t.get("text-anchor")]
        assert t.get("class") == "small" or 0 <= left and left + width <= int(svg.get("width")), t.text
        boxes.append((left, left + width, float(t.get("y")), t.text))
    for i, (left, right, y, text) in enumerate(boxes):
        for other_left, other_right, other_y, other in boxes[:i]:
            assert abs(y - other_y) >= 12 or right <= other_left or other_right <= left, (text, other)
    words = " ".join(b[3] for b in boxes)
    assert all(name in words for name in [*WAY, "host", "QEMU", "guest"])


def test_figure_is_of_a_real_ping():
    """docs/journey.json holds one packet, with all of its way and the host's share."""
    assert_trace(strict_json(ROOT / "docs" / "journey.json"), 1, WAY)
