"""A run that was stopped, or whose settings or photos changed, goes on."""

import pytest
from safetensors.torch import save_file
from six_photos import NUM_PHOTOS, assert_same_results, contents, different, interrupt_after, picture

from maskdistill.datasets import open_source
from maskdistill.files import write_json
from maskdistill.proposals import propose as proposing
from maskdistill.stages import merge, propose, worker
from maskdistill.stages.shards import Shard
from maskdistill.stages.worker import PhotoWorker
from maskdistill.storage.progress import read_progress_file
from maskdistill.storage.read_files import read_json
from maskdistill.storage.run_folder import Run


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_interrupted_run_ends_with_the_same_files(start, tmp_path, monkeypatch, seen, count):
    start("undisturbed")
    seen.clear()
    interrupt_after(monkeypatch, count)
    with pytest.raises(KeyboardInterrupt):
        start("interrupted")
    progress = read_progress_file(Run(tmp_path / "interrupted").progress_path)
    assert (progress.state, progress.done) == ("stopped", count)
    assert not Run(tmp_path / "interrupted").masks_path.exists()
    summary = start("interrupted")
    assert (summary.num_new, summary.complete) == (NUM_PHOTOS - count, True)
    assert len(seen) == len(set(seen)) == NUM_PHOTOS  # none was done twice
    assert_same_results(Run(tmp_path / "interrupted"), Run(tmp_path / "undisturbed"))


def test_run_ended_without_warning_keeps_finished_shards(start, tmp_path, monkeypatch, seen):
    """What a kill leaves: whole shards on disk, nothing of the one at work, and perhaps half a temporary file."""
    start("undisturbed")
    run = Run(tmp_path / "killed")
    start("killed")
    parts = next((run.path / "parts").iterdir())
    assert sorted(path.name for path in parts.iterdir()) == ["000000.json", "000001.json", "000002.json"]
    (parts / "000001.json").rename(parts / ".000001.json.1234.tmp")
    for path in (run.proposals_path, run.masks_path, run.stage_path("proposals")):
        path.unlink()
    seen.clear()
    assert start("killed").num_new == 2
    assert seen == ["2.png", "3.png"]
    assert_same_results(run, Run(tmp_path / "undisturbed"))


def test_second_identical_call_does_nothing(start, tmp_path, seen, monkeypatch):
    start()
    run = Run(tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*.*") if path.suffix in (".json", ".parquet")}
    seen.clear()
    monkeypatch.setattr(worker, "load_backbone", lambda _config: pytest.fail("the model was loaded"))
    summary = start()
    assert summary.num_new == 0
    assert summary.sentence.startswith("Nothing to do: ")
    assert seen == []
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_changed_setting_redoes_and_going_back_finds_the_old_shards(start, config, tmp_path, seen):
    start()
    original = Run(tmp_path / "run").proposals_path.read_bytes()
    changed = config.with_overrides(["proposals.num_objects=1"])
    assert start(config=changed).num_new == NUM_PHOTOS
    assert Run(tmp_path / "run").info()["config"]["proposals"]["num_objects"] == 1
    assert set(Run(tmp_path / "run").masks()["rank"]) == {0}
    seen.clear()
    assert start().num_new == 0
    assert seen == []
    assert Run(tmp_path / "run").proposals_path.read_bytes() == original


@pytest.mark.parametrize("count", [0, 3])
def test_interrupted_change_and_return_lose_nothing(start, config, photos, tmp_path, monkeypatch, count):
    """It once left a table of photos without their problems, and thumbnails of masks that were never finished."""
    source = open_source(photos)
    (photos / "3.png").unlink()  # found out while the masks are made
    monkeypatch.setattr(proposing, "describe_problem", lambda *_arguments: "Too small.")
    start(source=source)
    run = Run(tmp_path / "run")
    old, images = contents(run), run.images().set_index("id")
    assert images.loc["0", "problem"] == "Too small."
    assert images.loc["3", "reason"]
    interrupt_after(monkeypatch, count)
    with pytest.raises(KeyboardInterrupt):
        start(config=config.with_overrides(["proposals.tau=0.9"]), source=source)
    assert different(run, old) == {"run.json", "run.copy.json"}
    assert start(source=source).num_new == 0
    assert different(run, old) == set()


def hide(photos, monkeypatch, name, how):
    """Let a photo be gone, or another file, while the stage works; returns what brings it back."""
    path, call = photos / name, PhotoWorker.__call__
    content = path.read_bytes()

    def work(self, batch):
        if any(photo.path == path for _, photo in batch.photos):
            how(path)
        return call(self, batch)

    monkeypatch.setattr(PhotoWorker, "__call__", work)

    def bring_back():
        monkeypatch.setattr(PhotoWorker, "__call__", call)
        if path.is_dir():
            path.rmdir()
        path.write_bytes(content)

    return bring_back


def fold(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "how",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:700]),
        lambda path: path.write_bytes(b"<html>" * 300),
        lambda path: picture(9, (31, 30)).save(path),
        fold,
    ],
)
@pytest.mark.parametrize("number", [1, 2])  # of shards
def test_photo_that_was_gone_meanwhile_is_tried_anew(start, photos, tmp_path, seen, monkeypatch, how, number):
    start("undisturbed")
    source = open_source(photos)
    bring_back = hide(photos, monkeypatch, "3.png", how)
    for index in range(number):
        summary = start(source=source, shard=Shard(index + 1, number) if number > 1 else None)
    assert (summary.num_skipped, summary.complete) == (2, True)  # one is cut short
    run = Run(tmp_path / "run")
    before = contents(run)
    seen.clear()
    assert start(source=source).num_new == 0  # it is still gone: the model need not be loaded
    assert (seen, different(run, before)) == ([], set())
    bring_back()
    assert (start().num_new, run.images()["readable"].sum()) == (1, 6)
    assert_same_results(run, Run(tmp_path / "undisturbed"))
    after = contents(run)
    assert start().num_new == 0
    assert different(run, after) == set()


