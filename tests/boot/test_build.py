"""The build is reproducible: another path, another date, the same bytes; and it notices what has changed."""
import hashlib
import os
import re
import shutil

import pytest

from lib import proc
from lib.guest import BUILD, ROOT

IMAGES = ("barewire.elf", "barewire.efi")


def copy_of_the_tree(where):
    """The sources as an archive has them: without git, and nothing built."""
    shutil.copytree(ROOT, where, ignore=lambda d, names: [n for n in names if n in (".git", "build", "__pycache__")])


def build(where, jobs):
    """Builds there; returns each image's hash."""
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    proc.check(["make", f"-j{jobs}", "images"], 200, cwd=where, env={**env, "TZ": "Pacific/Kiritimati", "LC_ALL": "C.UTF-8"})
    return {name: hashlib.sha256((where / "build" / name).read_bytes()).hexdigest() for name in IMAGES}


@pytest.mark.timeout(600)
def test_same_bytes(tmp_path):
    """Two builds of the same sources, in paths of different length, serial and parallel; and nothing of those paths in
    the images."""
    paths = tmp_path / "a", tmp_path / "another-tell-tale-path"
    copy_of_the_tree(paths[0])
    # lwIP's sources, fetched and checked once.
    shutil.copytree(ROOT / "build" / "lwip", paths[0] / "build" / "lwip")
    shutil.copytree(paths[0], paths[1])
    assert build(paths[0], 1) == build(paths[1], 2)
    for name in IMAGES:
        assert b"tell-tale" not in (paths[1] / "build" / name).read_bytes()


def test_assembly_depends_on_what_it_includes():
    """make has been told of every .inc file that a source includes (NASM's own -MD forgets them)."""
    for source in ("boot/pvh.asm", "boot/start.asm", "kernel/x86/entry.asm"):
        included = re.findall(r'^%include "(\S+)"', (ROOT / source).read_text(encoding="utf-8"), re.M)
        rule = (BUILD / "kernel" / f"{source}.d").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()[0]
        assert included and set(rule.split(":")[1].split()) == {source, *included}, rule


def test_checks_without_git(tmp_path):
    """In an unpacked archive the checks see the files, too."""
    tree = tmp_path / "tree"
    copy_of_the_tree(tree)
    targets = "layers-check", "format-check"
    for target in targets:
        proc.check(["make", target], 60, cwd=tree)
    (tree / "net" / "bad.c").write_text('#include "drivers/bus.h"\nint  x ;\n')
    for target in targets:
        res = proc.run(["make", target], 60, cwd=tree)
        assert res.returncode and "net/bad.c" in res.stdout, f"{target}: {res.stdout}"
