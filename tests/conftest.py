"""Fixtures, and what happens around every test."""
import os
import re
import signal
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True

from lib import sandbox  # noqa: E402

# First of all, while this process has one thread and no child.
_NO_SANDBOX = sandbox.enter()

import pytest  # noqa: E402

from lib import proc  # noqa: E402
from lib.guest import BUILD, Guest  # noqa: E402
from lib.lan import Lan  # noqa: E402

_NO_TUN = None if _NO_SANDBOX else sandbox.tun_missing()


def _interrupt(*_):
    raise KeyboardInterrupt


def pytest_configure(config):  # pylint: disable=unused-argument
    """SIGTERM unwinds like Ctrl-C, so that fixtures clean up. (After SIGKILL the kernel does it: lib/proc.py.)"""
    signal.signal(signal.SIGTERM, _interrupt)


def pytest_collection_modifyitems(items):
    """Whatever takes longest starts first, so that two workers end at about the same time."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session", autouse=True)
def _sandboxed():
    if _NO_SANDBOX:
        pytest.skip(_NO_SANDBOX)


@pytest.fixture(scope="session")
def _tun():
    if _NO_TUN:
        pytest.skip(_NO_TUN)


@pytest.fixture
def lan(_tun):
    """A private network with one tap; the host is 10.0.2.1."""
    net = Lan()
    yield net
    net.close()


@pytest.fixture
def boot():
    """boot(lan, **options) starts a guest that ends with the test. See lib/guest.py:Guest."""
    guests = []

    def start(*args, **kw):
        guests.append(Guest(*args, **kw))
        return guests[-1]

    yield start
    for guest in guests:
        guest.close()


@pytest.fixture
def guest(lan, boot):
    """A running test image with every app and `diag`, by PVH on q35."""
    g = boot(lan, image="test", append="diag")
    g.ready()
    return g


@pytest.fixture(scope="module")
def module_lan(_tun):
    """A LAN for tests that leave it as they found it."""
    net = Lan()
    yield net
    net.close()


@pytest.fixture(scope="module")
def module_guest(module_lan):
    """One guest for a module's tests, each of which checks that it leaves no trace."""
    g = Guest(module_lan, image="test", append="diag")
    g.ready()
    yield g
    g.close()


def _log_folder(nodeid):
    name = re.sub(r"[^A-Za-z0-9_.=-]+", "_", nodeid).strip("_")
    for base in (os.environ.get("BAREWIRE_TEST_LOGS"), BUILD / "test-logs", tempfile.gettempdir() + "/barewire-test-logs"):
        if base:
            try:
                folder = Path(base) / name
                folder.mkdir(parents=True, exist_ok=True)
                return folder
            except OSError:
                continue
    return None


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failing test shows the end of each guest's serial log, and keeps logs and captures in build/test-logs."""
    outcome = yield
    report = outcome.get_result()
    if call.excinfo is not None and call.excinfo.errisinstance(proc.MissingTool):
        report.longrepr = f"{item.nodeid}: {call.excinfo.value}: `make deps` installs what the tests need"
    if not report.failed or not Guest.live:
        return
    folder = _log_folder(item.nodeid)
    for n, g in enumerate(Guest.live):
        report.sections.append((f"guest {n}", g.log.tail(40)))
        if folder:
            g.save(folder, n)
    if folder:
        report.sections.append(("logs kept in", os.path.relpath(folder, BUILD.parent)))
