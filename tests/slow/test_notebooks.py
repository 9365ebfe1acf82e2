"""The notebooks on the sample photos, in a kernel: they end, show pictures, and bars while they work."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
BAR = "application/vnd.jupyter.widget-view+json"

pytestmark = pytest.mark.slow


def run_notebook(name, folder):
    """The outputs of every cell."""
    book = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    NotebookClient(book, timeout=900, resources={"metadata": {"path": str(folder)}}).execute(
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    )
    return [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]


def kinds(outputs):
    return [kind for output in outputs for kind in output.get("data", {})]


@pytest.mark.parametrize(
    ("name", "pictures", "bars"), [("one_photo", 2, 0), ("folder", 1, 1), ("compare_settings", 4, 1)]
)
def test_notebook_runs(name, pictures, bars, tmp_path):
    outputs = run_notebook(name, tmp_path)
    assert kinds(outputs).count("image/png") >= pictures
    assert kinds(outputs).count(BAR) >= bars
    assert "text/html" in kinds(outputs)  # a table
