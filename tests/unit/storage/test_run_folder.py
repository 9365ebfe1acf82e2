import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest

from maskdistill.datasets import LeftOut, Photo, PhotoSource, ViewRecipe
from maskdistill.errors import RunError
from maskdistill.files import write_json
from maskdistill.storage.read_files import read_json
from maskdistill.storage.run_folder import Run, fingerprint, list_runs, runs_folder, thumbnail_in, write_table
from maskdistill.storage.run_photos import write_images


def test_making_a_run_touches_nothing(tmp_path):
    run = Run(tmp_path / "a")
    assert run.name == "a"
    assert not run.exists
    assert list(tmp_path.iterdir()) == []


def test_every_path_lies_inside_the_run(tmp_path):
    run = Run(str(tmp_path / "a"))
    paths = [run.images_path, run.proposals_path, run.masks_path, run.progress_path]
    paths += [run.parts_path("proposals", "f" * 32), run.stage_path("proposals"), run.thumbs_path("f" * 32)]
    assert len(set(paths)) == len(paths)
    assert all(path.is_relative_to(tmp_path / "a") for path in paths)


def test_thumbnails_are_a_thousand_a_folder(tmp_path):
    paths = [thumbnail_in(tmp_path, id) for id in range(3000)]
    assert len({path.parent for path in paths}) == 3
    assert len(set(paths)) == 3000


def test_thumbnail_is_that_of_the_finished_masks(tmp_path):
    run = Run(tmp_path)
    with pytest.raises(RunError, match="No finished masks in .*maskdistill propose --run"):
        run.thumbnail(12345)
    write_json(run.stage_path("proposals"), {"fingerprint": "a" * 32})
    assert run.thumbnail(12345) == thumbnail_in(run.thumbs_path("a" * 32), 12345)


def test_settings_have_parts_and_thumbnails_of_their_own(tmp_path):
    run = Run(tmp_path)
    assert run.parts_path("proposals", fingerprint(1)) != run.parts_path("proposals", fingerprint(2))
    assert run.thumbs_path(fingerprint(1)) != run.thumbs_path(fingerprint(2))


def test_info_is_written_and_read(tmp_path):
    run = Run(tmp_path / "a")
    run.write_info({"format": 1, "data": "sample"})
    assert run.exists
    assert run.info() == {"format": 1, "data": "sample"}


def test_folder_without_a_run(tmp_path):
    with pytest.raises(RunError, match=r"No run in .*: run\.json is missing"):
        Run(tmp_path).info()


def test_damaged_json_is_named(tmp_path):
    (tmp_path / "run.json").write_text('{"format": 1, "da')
    with pytest.raises(RunError, match=r"run\.json is damaged \(.*decisions are kept"):
        Run(tmp_path).info()


def test_missing_table_says_how_to_make_it(tmp_path):
    with pytest.raises(RunError, match=r"No masks\.parquet in .*maskdistill propose --run"):
        Run(tmp_path).masks()
    with pytest.raises(RunError, match=r"No images\.parquet"):
        Run(tmp_path).images()


def test_images_table_holds_photos_and_what_was_skipped(tmp_path):
    view = ViewRecipe((0, 0, 4, 5), 10, 8, True, 1.0, 1.1, 0.9)
    photos = (
        Photo("b", Path("/data/b.jpg"), 30, 40, "d1", "train"),
        Photo("a", Path("/data/a.jpg"), 10, 8, "d2", None, view),
    )
    skipped = (LeftOut(Path("/data/c.jpg"), "The file is empty (0 bytes); copy it again."),)
    run = Run(tmp_path)
    source = PhotoSource("folder", "/data", Path("/data"), photos, skipped)
    write_images(run, source, {"a": "It ends early."}, {"b": "No object."})
    table = run.images()
    assert table["id"].tolist() == ["b", "a", "/data/c.jpg"]
    assert table["path"].tolist() == ["/data/b.jpg", "/data/a.jpg", "/data/c.jpg"]
    assert table["readable"].tolist() == [True, False, False]
    assert table["reason"].tolist() == ["", "It ends early.", "The file is empty (0 bytes); copy it again."]
    assert table["problem"].tolist() == ["No object.", "", ""]
    assert table["height"].tolist()[:2] == [30, 10]
    assert table["digest"].tolist()[:2] == ["d1", "d2"]
    assert table["split"].tolist()[0] == "train"
    assert '"mirror": true' in table["view"][1]


def test_table_is_written_in_one_step(tmp_path):
    path = tmp_path / "a.parquet"
    write_table(path, pd.DataFrame({"x": [1, 2]}))
    with pytest.raises(Exception, match="convert"):
        write_table(path, pd.DataFrame({"x": [1, object()]}))
    assert pd.read_parquet(path)["x"].tolist() == [1, 2]
    assert [item.name for item in tmp_path.iterdir()] == ["a.parquet"]


def test_json_comes_back(tmp_path):
    write_json(tmp_path / "deep" / "a.json", {"name": "größe", "values": [1, None]})
    assert read_json(tmp_path / "deep" / "a.json") == {"name": "größe", "values": [1, None]}


def test_runs_are_listed_newest_first(tmp_path):
    for age, name in enumerate(("new", "middle", "old")):
        Run(tmp_path / name).write_info({})
        os.utime(tmp_path / name / "run.json", (1e9 - age, 1e9 - age))
    (tmp_path / "no-run").mkdir()
    (tmp_path / "file").touch()
    assert [run.name for run in list_runs(tmp_path)] == ["new", "middle", "old"]
    assert list_runs(tmp_path / "nowhere") == []


def test_folder_of_runs(monkeypatch):
    monkeypatch.delenv("MASKDISTILL_RUNS", raising=False)
    assert runs_folder() == Path("runs")
    monkeypatch.setenv("MASKDISTILL_RUNS", "/elsewhere")
    assert runs_folder() == Path("/elsewhere")


def test_fingerprint_depends_on_the_values_only():
    assert fingerprint({"a": 1, "b": [1, 2]}) == fingerprint({"b": (1, 2), "a": 1})
    different = [{"a": 1}, {"a": "1"}, {"a": 2}, {"a": None}, {"b": 1}, {"a": [1]}, {}]
    assert len({fingerprint(value) for value in different}) == len(different)


def test_runs_are_listed_while_some_are_deleted(tmp_path):
    """Another session deletes a run while the sidebar lists them."""
    Run(tmp_path / "stays").write_info({})

    def come_and_go(name):
        for _ in range(100):
            Run(tmp_path / name).write_info({})
            shutil.rmtree(tmp_path / name)

    with ThreadPoolExecutor(2) as pool:
        others = [pool.submit(come_and_go, name) for name in ("one", "two")]
        while not all(other.done() for other in others):
            assert "stays" in {run.name for run in list_runs(tmp_path)}
        for other in others:
            other.result()


def test_records_are_read_while_a_stage_is_made_again(tmp_path):
    """A page asks for what is finished while a command removes a record and writes it again."""
    run = Run(tmp_path)

    def make_again():
        for _ in range(300):
            write_json(run.stage_path("clusters"), {"fingerprint": "a"})
            run.stage_path("clusters").unlink()

    with ThreadPoolExecutor(1) as pool:
        command = pool.submit(make_again)
        while not command.done():
            assert run.fingerprint_of("clusters") in ("", "a")
            assert run.final_model == "stage2"
        command.result()
