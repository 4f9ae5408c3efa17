"""What a boot costs, in guest instructions: under -icount shift=0 the time stamp counter counts them. The clock's calibration
waits a millisecond, which is up to a million of them in this mode (and some ten thousand in any other)."""
import pytest

from lib import netstat

LIMIT = 3_000_000


# OVMF's own waiting is counted in instructions, too: over a minute on two busy cores, and more with more load.
@pytest.mark.timeout(400)
@pytest.mark.parametrize("door,machine", [("pvh", "pc"), ("pvh", "q35"), ("pvh", "microvm"),
                                          pytest.param("uefi", "q35", marks=pytest.mark.slow)])
def test_instructions_from_entry_to_ready(lan, boot, door, machine):
    """Under 3 M from the kernel's first instruction to the ready line, with a static address."""
    g = boot(lan, door=door, machine=machine, append="diag", extra=["-icount", "shift=0,sleep=off"])
    g.ready(300)
    stat = netstat.read(lan)
    count = stat["boot_ready_tsc"] - stat["boot_entry_tsc"]
    assert stat["boot_entry_tsc"] > 0
    print(f"{door} {machine}: {count} instructions")
    assert 100_000 < count < LIMIT, count
