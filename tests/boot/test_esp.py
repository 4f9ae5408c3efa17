"""The UEFI application on a disk: \\EFI\\BOOT\\BOOTX64.EFI, with its words from a file beside it."""
import shutil

import pytest

from lib.guest import BUILD
from lib.ping import assert_answers


@pytest.mark.parametrize("machine", ["q35", "pc"])
def test_boot_from_an_esp(lan, boot, tmp_path, machine):
    """No -kernel, no -append: the firmware finds us, and \\barewire\\cmdline.txt has the words, a few on each line."""
    (tmp_path / "EFI" / "BOOT").mkdir(parents=True)
    shutil.copy(BUILD / "barewire.efi", tmp_path / "EFI" / "BOOT" / "BOOTX64.EFI")
    (tmp_path / "barewire").mkdir()
    (tmp_path / "barewire" / "cmdline.txt").write_bytes(b"ip=10.0.2.9/24 gw=10.0.2.1\nbarewire:\r\n\tapp=echo\n")
    g = boot(lan, door="uefi", machine=machine, esp=tmp_path)
    ready = g.ready()
    assert (ready.ip, ready.gw, ready.apps) == ("10.0.2.9", "10.0.2.1", ["echo"])
    raw = bytes(g.log.raw)
    ours = raw[raw.index(b"barewire: "):]
    assert ours.count(b"\n") == ours.count(b"\r\n"), "the file's lines are not the log's"
    assert len(g.log.find(r"^barewire:")) == 2, "first line and ready line"
    assert_answers(lan, ready.ip)
