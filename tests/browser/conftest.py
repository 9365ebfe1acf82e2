"""The real server on a free port, and a real browser."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
# Off: what Playwright turns off, which a list of our own takes the place of; and the pages that draw the browser's own
# window beside each tab, which took a quarter of the processor time of opening one.
FEATURES_OFF = (
    "AimEnabled",
    "AvoidCorsURLLoaderRestartOnRedirect",
    "AvoidUnnecessaryBeforeUnloadCheckSync",
    "DestroyProfileOnBrowserClose",
    "HttpsFirstBalancedModeAutoEnable",
    "HttpsUpgrades",
    "LensOverlay",
    "MediaRouter",
    "NetworkTimeServiceQuerying",
    "OptimizationHints",
    "PaintHolding",
    "PreconnectToSearch",
    "ThirdPartyStoragePartitioning",
    "PreloadTopChromeWebUI",
    "WebUIOmniboxAimPopup",
    "WebUIOmniboxPopup",
)
FLAGS = [
    f"--disable-features={','.join(FEATURES_OFF)}",
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    # Nobody beyond this machine is looked up or asked; evil.test stands for a name that leads here by DNS rebinding.
    "--host-resolver-rules=MAP evil.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1, EXCLUDE ::1",
]
PATIENCE = 60.0  # seconds for the server to come up


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def running_server(
    folder: Path,
    port: int,
    *,
    kill: bool = False,
    command: Sequence[str] = ("streamlit", "run", str(ROOT / "app" / "main.py")),
    options: Sequence[str] = (),
    host: str = "127.0.0.1",
    cwd: Path = ROOT,
    **environment: str,
) -> Iterator[str]:
    """Address of the real server, with its runs and its log in ``folder``; stopped, or killed, at the end."""
    full = [sys.executable, "-m", *command, f"--server.port={port}", "--server.headless=true", *options]
    known = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ['PYTHONPATH']}",
        "MASKDISTILL_RUNS": str(folder / "runs"),
        "HF_HUB_OFFLINE": "1",
        **environment,
    }
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(full, cwd=cwd, env=known, stdout=log, stderr=log)
        try:
            _wait_until_healthy(f"http://{host}:{port}/_stcore/health", process)
            yield f"http://{host}:{port}"
        finally:
            (process.kill if kill else process.terminate)()
            process.wait(10)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server with an empty runs folder."""
    with running_server(tmp_path_factory.mktemp("server"), free_port()) as address:
        yield address


@pytest.fixture(scope="session")
def port() -> int:
    """One that nobody listens at, for a server that is started more than once."""
    return free_port()


@pytest.fixture(scope="module")
def serve_once() -> Iterator[Callable[..., str]]:
    """``serve_once(folder)``: address of a server that runs as long as the module's tests; the environment by name."""
    with ExitStack() as servers:
        yield lambda folder, **environment: servers.enter_context(running_server(folder, free_port(), **environment))


@pytest.fixture
def serve() -> Callable[..., AbstractContextManager[str]]:
    """``running_server``, for a test that stops it and starts it again."""
    return running_server


@contextmanager
def _held_up(address: str) -> Iterator[None]:
    port = urlsplit(address).port
    child = next(each for each in psutil.Process().children() if f"--server.port={port}" in each.cmdline())
    child.suspend()
    try:
        yield
    finally:
        child.resume()


@pytest.fixture
def hold_up() -> Callable[[str], AbstractContextManager[None]]:
    """``hold_up(address)``: the server there does nothing for as long as this lasts."""
    return _held_up


def _wait_until_healthy(address: str, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise AssertionError(f"The server did not answer at {address}.")


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium of the system."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("There is no Chromium on this machine.")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=path, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def open_tab(browser):
    """``open_tab(url)``: a fresh session at that address, closed at the end."""
    contexts = []

    def open_url(url: str, **options):
        context = browser.new_context(viewport={"width": 1440, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.goto(url)
        return page

    yield open_url
    for context in contexts:
        context.close()
