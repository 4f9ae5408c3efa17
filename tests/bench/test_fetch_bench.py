"""scripts/fetch-bench with and without what it fetches."""
import os
import re

from lib import proc
from lib.guest import ROOT


def fetch(cache, what, dest):
    """Runs it on a machine that has this cache and an archive that is not there."""
    return proc.run([ROOT / "scripts" / "fetch-bench", what, dest], 60,
                    env={**os.environ, "XDG_CACHE_HOME": str(cache), "DEBIAN_MIRROR": f"file:{cache}/nowhere"})


def test_says_what_is_missing(tmp_path):
    """No archive and an empty cache: a clear line, and nothing half made."""
    for what, named in (("header", "source package of QEMU"), ("linux", "Linux guest")):
        res = fetch(tmp_path, what, tmp_path / what)
        assert res.returncode == 1, res.stdout
        assert re.search(rf"^fetch-bench: no {named}.* to be had; asked: file:{tmp_path}/nowhere", res.stdout, re.M), res.stdout
        assert not (tmp_path / what).exists()
    assert sorted(p.name for p in (tmp_path / "barewire" / "bench").iterdir()) == [".lock"]


def test_offline_from_the_cache(tmp_path):
    """What is in the cache needs no archive."""
    version = re.search(r"version (\d+\.\d+)", proc.check(["qemu-system-x86_64", "--version"]))[1]
    kept = tmp_path / "barewire" / "bench" / f"qemu-plugin-{version}.h"
    kept.parent.mkdir(parents=True)
    kept.write_text("the header\n", encoding="ascii")
    res = fetch(tmp_path, "header", tmp_path / "include" / "qemu-plugin.h")
    assert res.returncode == 0 and "fetching" not in res.stdout, res.stdout
    assert (tmp_path / "include" / "qemu-plugin.h").read_text(encoding="ascii") == "the header\n"
