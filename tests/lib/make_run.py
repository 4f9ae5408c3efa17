"""scripts/run-qemu and its like, started as a user would, but with settings of the test's own."""
import os

from lib import proc
from lib.guest import ROOT

RUN, DOCTOR = str(ROOT / "scripts" / "run-qemu"), str(ROOT / "scripts" / "doctor")
_SETTINGS = {"BOOT", "MACHINE", "NET", "VHOST", "ACCEL", "MEM", "APPEND", "QEMU_ARGS", "RUN_SECONDS", "GUEST", "MAKEFLAGS",
             "MAKELEVEL"}


def clean_env():
    """Our environment without settings that somebody exported, and without a make around us."""
    return {**{k: v for k, v in os.environ.items() if k not in _SETTINGS}, "ACCEL": "tcg"}


def run_qemu(env, timeout=120, cmd=(RUN,), ns=None):
    """Runs it with no terminal, in a namespace if one is given; returns CompletedProcess."""
    return (ns or proc).run(cmd, timeout, env={**clean_env(), **env}, cwd=ROOT)
