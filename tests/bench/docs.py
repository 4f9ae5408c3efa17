#!/usr/bin/python3
"""Puts the results of the last `make bench` into docs/performance.md, between its markers, and the plots beside it."""
import json
import re
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from bench import report  # noqa: E402
from bench.vm import OUT  # noqa: E402
from lib.guest import ROOT  # noqa: E402

PAGE, PICTURES = ROOT / "docs" / "performance.md", ROOT / "docs" / "performance"


def fill(text, data):
    """The page with every marked part made anew. A part that was not measured is an error: tables of different runs
    do not belong on one page."""
    made = {"conditions": report.conditions(data), **{key: render(data) for key, (_, render) in report.SECTIONS.items()}}

    def part(m):
        assert made[m[1]], f"{m[1]} was not measured; the page needs a whole `make bench`"
        return f"<!-- bench: {m[1]} -->\n{made[m[1]]}\n<!-- end -->"

    return re.sub(r"<!-- bench: (\w+) -->\n.*?<!-- end -->", part, text, flags=re.S)


def main():
    """Rewrites what is committed; `git diff` shows what has changed."""
    data = json.loads((OUT / "results.json").read_text(encoding="utf-8"))
    PAGE.write_text(fill(PAGE.read_text(encoding="utf-8"), data), encoding="utf-8")
    PICTURES.mkdir(exist_ok=True)
    for name, svg in report.plots(data).items():
        (PICTURES / name).write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
