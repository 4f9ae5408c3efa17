"""No operation costs more guest instructions than what was recorded (regression.json). A count, not a time: however busy the
machine is, it is the same. After a change that is worth its price: `make bench-record`, and say why in the commit."""
import json

import pytest

from bench import regression
from bench.vm import OUT

LIMIT = 1.03
# Another compiler makes other code; then only what no compiler explains is a failure.
LIMIT_OTHER_COMPILER = 1.20


@pytest.mark.usefixtures("_tun")
def test_instructions():
    """At most 3 % over the recorded figures; one guest for all of them."""
    missing = [name for name in ("load", "insncount.so") if not (OUT / name).exists()]
    if missing:
        pytest.skip(f"not built: {', '.join(missing)}; `make bench-tools` says why (QEMU's plugin header comes from the network, once)")
    recorded = json.loads(regression.RECORD.read_text(encoding="ascii"))
    same = recorded["compiler"] == regression.compiler()
    over = []
    for operation, now in regression.measure().items():
        was = recorded["instructions"][operation]
        limit = was * (LIMIT if same else LIMIT_OTHER_COMPILER)
        line = f"{regression.GUARDED[operation]}: {now:,.0f} guest instructions, recorded {was:,}, limit {limit:,.0f}"
        print(line)
        if same and now < was * (2 - LIMIT):
            print("fewer: `make bench-record` keeps it so")
        if not 0 < now <= limit:
            over.append(line)
    assert not over, "\n".join([*over, "tests/bench/profile.py shows where they go"])
