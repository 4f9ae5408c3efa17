#!/usr/bin/python3
"""Builds the Linux guest: image.py FOLDER-OF-DEBS SERVER OUT makes OUT/bzImage and OUT/initramfs.gz, which holds busybox,
the virtio modules and the server. No root: the archive is written here."""
import gzip
import lzma
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

MODULES = ["drivers/virtio/virtio_ring", "drivers/virtio/virtio", "drivers/virtio/virtio_pci_modern_dev",
           "drivers/virtio/virtio_pci_legacy_dev", "drivers/virtio/virtio_pci", "net/core/failover",
           "drivers/net/net_failover", "drivers/net/virtio_net"]
INIT = f"""#!/bin/sh
b=/bin/busybox
for m in {" ".join(Path(m).name for m in MODULES)}; do $b insmod /m/$m.ko; done
$b ip addr add 10.0.2.2/24 dev eth0
$b ip link set eth0 up
$b ip link set lo up
exec /bin/server
"""


def entry(number, name, mode, data=b"", device=(0, 0)):
    """One entry of a "newc" cpio archive."""
    path = name.encode() + b"\0"
    fields = [number, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(path), 0]
    head = b"070701" + b"".join(b"%08x" % f for f in fields) + path
    return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)


def initramfs(root, server):
    """The archive, uncompressed."""
    files = {"bin/busybox": (root / "bin/busybox").read_bytes(), "bin/server": server.read_bytes(), "init": INIT.encode()}
    modules = next((root / "lib/modules").iterdir()) / "kernel"
    for m in MODULES:
        plain = modules / f"{m}.ko"
        files[f"m/{plain.name}"] = plain.read_bytes() if plain.exists() else lzma.decompress(plain.with_suffix(".ko.xz").read_bytes())
    entries = [(d, stat.S_IFDIR | 0o755, b"") for d in ("bin", "dev", "m", "proc", "sys")]
    entries += [(name, stat.S_IFREG | 0o755, data) for name, data in files.items()]
    entries += [("bin/sh", stat.S_IFLNK | 0o777, b"busybox")]
    out = b"".join(entry(n, *e) for n, e in enumerate(entries, 1))
    out += entry(0, "dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
    return out + entry(0, "TRAILER!!!", 0)


def main():
    """Both files, or nothing."""
    debs, server, out = map(Path, sys.argv[1:])
    with tempfile.TemporaryDirectory(dir=out) as temp:
        root = Path(temp) / "root"
        for deb in sorted(debs.glob("*.deb")):
            subprocess.run(["dpkg", "-x", deb, root], check=True)
        (out / "initramfs.gz").write_bytes(gzip.compress(initramfs(root, server), 9, mtime=0))
        shutil.copy(next((root / "boot").glob("vmlinuz-*")), out / "bzImage")


if __name__ == "__main__":
    main()
