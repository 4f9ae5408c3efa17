"""Too little memory is refused with a clear line; no size ends in silence or in a triple fault."""
import re

import pytest

from lib.ping import assert_answers
from lib.guest import POWER_OFF
from lib.serial_log import NoLine


@pytest.mark.parametrize("machine", ["q35", "microvm"])
@pytest.mark.parametrize("mem", [4, 5, 6, 7, 8, 10, 12, 14])
def test_small_pvh(lan, boot, machine, mem):
    """Below what is promised by PVH: it serves, or says why not and ends with a status of its own."""
    g = boot(lan, machine=machine, mem=mem)
    try:
        ready = g.ready()
    except NoLine:
        status = g.exit_status(10)
        assert status not in (0, 1, POWER_OFF) and status & 1, f"{status}: a triple fault or QEMU's own end\n{g.log.tail()}"
        assert any(re.search(r"(?i)memory", line) for line in g.log.lines), g.log.tail()
        return
    assert_answers(lan, ready.ip)


@pytest.mark.parametrize("mem", [40, 48, 56])
def test_small_uefi(lan, boot, mem):
    """OVMF needs the range the kernel is linked at: the loader says so and stops, it never overwrites. (At 32 MiB and
    below OVMF does not reach the loader.)"""
    g = boot(lan, door="uefi", mem=mem)
    m = g.wait_line(r"^barewire: ready|(?i:barewire.*memory)", 60)
    if m[0].startswith("barewire: ready"):
        assert_answers(lan, "10.0.2.2")
    else:
        assert not g.log.find(r"^barewire: panic"), g.log.tail()
