"""The benchmark's tables and plots, from measurements made up here."""
import re
import xml.etree.ElementTree as ET

import pytest

from bench import docs, plot, profile, report

SVG = "{http://www.w3.org/2000/svg}"


def made_up():
    """Two guests; the second costs four times as much."""
    def counts(factor):
        one = {"net": 1000.0 * factor, "raw": dict.fromkeys(report.EXITS, 1.5 * factor)}
        return [{"boot": {"net": 5e6 * factor}, "idle": {"net": 400.0 * factor, **dict.fromkeys(report.EXITS, 2.0)},
                 "operations": {name: [one, one] for name in report.OPERATIONS}, "errors": {}}]

    def times(factor):
        return [{**dict.fromkeys(report.TIMES, 100.0 * factor), "errors": {}}, {**dict.fromkeys(report.TIMES, 110.0 * factor), "errors": {}}]

    both = {"Barewire": counts(1), "Linux": counts(4)}
    point = {"per_op": 4000.0, "idle_per_s": 10.0, "ram_mib": 6.0}
    return {"suts": ["Barewire", "Linux"], "started": "today", "qemu": "QEMU", "compiler": "gcc", "loadavg": [1.0, 2.0],
            "count": both, "exits": both, "time": {"Barewire": times(1), "Linux": times(2)}, "boot_microvm": [600000],
            "boot_s": {m: {"floor": [0.05], "Barewire": [0.1]} for m in ("pc", "microvm,pcie=on")},
            "flat": {"Barewire": [[1, point], [100, {**point, "per_op": 6000.0}]]},
            "masks": {"all off": {"counts": {"send": 2e6}, "rates": [{"send": 50.0, "errors": {"recv": "no end in 30 s"}}]}},
            "profile": {"ping": [("ip4_input", "lwIP", 75.0), ("start_xmit", "virtio-net driver", 25.0)]}, "errors": {}}


def test_tables():
    """Ratios go the right way, and what failed is named."""
    text = report.markdown(made_up())
    for row in ("| ICMP echo | 1,000 | ±0.0% | 1,500 | 0.67 | 4,000 | 4.0x |",
                "| the same, `microvm,pcie=on` | 600,000 | - | 1,500,000 | 0.40 | - | - |",
                "| ping -f, replies/s | 105 [100-110] | 210 [200-220] | 0.50x | 2.5x |",
                "| start of QEMU to first ping reply, s | 105.000 [100.000-110.000] | 210.000 [200.000-220.000] | 2.00x | 30x |",
                "| `pc` | 0.050 [0.050-0.050] | 0.100 [0.100-0.100] | 2.00 |", "| 100 | Barewire | 6,000 | 1.50 | 10.0 | 6 |",
                "| 2,000,000 | - | - | 50 [50-50] | - |", "| lwIP | 75 | 75.0% |", "- offloads all off, recv: no end in 30 s"):
        assert row in text, text


def test_page():
    """docs/performance.md is filled between its marks and nowhere else, and never with half of the measurements."""
    page = "above\n<!-- bench: exits -->\nold\n<!-- end -->\nbetween\n<!-- bench: conditions -->\n<!-- end -->\nbelow\n"
    data = made_up()
    filled = docs.fill(page, data)
    assert filled == (f"above\n<!-- bench: exits -->\n{report.exits(data)}\n<!-- end -->\nbetween\n<!-- bench: conditions -->\n"
                      f"{report.conditions(data)}\n<!-- end -->\nbelow\n")
    assert docs.fill(filled, data) == filled
    with pytest.raises(AssertionError, match="profile was not measured"):
        docs.fill("<!-- bench: profile -->\n<!-- end -->\n", {**data, "profile": {}})


def test_page_has_every_part():
    """The committed page."""
    text = docs.PAGE.read_text(encoding="utf-8")
    assert set(re.findall(r"<!-- bench: (\w+) -->", text)) == {"conditions", *report.SECTIONS}
    for name in re.findall(r"\]\((performance/\S+)\)", text):
        assert (docs.PAGE.parent / name).exists(), name


def test_plots():
    """Each one is a picture with what it has to show."""
    plots = report.plots(made_up())
    assert sorted(plots) == ["connections.svg", "instructions.svg", "offloads.svg"]
    pictures = {name: ET.fromstring(svg) for name, svg in plots.items()}
    assert len(pictures["connections.svg"].findall(f"{SVG}circle")) == 2
    labels = [t.text for t in pictures["instructions.svg"].findall(f"{SVG}text")]
    assert "ICMP echo" in labels and "wanted" in labels


def test_bars_are_to_scale():
    """Twice the value is twice the length."""
    rects = ET.fromstring(plot.bars("t", [("a", [100.0]), ("b", [50.0])], ["x"])).findall(f"{SVG}rect")
    widths = [float(r.get("width")) for r in rects[-2:]]
    assert widths[0] == pytest.approx(2 * widths[1], abs=0.2)


@pytest.mark.parametrize("path,layer", [("./drivers/net/virtio_net.c", "virtio-net driver"), ("./build/lwip/src/core/tcp_in.c", "lwIP"),
                                        ("./net/lwip/netif.c", "lwIP's glue"), ("./net/gro.c", "net: devices, queues"), ("", "other")])
def test_layers(path, layer):
    """By the source's path."""
    assert profile.Image.layer(path) == layer
