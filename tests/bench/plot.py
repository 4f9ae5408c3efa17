"""Plots as SVG, written by hand: the standard library has none."""
import math
from xml.sax.saxutils import escape

COLOURS = ["#1f6fb2", "#d9822b", "#6b6b6b", "#4c9a5a"]


class Svg:
    """A picture that grows by elements."""

    def __init__(self, width, height, title):
        self.width, self.height = width, height
        self.parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
                      f'viewBox="0 0 {width} {height}">', f'<rect width="{width}" height="{height}" fill="white"/>']
        self.text(12, 22, title, weight="bold", size=14)

    def text(self, x, y, text, anchor="start", weight="normal", size=12, fill="#222"):
        """One line of text."""
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}" '
                          f'font-size="{size}" font-family="sans-serif" fill="{fill}">{escape(text)}</text>')

    def line(self, x1, y1, x2, y2, colour="#ddd", width=1.0):
        """A straight line."""
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
                          f'stroke-width="{width}"/>')

    def bar(self, x, y, width, height, colour):
        """A filled rectangle."""
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="{height:.1f}" fill="{colour}"/>')

    def curve(self, points, colour):
        """A line with dots."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        self.parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in points]

    def legend(self, names, y):
        """Which colour is whose."""
        x = 12
        for n, name in enumerate(names):
            self.bar(x, y - 10, 12, 12, COLOURS[n])
            self.text(x + 17, y, name)
            x += 40 + 7 * len(name)

    def finish(self):
        """The file's text."""
        return "\n".join([*self.parts, "</svg>"]) + "\n"


def short(value):
    """12,222 as 12.2k."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.3g}"


def _decades(low, high):
    return range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)


def bars(title, groups, names, log=False, unit=""):
    """Horizontal bars. groups: [(label, [value or None per name])]."""
    step, top, left, right = 15, 60, 190, 70
    height = top + len(groups) * (step * len(names) + 12) + 34
    svg = Svg(760, height, title)
    svg.legend(names, 42)
    values = [v for _, row in groups for v in row if v]
    if not values:
        return svg.finish()
    span = svg.width - left - right
    if log:
        ticks = list(_decades(min(values), max(values)))
        low, high = ticks[0], ticks[-1]
        scale = lambda v: (math.log10(v) - low) / (high - low) * span  # noqa: E731
        marks = [10 ** t for t in ticks]
    else:
        unit_step = 10 ** math.floor(math.log10(max(values)))
        most = math.ceil(max(values) / unit_step) * unit_step
        scale = lambda v: v / most * span  # noqa: E731
        marks = [most * n / 4 for n in range(5)]
    bottom = height - 30
    for mark in marks:
        svg.line(left + scale(mark), top - 8, left + scale(mark), bottom)
        svg.text(left + scale(mark), bottom + 16, short(mark) + unit if mark else "0", "middle", fill="#666")
    y = top
    for label, row in groups:
        svg.text(left - 8, y + step * len(names) / 2 + 4, label, "end")
        for n, value in enumerate(row):
            if value:
                svg.bar(left, y + n * step, scale(value), step - 2, COLOURS[n])
                svg.text(left + scale(value) + 4, y + n * step + 11, short(value), size=11)
        y += step * len(names) + 12
    return svg.finish()


def lines(title, xlabel, series):
    """Curves over a logarithmic x axis, y from 0. series: {name: [(x, y)]}."""
    left, right, top, bottom = 70, 30, 60, 340
    svg = Svg(760, 390, title)
    svg.legend(list(series), 42)
    points = [p for curve in series.values() for p in curve]
    if not points:
        return svg.finish()
    xs = list(_decades(min(x for x, _ in points), max(x for x, _ in points)))
    most = max(y for _, y in points) * 1.1
    at = lambda x, y: (left + (math.log10(x) - xs[0]) / max(1, xs[-1] - xs[0]) * (svg.width - left - right),  # noqa: E731
                       bottom - y / most * (bottom - top))
    for n in range(5):
        svg.line(*at(10 ** xs[0], most * n / 4), *at(10 ** xs[-1], most * n / 4))
        svg.text(left - 8, at(1, most * n / 4)[1] + 4, short(most * n / 4) if n else "0", "end", fill="#666")
    for x in xs:
        svg.text(at(10 ** x, 0)[0], bottom + 18, f"{10 ** x:,}", "middle", fill="#666")
    svg.text((left + svg.width - right) / 2, bottom + 40, xlabel, "middle")
    for n, curve in enumerate(series.values()):
        svg.curve([at(*p) for p in curve], COLOURS[n])
        svg.text(at(*curve[-1])[0] + 2, at(*curve[-1])[1] - 8, short(curve[-1][1]), "end", size=11)
    return svg.finish()
