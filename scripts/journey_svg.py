"""The picture of one packet's journey, drawn from a trace that make journey has saved.

    python3 scripts/journey_svg.py docs/journey.json docs/journey.svg

Above, the round trip in the lanes of host, QEMU and guest; below, the guest's share stage by stage. The same trace gives
the same bytes. Standard library only.
"""
import json
import sys
from html import escape
from pathlib import Path

WIDTH, LEFT, RIGHT = 960, 220, 924  # of the picture; of the time axes
STAGES_END = RIGHT - 64              # room for the last stage's figure
LANE, GAP, STEP = 30, 6, 25        # heights: of a lane, between two, of a stage's row
STYLE = """
text { font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", Verdana, sans-serif; fill: #1f2328 }
.title { font-size: 16px; font-weight: 600 } .name { font-weight: 600 }
.small { font-size: 11.5px; fill: #59636e } .code { font-size: 11.5px; fill: #59636e }
.on-page, .on-lane { paint-order: stroke; stroke-width: 4px; stroke-linejoin: round; stroke: #ffffff } .on-lane { stroke: #f3f5f8 }
.page { fill: #ffffff; stroke: #d1d9e0 } .lane { fill: #f3f5f8 } .tick { stroke: #d1d9e0 } .zoom { fill: #1a7f64; opacity: .1 }
.host { fill: #2f6fc2 } .qemu { fill: #9a6100 } .on { fill: #ffffff } .guest { fill: #1a7f64 } .mark { stroke: #59636e; stroke-dasharray: 3 3 }
.measure { stroke: #59636e } .later { opacity: .45 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .small, .code { fill: #9aa5b1 }
.on-page { stroke: #0d1117 } .on-lane { stroke: #181e26 }
.page { fill: #0d1117; stroke: #30363d } .lane { fill: #181e26 } .tick { stroke: #30363d } .zoom { fill: #3fb992; opacity: .14 }
.host { fill: #5b9bea } .qemu { fill: #d9a040 } .on { fill: #0d1117 } .guest { fill: #3fb992 } .mark, .measure { stroke: #9aa5b1 }
}"""


NOTES = ("Host: the kernel's time stamps on the tap (dashed) and the program's own. Guest: the time stamp counter, at each stage.",
         "The two clocks share no zero: QEMU's ways in and out are one figure, and the guest's bar is drawn in the middle.")
PING_NOTE = "What ping prints ends at the kernel's stamp of the reply; ping's own waking comes after it."


def width_of(text):
    """What a text takes at most: no font of the list is wider."""
    return len(text) * 13 * 0.62