@pytest.mark.parametrize("change", [{"counts": "00"}, {"size": [1, 1]}, {"size": [48, 40]}])
def test_part_whose_masks_are_wrong_is_made_anew(start, tmp_path, change):
    start()
    run = Run(tmp_path / "run")
    before = run.proposals_path.read_bytes()
    part = next(path for path in sorted(run.path.glob("parts/*/*.json")) if read_json(path)[0]["annotations"])
    results = read_json(part)
    results[0]["annotations"][0]["segmentation"] |= change  # 48 x 40 adds up, but the photo has 40 x 48
    write_json(part, results)
    run.stage_path("proposals").unlink()
    assert start().num_new == 2
    assert run.proposals_path.read_bytes() == before


def test_photo_that_is_damaged_inside_is_not_tried_again(start, tmp_path, seen, monkeypatch):
    monkeypatch.setattr(worker, "extract_views_of", lambda *_arguments, **_more: 1 / 0)
    assert start().num_skipped == 7
    seen.clear()
    assert start().num_new == 0
    assert seen == []


def test_return_after_a_finished_change_finds_its_own_thumbnails(start, config, tmp_path):
    start()
    run = Run(tmp_path / "run")
    ids = run.masks()["mask_id"].tolist()
    old = {id: run.thumbnail(id).read_bytes() for id in ids}
    start(config=config.with_overrides(["proposals.tau=0.9"]))
    assert any(run.thumbnail(id).read_bytes() != old[id] for id in run.masks()["mask_id"] if id in old)
    assert start().num_new == 0
    assert {id: run.thumbnail(id).read_bytes() for id in ids} == old


def test_return_from_weights_that_were_tried_names_the_finished_ones(start, config, tmp_path, make_vit, monkeypatch):
    start()
    run = Run(tmp_path / "run")
    info = run.info()
    save_file(make_vit().state_dict(), tmp_path / "weights" / "other.safetensors")
    monkeypatch.setattr(propose, "__version__", "9.9")
    interrupt_after(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt):
        start(config=config.with_overrides([f"features.backbone={tmp_path / 'weights' / 'other.safetensors'}"]))
    assert (run.info()["backbone"]["name"], run.info()["versions"]["maskdistill"]) == ("other", "9.9")
    assert start().num_new == 0
    assert run.info() == info


def test_change_that_ends_between_its_files_does_not_pass_for_the_old_state(start, config, tmp_path, monkeypatch):
    start()
    run = Run(tmp_path / "run")
    old = contents(run)

    def interrupt(*_arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(merge, "write_images", interrupt)
        with pytest.raises(KeyboardInterrupt):
            start(config=config.with_overrides(["proposals.num_objects=1"]))
    assert different(run, old) >= {"proposals.json", "masks.parquet"}
    assert start().num_new == 0
    assert different(run, old) == set()


@pytest.mark.parametrize("assignment", ["features.device=auto", "seed=5", "crf.iterations=3"])
def test_setting_that_changes_no_mask_redoes_nothing(start, config, assignment, seen):
    """The device, the seed of later stages, and the CRF's values while it is switched off."""
    start()
    seen.clear()
    assert start(config=config.with_overrides([assignment])).num_new == 0
    assert seen == []


def test_further_photo_redoes(start, photos):
    start()
    picture(9, (40, 40)).save(photos / "9.png")
    summary = start()
    assert (summary.num_photos, summary.num_new) == (7, 7)
