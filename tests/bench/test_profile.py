"""tests/bench/profile.py on a real guest."""
import pytest

from bench import profile
from bench.passes import OPERATIONS
from bench.vm import OUT, Vm, barewire


@pytest.mark.usefixtures("_tun")
def test_a_ping_by_functions():
    """Every function has a name and a layer, and together they are what the other plugin counts."""
    missing = [name for name in ("load", "insncount.so", "insnprof.so") if not (OUT / name).exists()]
    if missing:
        pytest.skip(f"not built: {', '.join(missing)}; `make bench-tools` says why (QEMU's plugin header comes from the network, once)")
    with profile.Profiler() as profiler:
        rows = profiler.measure("ping", 400)
    with Vm(barewire(), "") as vm:
        vm.load(*OPERATIONS["icmp"](400))
        count = vm.count(vm.idle(1), *OPERATIONS["icmp"](400))["net"]
    total = sum(c for _, _, c in rows)
    functions, layers = {f for f, _, _ in rows}, dict(profile.by_layer(rows))
    assert total == pytest.approx(count, rel=0.03)
    assert {"icmp_input", "virtnet_poll", "lwip_linkoutput", "asm_common_interrupt"} <= functions
    assert layers.get("other", 0) < 0.02 * total
    assert layers["lwIP"] > 0.1 * total and layers["virtio-net driver"] > 0.05 * total