class Picture:
    """SVG elements in the order of drawing."""

    def __init__(self):
        self.out = []

    def rect(self, cls, x, y, w, h, more=""):
        """A bar."""
        self.out.append(f'<rect class="{cls}" x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}"{more}/>')

    def line(self, cls, x1, y1, x2, y2):
        """A straight line."""
        self.out.append(f'<line class="{cls}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>')

    def text(self, x, y, text, cls="", anchor="start"):
        """A line of text; y is that of its foot."""
        self.out.append(f'<text class="{cls}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>')

    def axis(self, top, foot, zero, scale, end):
        """Time in microseconds: some five lines at round figures, the figures below."""
        step = next(s for e in range(9) for m in (1, 2, 5) if end / (s := m * 10**e) <= 8)
        for n in range(int(end // step) + 1):
            x = zero + n * step * scale
            self.line("tick", x, top, x, foot)
            self.text(x, foot + 15, f"{n * step} µs" if n == 0 else str(n * step), "small", "middle")


def us(value):
    """Microseconds for reading."""
    return f"{value:.1f} µs"


def read(trace):
    """The packet, its stages, and the host's spans by name: (start, duration, whether it is part of the RTT)."""
    packet = next(e for e in trace["traceEvents"] if e.get("cat") == "packet")
    stages = [(e["args"]["stage"], e["name"], e["ts"]) for e in trace["traceEvents"]
              if e.get("cat") == "stage" and e["args"]["stage"] != "complete"]
    host = {e["name"]: (e["ts"], e["dur"], e["args"]["in_rtt"]) for e in trace["traceEvents"] if e.get("cat") == "host"}
    return packet, stages, host


def span(pic, y, x1, x2, text):
    """A measure: a line with ends, and its text above the middle."""
    pic.line("measure", x1, y, x2, y)
    for x in (x1, x2):
        pic.line("measure", x, y - 4, x, y + 4)
    pic.text((x1 + x2) / 2, y - 7, text, "", "middle")


def lanes(pic, y, host, guest, measured):
    """The round trip; returns where the guest's bar begins and ends, the bar's foot and the lanes'."""
    out, tap, back = host["host out"], host["tap to tap"], host["host in"]
    zero, rtt = host["round trip"][:2]
    end = max(rtt, back[0] + back[1] - zero)
    scale = (RIGHT - LEFT) / end

    def at(t):
        return LEFT + (t - zero) * scale

    foot = y + 3 * (LANE + GAP) - GAP
    for i, (name, about) in enumerate((("host", "program and stack"), ("QEMU", "tap, virtio-net"), ("guest", "Barewire"))):
        top = y + i * (LANE + GAP)
        pic.rect("lane", LEFT, top, RIGHT - LEFT, LANE, ' rx="3"')
        pic.text(24, top + 20, name, "name")
        pic.text(24 + 52, top + 20, about, "small")
    pic.axis(y, foot, LEFT, scale, end)
    in_class = "host" if back[2] else "host later"
    bars = (("host", 0, out[0], out[1]), (in_class, 0, back[0], back[1]), ("qemu", 1, tap[0], guest[0] - tap[0]),
            ("qemu", 1, guest[1], tap[0] + tap[1] - guest[1]), ("guest", 2, guest[0], guest[1] - guest[0]))
    for cls, lane, start, dur in bars:
        pic.rect(cls, at(start), y + lane * (LANE + GAP) + 5, max(dur * scale, 1.5), LANE - 10, ' rx="2"')
    for t in (tap[0], tap[0] + tap[1]):
        pic.line("mark", at(t), y, at(t), foot)
    span(pic, y - 12, LEFT, at(zero + rtt), measured)
    # Each label where there is room: host's between its bars, QEMU's between or on them, the guest's behind or before its bar.
    pic.text(at(tap[0]) + 7, y + 20, f"out {us(out[1])}", "on-lane")
    pic.text(at(back[0]) - 7, y + 20, f"in {us(back[1])}" + ("" if back[2] else ", after the RTT"), "on-lane", "end")
    qemu, share = tap[1] - (guest[1] - guest[0]), us(guest[1] - guest[0])
    label = f"in + out {us(qemu)}"
    if guest[1] - guest[0] > guest[0] - tap[0]:
        pic.text(at((guest[0] + guest[1]) / 2), y + LANE + GAP + 20, label, "on-lane", "middle")
    else:
        pic.text(at((tap[0] + guest[0]) / 2), y + LANE + GAP + 20, label, "on", "middle")
    before = at(guest[1]) + 8 + width_of(share) > RIGHT
    x, anchor = (at(guest[0]) - 8, "end") if before else (at(guest[1]) + 8, "start")
    pic.text(x, y + 2 * (LANE + GAP) + 20, share, "on-lane", anchor)
    return at(guest[0]), at(guest[1]), y + 2 * (LANE + GAP) + LANE - 5, foot


def waterfall(pic, y, stages):
    """The guest's share, a row a stage, the doorbell as a point at its end; returns the foot."""
    zero, end = stages[0][2], stages[-1][2] - stages[0][2]
    scale = (STAGES_END - LEFT) / end
    foot = y + len(stages) * STEP
    pic.axis(y, foot, LEFT, scale, end)
    for i, (name, function, start) in enumerate(stages):
        top, x = y + i * STEP, LEFT + (start - zero) * scale
        pic.text(24, top + 17, name, "name")
        pic.text(24 + 74, top + 17, function, "code")
        if i + 1 == len(stages):
            pic.out.append(f'<path class="guest" d="M{x:.1f} {top + 5} l7 8 l-7 8 l-7 -8z"/>')
            pic.text(x - 14, top + 17, us(end), "on-page", "end")
            continue
        dur = stages[i + 1][2] - start
        pic.rect("guest", x, top + 5, max(dur * scale, 1.5), STEP - 10, ' rx="2"')
        pic.text(x + max(dur * scale, 1.5) + 7, top + 17, us(dur), "on-page")
    return foot


def draw(trace):
    """The picture of a trace of one packet."""
    packet, stages, host = read(trace)
    guest = (stages[0][2], stages[-1][2])
    ping = packet["name"].startswith("ICMP ")
    what = "a ping" if ping else f"a {packet['name'].split()[0]} exchange"
    rtt = host["round trip"][1]
    pic = Picture()
    pic.text(24, 36, f"The journey of {what}", "title")
    pic.text(RIGHT, 36, f"{packet['name']}, {packet['args']['bytes']} bytes".replace(" > ", " \u2192 "), "small", "end")
    measured = f"round trip: {rtt:.0f} µs, as " + ("ping prints it" if ping else "the program measured it")
    x1, x2, bar, foot = lanes(pic, 92, host, guest, measured)
    y = foot + 60
    pic.out.append(f'<path class="zoom" d="M{x1:.1f} {bar} L{x2:.1f} {bar} L{STAGES_END:.1f} {y} L{LEFT:.1f} {y}z"/>')
    pic.text(24, y - 12, "in the guest", "name")
    foot = waterfall(pic, y, stages)
    parts = {"host out": host["host out"][1], "QEMU": host["tap to tap"][1] - (guest[1] - guest[0]), "guest": guest[1] - guest[0]}
    if host["host in"][2]:
        parts["host in"] = host["host in"][1]
    total = " + ".join(f"{name} {value:.1f}" for name, value in parts.items()) + f" = {us(sum(parts.values()))}"
    pic.text(24, foot + 52, total, "name")
    notes = NOTES + (() if host["host in"][2] else (PING_NOTE,))
    for i, line in enumerate(notes):
        pic.text(24, foot + 73 + 16 * i, line, "small")
    height = foot + 73 + 16 * len(notes) + 4
    body = "\n".join(pic.out)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" role="img">\n'
            f"<title>The journey of {what}: {total}</title>\n<style>{STYLE}\n</style>\n"
            f'<rect class="page" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>\n{body}\n</svg>\n')


def main():
    """TRACE.json PICTURE.svg"""
    if len(sys.argv) != 3:
        sys.exit("usage: journey_svg.py TRACE.json PICTURE.svg")
    trace = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    Path(sys.argv[2]).write_text(draw(trace), encoding="utf-8")


if __name__ == "__main__":
    main()
