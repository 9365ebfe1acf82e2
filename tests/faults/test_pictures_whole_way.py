"""Odd but sound pictures go through every stage, and into exports that other readers take."""

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from tiny_run import draw_photo, run_chain, tiny_config

from maskdistill.exports.run import export_run
from maskdistill.storage.run_folder import Run


@pytest.fixture(scope="module")
def odd_run(tmp_path_factory):
    """Usual photos, and among them: one pixel, lines of pixels, 12 bits, a long text, one damaged in the middle."""
    folder = tmp_path_factory.mktemp("odd")
    data = folder / "data"
    data.mkdir()
    for number in range(8):
        draw_photo(number)[0].save(data / f"usual{number}.png")
    for name, size in (("dot", (1, 1)), ("column", (1, 3000)), ("row", (3000, 1))):
        Image.new("RGB", size, "red").save(data / f"{name}.png")
    grey = np.asarray(draw_photo(0)[0].convert("L")).astype(np.uint16) * 16
    Image.fromarray(grey).save(data / "deep.png")
    text = PngImagePlugin.PngInfo()
    text.add_text("story", "once upon a time " * 100_000, zip=True)
    draw_photo(1)[0].save(data / "text.png", pnginfo=text)
    content = bytearray((data / "usual0.png").read_bytes())
    content[300:600] = bytes(300)
    (data / "torn.png").write_bytes(content)
    said = run_chain(folder / "run", data, tiny_config(folder))
    return Run(folder / "run"), said


def test_every_stage_is_done_and_only_the_damaged_photo_is_left_out(odd_run):
    run, said = odd_run
    assert "evaluation" in said
    table = run.images().set_index("id")
    unreadable = table.index[~table["readable"].astype(bool)].tolist()
    assert "torn" in unreadable
    for id in unreadable:
        assert table.at[id, "reason"]
    assert {"deep", "text"} <= set(table.index[table["readable"].astype(bool)])


def test_exported_pictures_are_taken_by_other_readers(odd_run, tmp_path):
    run, _ = odd_run
    export_run(run, "yolo", tmp_path / "out")
    pictures = {path.stem: path for path in (tmp_path / "out" / "images").rglob("*") if path.is_file()}
    for name in ("deep", "text", "usual0"):
        with Image.open(pictures[name]) as picture:
            assert max(high for _, high in picture.convert("RGB").getextrema()) > 128
