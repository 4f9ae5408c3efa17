"""The measurements as markdown tables and as plots."""
from bench import plot, profile
from bench.passes import MASKS, median

OPERATIONS = {"icmp": "ICMP echo", "tcp1": "TCP round trip, 1 B", "tcp1k": "TCP round trip, 1 KiB", "udp1": "UDP round trip, 1 B",
              "crr": "TCP connect + 1 B + close", "http": "HTTP GET 1 KiB, keep-alive", "send": "MiB host to guest (discard)",
              "recv": "MiB guest to host (chargen)", "echo": "MiB echoed byte-exact"}
# What the project wants of itself: guest instructions.
WANTED = {"boot pc": 7e6, "boot microvm": 1.5e6, "idle": 500, "icmp": 1500, "tcp1": 3500, "tcp1k": 3800, "udp1": 2200,
          "crr": 15000, "http": 4500, "send": 120000, "recv": 200000, "echo": 350000}
EXITS = ["mmio", "pio", "wrmsr", "rdmsr", "hlt"]
# row: title, format, and whether more is better; wanted ratio to Linux, if there is one
TIMES = {
    "boot_s": ("start of QEMU to first ping reply, s", "{:.3f}", False), "idle_cpu_pct": ("idle: QEMU CPU, %", "{:.2f}", False),
    "flood_rate": ("ping -f, replies/s", "{:,.0f}", True), "flood_cpu_us": ("ping -f: QEMU CPU per echo, µs", "{:.1f}", False),
    "icmp_rate": ("ICMP ping-pong, /s", "{:,.0f}", True), "icmp_p50_us": ("ICMP ping-pong p50, µs", "{:.0f}", False),
    "tcp1_rate": ("TCP 1 B ping-pong, /s", "{:,.0f}", True), "tcp1_p50_us": ("TCP 1 B ping-pong p50, µs", "{:.0f}", False),
    "tcp1k_rate": ("TCP 1 KiB ping-pong, /s", "{:,.0f}", True), "udp1_rate": ("UDP 1 B ping-pong, /s", "{:,.0f}", True),
    "crr_rate": ("TCP connect + 1 B + close, /s", "{:,.0f}", True),
    "send_rate": ("host to guest, MiB/s", "{:,.0f}", True), "send_cpu_us": ("host to guest: QEMU CPU per MiB, µs", "{:,.0f}", False),
    "recv_rate": ("guest to host, MiB/s", "{:,.0f}", True), "recv_cpu_us": ("guest to host: QEMU CPU per MiB, µs", "{:,.0f}", False),
    "echo_rate": ("echoed byte-exact, MiB/s", "{:,.0f}", True),
    "http1_rate": ("HTTP, wrk, 1 connection, /s", "{:,.0f}", True), "http16_rate": ("HTTP, wrk, 16 connections, /s", "{:,.0f}", True),
    "http16_cpu_us": ("HTTP, 16 connections: QEMU CPU per request, µs", "{:.1f}", False),
    "ram_mib": ("guest memory touched (-m 256), MiB", "{:.0f}", False),
}
WANTED_RATIO = {"boot_s": 30, "flood_rate": 2.5, "send_rate": 1.5, "recv_rate": 1.5, "http16_rate": 2.5}


def number(value):
    """With as many digits as mean something."""
    if value is None:
        return "-"
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def table(head, rows):
    """Markdown."""
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(r) + " |" for r in rows])


def spread(values):
    """Of several measurements, in percent of their median."""
    values = [v for v in values if v is not None]
    m = median(values)
    return f"±{max(max(values) - m, m - min(values)) / m:.1%}" if len(values) > 1 and m else "-"


def net_counts(data, name, operation):
    """All repetitions of all boots."""
    return [c["net"] for boot in data["count"].get(name, []) for c in boot["operations"].get(operation, [])]


def count_rows(data):
    """key: (title, {sut: [values]}) of everything that is counted in instructions."""
    names = data["suts"]
    rows = {"boot pc": ("boot to first ping reply, `pc`", {n: [b["boot"]["net"] for b in data["count"].get(n, [])] for n in names}),
            "boot microvm": ("the same, `microvm,pcie=on`", {names[0]: data["boot_microvm"]}),
            "idle": ("idle, per second", {n: [b["idle"]["net"] for b in data["count"].get(n, [])] for n in names})}
    for key, title in OPERATIONS.items():
        rows[key] = (title, {n: net_counts(data, n, key) for n in names})
    return rows


def instructions(data):
    """The first table."""
    names = data["suts"]
    ours, others = names[0], names[1:]
    rows = []
    for key, (title, values) in count_rows(data).items():
        got = median(values.get(ours, []))
        cells = [title, number(got), spread(values.get(ours, [])), number(WANTED[key]), f"{got / WANTED[key]:.2f}" if got else "-"]
        for other in others:
            theirs = median(values.get(other, []))
            cells += [number(theirs), f"{theirs / got:.1f}x" if got and theirs else "-"]
        rows.append(cells)
    head = ["guest instructions per operation", ours, "spread", "wanted", "of wanted"]
    return table(head + [h for o in others for h in (o, f"{o} / {ours}")], rows)


def exits(data):
    """What would leave a hardware VM."""
    rows = []
    for key, title in {**OPERATIONS, "flood": "ping -f", "flood64": "ping -f -l 64"}.items():
        for name in data["suts"]:
            raws = [c["raw"] for boot in data["exits"].get(name, []) for c in boot["operations"].get(key, [])]
            if raws:
                rows.append([title, name] + [number(median([r[e] for r in raws])) for e in EXITS])
    for name in data["suts"]:
        if boots := data["exits"].get(name):
            rows.append(["idle, per second", name] + [number(median([b["idle"][e] for b in boots])) for e in EXITS])
    return table(["exits per operation", "guest", "MMIO", "port I/O", "WRMSR", "RDMSR", "HLT"], rows)


