"""Opens a page through ``app/main.py``, with a runs folder of its own, small photos and random weights."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from streamlit import config
from streamlit.testing.v1 import AppTest
from tiny_run import draw_voc, run_chain, tiny_config

from maskdistill.storage.run_folder import Run

MAIN = Path(__file__).resolve().parents[2] / "app" / "main.py"
config._main_script_path = str(MAIN)  # as Streamlit's command does, so that app/.streamlit counts
config.get_config_options(force_reparse=True)


@pytest.fixture(autouse=True)
def runs_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty runs folder; no test asks the network."""
    folder = tmp_path / "runs"
    monkeypatch.setenv("MASKDISTILL_RUNS", str(folder))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return folder


@pytest.fixture
def photo_folder(tmp_path: Path) -> Path:
    """Three photos of noise with a bright square, and a file that is none."""
    folder = tmp_path / "photos"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for name in ("ant", "bee", "cow"):
        pixels = generator.integers(0, 60, (48, 64, 3), dtype=np.uint8)
        pixels[12:36, 20:44] = generator.integers(180, 255, (24, 24, 3))
        Image.fromarray(pixels).save(folder / f"{name}.png")
    (folder / "torn.jpg").write_bytes(b"\xff\xd8\xff\xe0 not much of a photo")
    return folder


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Every stage but UMAP on twelve drawn photos with ground truth, made once; no page opens it, copies are shown."""
    folder = tmp_path_factory.mktemp("whole")
    run_chain(folder / "runs" / "tiny", draw_voc(folder / "voc"), tiny_config(folder))
    return Run(folder / "runs" / "tiny")


@pytest.fixture(scope="session")
def shown_run(whole_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A copy for all tests that only look: an Audit page that looks keeps its masks from others for minutes."""
    return Run(shutil.copytree(whole_run.path, tmp_path_factory.mktemp("shown") / "runs" / "tiny"))


@pytest.fixture
def finished_run(shown_run: Run, runs_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The run ``tiny``, finished, the only one of its runs folder: to look at only."""
    monkeypatch.setenv("MASKDISTILL_RUNS", str(shown_run.path.parent))
    return shown_run


@pytest.fixture
def editable_run(whole_run: Run, runs_folder: Path) -> Run:
    """A copy of the run ``tiny`` for this test alone."""
    return Run(shutil.copytree(whole_run.path, runs_folder / "tiny"))


@pytest.fixture
def open_page() -> Callable[..., AppTest]:
    """``open_page("start")``, ``open_page("proposals", photo="bee")``: the page, with a link's parameters if given.

    ``user`` is what a login or a proxy tells of who is at the browser.
    """

    def open_stem(stem: str, user: dict | None = None, **link: str | list[str]) -> AppTest:
        app = AppTest.from_file(MAIN, default_timeout=30)
        if user is not None:
            app.user.clear()
            app.user.update(user)
        app.run().switch_page(f"../pages/{stem}.py")
        app.query_params.update(link)
        return app.run()

    return open_stem


@pytest.fixture
def open_proposals(
    open_page: Callable[..., AppTest], photo_folder: Path, tiny_weights: dict[str, str]
) -> Callable[..., AppTest]:
    """The Proposals page on the small photos with random weights; settings and link parameters on top."""

    def open_with(*settings: str, **link: str) -> AppTest:
        features = [f"features.{name}={value}" for name, value in tiny_weights.items()]
        side = "features.shorter_side=32"
        return open_page("proposals", data=str(photo_folder), set=[*features, side, *settings], **link)

    return open_with
