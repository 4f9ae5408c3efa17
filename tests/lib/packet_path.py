"""docs/packet-path.md, read: functions and the files that it links them to, Linux's frames, and our stacks."""
import re
from dataclasses import dataclass, field

from lib.guest import ROOT

DOC = ROOT / "docs" / "packet-path.md"
VERDICTS = ("same: ", "merged into ", "not needed", "the host's kernel", "QEMU")


@dataclass
class PacketPath:
    """links: (function, path from the root). linux: {title: [(number, frame, here, why)]}. stacks: {name: [frames]}."""
    links: set = field(default_factory=set)
    linux: dict = field(default_factory=dict)
    stacks: dict = field(default_factory=dict)


def read():
    """Takes it apart."""
    text = DOC.read_text(encoding="utf-8")
    doc = PacketPath()
    doc.links = {(m[1], m[2]) for m in re.finditer(r"\[`(\w+)`\]\(\.\./([^)]+)\)", text)}
    for part in re.split(r"^#+ ", text, flags=re.M):
        title, _, body = part.partition("\n")
        rows = re.findall(r"^\| (\d+) \| `([^`]+)` \| (.*?) \|(.*)\|$", body, re.M)
        if title.startswith("Linux: "):
            doc.linux[title.removeprefix("Linux: ")] = [(int(n), frame, here, why.strip()) for n, frame, here, why in rows]
        else:
            assert not rows, f"{title}: Linux's frames outside of their section"
    for m in re.finditer(r"^```stack (\S+)\n(.*?)^```$", text, re.M | re.S):
        doc.stacks[m[1]] = m[2].split("\n")[:-1]
    return doc


def stack(name, door):
    """One of our stacks, with the last frame that the door gives it."""
    frames = read().stacks[name]
    pvh, uefi = frames[-1].split(", or ")
    return [*frames[:-1], {"pvh": pvh, "uefi": uefi}[door]]