def timings(data):
    """Wall clock, side by side."""
    names, rows = data["suts"], []
    for key, (title, form, more) in TIMES.items():
        per = {n: [v for r in data["time"].get(n, []) if (v := r.get(key)) is not None] for n in names}
        if not any(per.values()):
            continue
        cells = [title]
        for n in names:
            cells.append("-" if not per[n] else form.format(median(per[n])) +
                         (f" [{form.format(min(per[n]))}-{form.format(max(per[n]))}]" if len(per[n]) > 1 else ""))
        for other in names[1:]:
            a, b = median(per[names[0]]), median(per[other])
            ratio = (a / b if more else b / a) if a and b else None
            cells.append(f"{ratio:.2f}x" if ratio else "-")
        rows.append(cells + [f"{WANTED_RATIO[key]:g}x" if key in WANTED_RATIO else ""])
    return table(["median of rounds [lowest-highest]", *names, *(f"better than {o}" for o in names[1:]), "wanted"], rows)


def boots(data):
    """Seconds to the first ping reply beside a kernel that does nothing."""
    rows = []
    for machine in ("pc", "microvm,pcie=on"):
        b = data["boot_s"][machine]
        floor, ours = median(b["floor"]), median(b["Barewire"])
        rows.append([f"`{machine}`", f"{floor:.3f} [{min(b['floor']):.3f}-{max(b['floor']):.3f}]",
                     f"{ours:.3f} [{min(b['Barewire']):.3f}-{max(b['Barewire']):.3f}]", f"{ours / floor:.2f}"])
    return table(["seconds from the start of QEMU", "first instruction of an empty kernel", "Barewire's first ping reply", "ratio"], rows)


def flat(data):
    """Cost against the number of connections."""
    rows = []
    for name, points in data["flat"].items():
        first = points[0][1]["per_op"]
        rows += [[f"{conns:,}", name, number(p["per_op"]), f"{p['per_op'] / first:.2f}", number(p["idle_per_s"]), f"{p['ram_mib']:.0f}"]
                 for conns, p in points]
    return table(["connections", "guest", "instructions per round trip and its ACK", "of the first", "idle, per second", "MiB touched"], rows)


def masks(data):
    """Each offload's effect."""
    rows = []
    for mask, m in data["masks"].items():
        rates = [[r[way] for r in m["rates"] if way in r] for way in ("send", "recv")]
        rows.append([mask, f"`{MASKS[mask]}`" if MASKS[mask] else ""] + [number(m["counts"].get(way)) for way in ("send", "recv", "echo")] +
                    [f"{median(r):,.0f} [{min(r):,.0f}-{max(r):,.0f}]" if r else "-" for r in rates])
    return table(["offloads", "command line", "instructions per MiB to guest", "from guest", "echoed", "to guest, MiB/s",
                  "from guest, MiB/s"], rows)


def errors(data):
    """What a guest failed, under the tables."""
    out = []
    for kind in ("time", "count", "exits"):
        for name, boot_list in data[kind].items():
            out += [f"- {name}, {kind}, {what}: {why}" for boot in boot_list for what, why in boot["errors"].items()]
    for mask, m in data["masks"].items():
        out += [f"- offloads {mask}, {what}: {why}" for part in (m["counts"], *m["rates"]) for what, why in part.get("errors", {}).items()]
    return "\n".join(out + [f"- {what}: {why}" for what, why in data["errors"].items()])


def conditions(data):
    """On what it was measured."""
    return (f"Measured {data['started']} with {data['qemu']}, {data['compiler']}; load average {data['loadavg'][0]:.1f} before, "
            f"{data['loadavg'][1]:.1f} after.")


def profiles(data):
    """Functions and layers of single operations."""
    return "\n\n".join(profile.markdown(what, rows, 40) for what, rows in data["profile"].items())


SECTIONS = {  # key of the measurements: title and what makes the table
    "count": ("Guest instructions", instructions), "exits": ("Exits", exits), "boot_s": ("Boot", boots),
    "time": ("Wall clock, side by side", timings), "flat": ("Cost against the number of connections", flat),
    "masks": ("Offloads", masks), "profile": ("Where the instructions go", profiles),
}


def markdown(data):
    """All there is."""
    parts = [conditions(data)]
    for key, (title, render) in SECTIONS.items():
        if data[key]:
            parts += [f"## {title}", render(data)]
    if text := errors(data):
        parts += ["## What failed", text]
    return "\n\n".join(parts) + "\n"


def plots(data):
    """{file name: SVG}."""
    names = data["suts"]
    groups = [(title, [median(values.get(n, [])) for n in names] + [WANTED[key]]) for key, (title, values) in count_rows(data).items()]
    groups = [(title.replace("`", ""), row) for title, row in groups]
    out = {"instructions.svg": plot.bars("Guest instructions per operation (logarithmic; fewer is better)", groups, [*names, "wanted"], log=True)}
    if data["flat"]:
        out["connections.svg"] = plot.lines("Guest instructions per TCP round trip and its acknowledgement", "established connections, used in turn",
                                            {n: [(c, p["per_op"]) for c, p in points] for n, points in data["flat"].items()})
    if data["masks"]:
        rows = [(mask, [median([r.get(way) for r in m["rates"]]) for way in ("send", "recv")]) for mask, m in data["masks"].items()]
        out["offloads.svg"] = plot.bars("Bulk throughput by what is left of the offloads, MiB/s", rows, ["host to guest", "guest to host"])
    return out
