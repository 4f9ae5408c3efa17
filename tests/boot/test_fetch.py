"""scripts/fetch-lwip on a machine that has never fetched: a Debian archive of our own, on disk, with this one package."""
import hashlib
import os
import re
import shutil
from pathlib import Path

import pytest

from lib import proc
from lib.guest import ROOT

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "barewire" / "lwip"


def make_archive(top):
    """An unsigned archive: pool, Sources made from the .dsc, Release."""
    dsc = next(iter(CACHE.glob("*.dsc")), None)
    if not dsc:
        pytest.skip(f"no source package in the cache {CACHE}: lwIP came from LWIP_DIR")
    pool, index = top / "pool", top / "dists" / "trixie" / "main" / "source" / "Sources"
    shutil.copytree(CACHE, pool, ignore=shutil.ignore_patterns(".lock"))
    index.parent.mkdir(parents=True)
    # The .dsc without its signature, and with itself among its files, is the package's entry.
    text = dsc.read_text(encoding="utf-8")
    text = re.sub(r"-----BEGIN PGP SIGNATURE.*", "", re.sub(r"-----BEGIN.*?\n\n", "", text, flags=re.S), flags=re.S).strip()
    data = dsc.read_bytes()
    itself = f"\n {hashlib.sha256(data).hexdigest()} {len(data)} {dsc.name}"
    text = text.replace("Source: lwip", "Package: lwip\nDirectory: pool").replace("Checksums-Sha256:", "Checksums-Sha256:" + itself)
    itself = f"\n {hashlib.md5(data).hexdigest()} {len(data)} {dsc.name}"
    text = text.replace("Files:", "Files:" + itself)
    index.write_text(text + "\n", encoding="utf-8")
    data = index.read_bytes()
    (top / "dists" / "trixie" / "Release").write_text(
        "Suite: trixie\nCodename: trixie\nComponents: main\nArchitectures: source\nDate: Sat, 01 Jan 2022 00:00:00 UTC\n"
        f"SHA256:\n {hashlib.sha256(data).hexdigest()} {len(data)} main/source/Sources\n", encoding="utf-8")
    return f"file:{top}"


def fetch(tmp_path, dest, mirror):
    """Runs it with an empty cache in tmp_path, as make does from the top of the checkout. Returns what it printed."""
    checkout = tmp_path / "checkout"
    if not checkout.exists():
        (checkout / "scripts").mkdir(parents=True)
        for name in ("fetch-lwip", "apt-private"):
            shutil.copy2(ROOT / "scripts" / name, checkout / "scripts")
        shutil.copytree(ROOT / "net" / "lwip" / "patches", checkout / "net" / "lwip" / "patches")
    env = {k: v for k, v in os.environ.items() if k != "LWIP_DIR"}
    return proc.run(["scripts/fetch-lwip", dest], 120, cwd=checkout,
                    env={**env, "XDG_CACHE_HOME": str(tmp_path / "cache"), "LWIP_MIRROR": mirror})


def test_fetch_into_a_relative_path(tmp_path):
    """The Makefile says build/lwip. Then once more without the archive, from the cache."""
    mirror = make_archive(tmp_path / "archive")
    res = fetch(tmp_path, "build/lwip", mirror)
    assert res.returncode == 0, res.stdout
    assert "fetching" in res.stdout
    assert (tmp_path / "checkout" / "build" / "lwip" / "src" / "include" / "lwip" / "init.h").exists()
    res = fetch(tmp_path, "build/again", "file:/nowhere")
    assert res.returncode == 0, res.stdout
    assert "fetching" not in res.stdout


def test_fetch_refuses_a_changed_package(tmp_path):
    """An archive without a signature, and a byte more in a file: nothing is unpacked."""
    mirror = make_archive(tmp_path / "archive")
    changed = next((tmp_path / "archive" / "pool").glob("*.debian.tar.xz"))
    changed.write_bytes(changed.read_bytes() + b"\0")
    res = fetch(tmp_path, "build/lwip", mirror)
    assert res.returncode == 1
    assert "no lwIP 2.2.1 to be had" in res.stdout
    assert not (tmp_path / "checkout" / "build" / "lwip").exists()


def test_fetch_says_what_is_missing(tmp_path):
    """No archive there: a clear line."""
    res = fetch(tmp_path, "build/lwip", f"file:{tmp_path}/nowhere")
    assert res.returncode == 1
    assert "no lwIP 2.2.1 to be had" in res.stdout


def test_lwip_dir_after_the_package(tmp_path):
    """LWIP_DIR= counts in a checkout that has been built with the package, too; and so does leaving it out again."""
    for name in ("Makefile", "scripts", "net"):
        src = ROOT / name
        (shutil.copytree if src.is_dir() else shutil.copy2)(src, tmp_path / name)
    stamp = tmp_path / "build" / "lwip" / ".stamp"
    # Instead of the script, one that makes a tree out of what it was told.
    (tmp_path / "scripts" / "fetch-lwip").write_text('#!/bin/sh\necho "from ${LWIP_DIR:-package}"\nmkdir -p $1\ntouch $1/.stamp\n')
    source = tmp_path / "mine" / "src" / "core" / "tcp.c"
    source.parent.mkdir(parents=True)
    source.touch()

    def make(lwip_dir):
        env = {k: v for k, v in os.environ.items() if k not in ("LWIP_DIR", "MAKEFLAGS", "MAKELEVEL")}
        return proc.check(["make", stamp.relative_to(tmp_path), f"LWIP_DIR={lwip_dir}"], 60, cwd=tmp_path, env=env)

    assert "from package" in make("")
    assert "from" not in make("")
    assert f"from {tmp_path}/mine" in make(tmp_path / "mine")
    assert "from" not in make(tmp_path / "mine")
    source.write_text("changed")
    os.utime(source, (stamp.stat().st_mtime + 5,) * 2)
    assert f"from {tmp_path}/mine" in make(tmp_path / "mine")
    assert "from package" in make("")
