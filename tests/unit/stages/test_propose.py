import dataclasses
import io
import json
import shutil
import tarfile
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO
from safetensors.torch import save_file
from tiny_run import contents_of

from maskdistill.cli.status import describe_run
from maskdistill.config import CrfConfig, FeatureConfig, ProposalConfig, RunConfig
from maskdistill.datasets import images, open_source, scanning, seen_files
from maskdistill.errors import CheckpointError, ConfigError, DatasetError, MaskDistillError, OutOfMemoryError, RunError
from maskdistill.features.backbone import load_backbone
from maskdistill.features.registry import choose_backbone
from maskdistill.files import write_json
from maskdistill.masks import bounding_box
from maskdistill.proposals import propose as proposing
from maskdistill.proposals.thumbnails import THUMB_SIDE
from maskdistill.stages import merge, propose, shards, worker
from maskdistill.stages.pool import Workers, map_photos
from maskdistill.stages.propose import hold_masks
from maskdistill.stages.shards import Parts, Shard
from maskdistill.stages.tasks import WorkerSpec, settle_precision
from maskdistill.stages.worker import PhotoResult, PhotoWorker
from maskdistill.storage.mask_store import MaskCodes
from maskdistill.storage.progress import read_progress_file
from maskdistill.storage.read_files import read_json
from maskdistill.storage.run_folder import Run
from maskdistill.storage.run_lock import RunBusyError
from maskdistill.storage.run_photos import photos_of

NUM_PHOTOS = 6  # readable ones of the folder below


def picture(number, size):
    """Noise with a bright rectangle, different for every number."""
    generator = np.random.default_rng(number)
    pixels = generator.integers(0, 90, (size[1], size[0], 3))
    pixels[8:20, 10 + number : 24 + number] += 150
    return Image.fromarray(pixels.astype(np.uint8))


@pytest.fixture
def photos(tmp_path):
    """Six readable pictures of several sizes, one of them grey; one is cut short and one damaged inside."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, size in enumerate([(48, 40), (40, 48), (64, 32), (40, 40), (33, 47)]):
        picture(number, size).save(folder / f"{number}.png")
    picture(5, (44, 36)).convert("L").save(folder / "5-grey.jpg")
    picture(6, (48, 40)).save(folder / "6-short.jpg", quality=95)
    short = folder / "6-short.jpg"
    short.write_bytes(short.read_bytes()[:900])
    return folder


@pytest.fixture
def config(tiny_weights):
    return RunConfig(
        features=FeatureConfig(**tiny_weights, shorter_side=32),
        proposals=ProposalConfig(num_objects=2, feature="tokens", tau=0.96, min_area=0.0),
    )


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(shards, "PHOTOS_PER_PART", 2)


def make_masks(run, source, config, **options):
    with hold_masks(run, source, config, **{"workers": Workers(1), "quiet": True, **options}) as summary:
        return summary


@pytest.fixture
def start(tmp_path, photos, config):
    def start(name="run", *, folder=photos, **options):
        settings = options.pop("config", config)
        source = options.pop("source", None) or open_source(folder)
        return make_masks(Run(tmp_path / name), source, settings, **options)

    return start


@pytest.fixture
def seen(monkeypatch):
    """Names of the photos that were processed, in order."""
    names, call = [], PhotoWorker.__call__

    def note(self, number, photo):
        names.append(photo.path.name)
        return call(self, number, photo)

    monkeypatch.setattr(PhotoWorker, "__call__", note)
    return names


def interrupt_after(monkeypatch, count, error=KeyboardInterrupt, place=PhotoWorker, name="__call__"):
    """Let the next call of the stage end after so many photos."""
    call, left = getattr(place, name), [count]

    def limited(*arguments):
        if left[0] == 0:
            monkeypatch.setattr(place, name, call)
            raise error
        left[0] -= 1
        return call(*arguments)

    monkeypatch.setattr(place, name, limited)


def assert_same_results(one, other):
    assert one.proposals_path.read_bytes() == other.proposals_path.read_bytes()
    pd.testing.assert_frame_equal(one.masks(), other.masks())
    pd.testing.assert_frame_equal(one.images(), other.images())
    thumbs = [sorted(path.relative_to(run.path) for path in run.path.glob("thumbs/*/*/*")) for run in (one, other)]
    assert thumbs[0] == thumbs[1]
    assert all((one.path / path).read_bytes() == (other.path / path).read_bytes() for path in thumbs[0])


def test_every_readable_photo_has_a_result_and_the_others_a_reason(start, tmp_path):
    summary = start()
    run = Run(tmp_path / "run")
    images, masks = run.images(), run.masks()
    assert (summary.num_photos, summary.num_done, summary.num_new, summary.complete) == (6, 6, 6, True)
    assert (summary.num_skipped, summary.num_masks) == (1, len(masks))
    assert images["readable"].tolist() == [True] * 6 + [False]
    assert images["path"].iloc[6].endswith("6-short.jpg")
    assert len(images["reason"].iloc[6]) > 10
    assert images["id"].tolist()[:6] == ["0", "1", "2", "3", "4", "5-grey"]
    # A photo without a mask says why.
    without = set(images["id"][:6]) - set(masks["image_id"])
    assert all(images.set_index("id")["problem"][id] for id in without)
    assert len(without) < 6


def test_result_is_coco_and_its_masks_have_the_photos_size(start, photos, tmp_path, capsys):
    start()
    run = Run(tmp_path / "run")
    coco = COCO(str(run.proposals_path))
    capsys.readouterr()
    assert len(coco.imgs) == NUM_PHOTOS
    assert len(coco.anns) > 0
    for annotation in coco.anns.values():
        photo = coco.imgs[annotation["image_id"]]
        with Image.open(photos / photo["file_name"]) as image:
            assert (photo["width"], photo["height"]) == image.size
        mask = coco.annToMask(annotation).astype(bool)
        assert mask.shape == (photo["height"], photo["width"])
        assert annotation["area"] == mask.sum() > 0
        assert tuple(annotation["bbox"]) == bounding_box(mask)
        assert 0 <= annotation["score"] <= 1
        np.testing.assert_array_equal(MaskCodes.open(run).decode(annotation["id"]), mask)


def test_table_of_masks_fits_the_json(start, tmp_path):
    start()
    run = Run(tmp_path / "run")
    annotations = {item["id"]: item for item in json.loads(run.proposals_path.read_text())["annotations"]}
    masks = run.masks()
    assert masks["mask_id"].tolist() == list(annotations)
    sizes = run.images().set_index("id")
    for row in masks.itertuples():
        annotation = annotations[row.mask_id]
        height, width = sizes.loc[row.image_id, ["height", "width"]]
        assert row.area == pytest.approx(annotation["area"] / (height * width))
        assert [row.bbox_x, row.bbox_y, row.bbox_w, row.bbox_h] == annotation["bbox"]
        assert row.score == annotation["score"]
        assert row.part_border == annotation["parts"]["border"]
    for _, group in masks.groupby("image_id"):
        assert group["rank"].tolist() == list(range(len(group)))
        assert group["score"].is_monotonic_decreasing


def test_thumbnail_is_small_and_shows_the_box(start, tmp_path):
    start()
    run = Run(tmp_path / "run")
    for row in run.masks().itertuples():
        with Image.open(run.thumbnail(row.mask_id)) as image:
            assert max(image.size) == THUMB_SIDE
            wide = row.bbox_w > 1.5 * row.bbox_h
            assert image.width > image.height or not wide


def test_photo_that_fails_while_it_is_read_is_noted_and_the_run_goes_on(start, photos, tmp_path, seen):
    """A PNG whose header and end are sound and whose pixels are not: inspection does not decode it."""
    damaged = bytearray((photos / "1.png").read_bytes())
    place = damaged.index(b"IDAT") + 4
    length = int.from_bytes(damaged[place - 8 : place - 4], "big")
    damaged[place : place + length] = bytes(length)
    damaged[place + length : place + length + 4] = zlib.crc32(damaged[place - 4 : place + length]).to_bytes(4, "big")
    (photos / "1.png").write_bytes(damaged)
    summary = start()
    images = Run(tmp_path / "run").images().set_index("id")
    assert len(seen) == NUM_PHOTOS
    assert (summary.num_skipped, summary.complete) == (2, True)
    assert not images.loc["1", "readable"]
    assert images.loc["1", "reason"]
    assert "1" not in set(Run(tmp_path / "run").masks()["image_id"])


def test_photo_that_went_away_is_noted(start, photos, tmp_path):
    source = open_source(photos)
    (photos / "3.png").unlink()
    assert start(source=source).complete
    images = Run(tmp_path / "run").images().set_index("id")
    assert images["readable"].tolist() == [True, True, True, False, True, True, False]
    assert images.loc["3", "reason"]


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


def test_shards_merge_to_the_files_of_one_run(start, tmp_path, seen):
    start("whole")
    seen.clear()
    first = start("parts", shard=Shard(1, 2))
    assert (first.complete, first.num_done) == (False, 4)
    assert "2 photos left to other shards" in first.sentence
    assert not Run(tmp_path / "parts").masks_path.exists()
    second = start("parts", shard=Shard(2, 2))
    assert (second.complete, second.num_new, second.num_done) == (True, 2, NUM_PHOTOS)
    assert len(seen) == len(set(seen)) == NUM_PHOTOS
    assert_same_results(Run(tmp_path / "parts"), Run(tmp_path / "whole"))


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_shards_take_every_photo_once(tmp_path, count):
    parts = Parts(tmp_path, [(20, 30)] * NUM_PHOTOS)
    numbers = [
        number
        for index in range(1, count + 1)
        for part in parts.of(Shard(index, count))
        for number in parts.photos[part]
    ]
    assert sorted(numbers) == list(range(NUM_PHOTOS))
    assert parts.photos is parts.photos, "a list of a million photos' parts for each photo takes hours"


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


def contents(run):
    """The content of every file that is not about the work itself, by its name."""
    paths = [path for path in run.path.rglob("*.*") if path.suffix in (".json", ".parquet", ".jpg")]
    kept = {path.relative_to(run.path).as_posix(): path.read_bytes() for path in paths if path != run.progress_path}
    return {name: content for name, content in kept.items() if not name.startswith("parts/")}


def different(run, old):
    """Names of the files that are not any more what they were."""
    found = contents(run)
    return {name for name in old if found.get(name) != old[name]}


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

    def work(self, number, photo):
        if photo.path == path:
            how(path)
        return call(self, number, photo)

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
    monkeypatch.setattr(worker, "extract_views", lambda *_arguments, **_more: 1 / 0)
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


def test_started_run_knows_its_limit(start, photos, tmp_path, monkeypatch):
    """So that it goes on with the same photos, also where nobody repeats the limit."""
    interrupt_after(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt):
        start(source=open_source(photos).limited(3))
    assert Run(tmp_path / "run").info()["limit"] == 3


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


def test_renamed_folder_is_recognised(start, photos, tmp_path, seen):
    start()
    run = Run(tmp_path / "run")
    before = run.proposals_path.read_bytes()
    photos.rename(tmp_path / "renamed")
    seen.clear()
    assert start(folder=tmp_path / "renamed").num_new == 0
    assert seen == []
    assert run.proposals_path.read_bytes() == before
    assert run.info()["data"] == str(tmp_path / "renamed")
    images = run.images()
    assert images["path"][images["readable"]].tolist() == [
        str(tmp_path / "renamed" / name) for name in ("0.png", "1.png", "2.png", "3.png", "4.png", "5-grey.jpg")
    ]


def test_renamed_folder_is_written_down_for_skipped_files_too(start, photos, tmp_path):
    start()
    photos.rename(tmp_path / "renamed")
    start(folder=tmp_path / "renamed")
    assert Run(tmp_path / "run").images()["path"].iloc[6] == str(tmp_path / "renamed" / "6-short.jpg")


def test_run_that_goes_on_keeps_why_it_took_its_weights(start, config, tmp_path, monkeypatch):
    """Going on, a run asks for its weights by name; it was "auto" that chose them, for another reason."""
    start()
    run = Run(tmp_path / "run")
    chosen = {"requested": "auto", "name": "tiny", "reason": "no network", "weights": "Random."}
    run.write_info({**run.info(), "backbone": chosen})
    resolve = propose.choose_backbone
    by_name = lambda _name, architecture: resolve(config.features.backbone, architecture)  # noqa: E731
    monkeypatch.setattr(propose, "choose_backbone", by_name)
    features = dataclasses.replace(config.features, backbone="tiny")
    monkeypatch.setattr(worker, "load_backbone", lambda _features: load_backbone(config.features))
    start(config=dataclasses.replace(config, features=features, seed=1, proposals=ProposalConfig(tau=0.3)))
    backbone = run.info()["backbone"]
    assert (backbone["requested"], backbone["reason"]) == ("auto", "no network")


def test_record_of_the_run(start, config, photos, tmp_path):
    start(preset="quick")
    info = Run(tmp_path / "run").info()
    assert (info["data"], info["preset"]) == (str(photos), "quick")
    assert info["source"] == {"kind": "folder", "classes": [], "has_labels": False, "label_values": "ids"}
    assert info["backbone"]["name"] == "tiny"
    assert RunConfig.from_dict(info["config"]) == config
    assert {"maskdistill", "python", "torch", "timm"} <= set(info["versions"])


def test_settled_config_holds_no_auto(config, tmp_path, monkeypatch):
    def ask_here(precision, device, _workers):  # not in a process of its own
        return settle_precision(precision, device)

    monkeypatch.setattr(propose, "ask_precision", ask_here)
    features = dataclasses.replace(config.features, precision="auto", shorter_side=0)
    choice = choose_backbone(features.backbone, features.architecture)
    wanted = dataclasses.replace(config, features=features)
    settled = propose._settle(wanted, choice, Run(tmp_path / "none"), Workers(1))
    assert settled.features.precision in ("float32", "bfloat16", "float16")
    assert settled.features.shorter_side == choice.spec.shorter_side
    assert settled.features.backbone == config.features.backbone
    assert settled.proposals == config.proposals


@pytest.fixture
def shard_at_work(start, monkeypatch):
    """The first of two shards, at work in another thread; to be called for it to go on, and for its summary."""
    call, began, go_on = PhotoWorker.__call__, threading.Event(), threading.Event()

    def wait(self, number, photo):
        began.set()
        assert go_on.wait(20)
        return call(self, number, photo)

    monkeypatch.setattr(PhotoWorker, "__call__", wait)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(start, shard=Shard(1, 2))
        assert began.wait(20)
        monkeypatch.setattr(PhotoWorker, "__call__", call)
        yield lambda: go_on.set() or first.result()
        go_on.set()


@pytest.mark.parametrize("shard", [None, Shard(1, 2), Shard(2, 2)])
@pytest.mark.parametrize("tau", [0.1, 0.96])
def test_a_shard_at_work_is_joined_by_others_of_its_masks_alone(start, config, tmp_path, shard_at_work, shard, tau):
    others = config.with_overrides([f"proposals.tau={tau}"])
    if (shard, others) == (Shard(2, 2), config):
        assert start(shard=shard).num_new == 2
        return
    before = contents_of(Run(tmp_path / "run"))
    with pytest.raises(RunBusyError):
        start(config=others, shard=shard)
    assert contents_of(Run(tmp_path / "run")) == before


def test_shards_side_by_side_merge_to_the_files_of_one_run(start, tmp_path, shard_at_work):
    assert not start(shard=Shard(2, 2)).complete
    assert shard_at_work().complete
    start("whole")
    assert_same_results(Run(tmp_path / "run"), Run(tmp_path / "whole"))


def test_last_shards_that_end_at_the_same_time_merge_once(start, tmp_path, monkeypatch):
    """Both have written their photos when the first of them looks whether all are there."""
    start("whole")
    read_all, both, merges = Parts.read_all, threading.Barrier(2), []
    merge_results = propose.merge_results

    def read_together(parts):
        both.wait(20)
        return read_all(parts)

    def note(*arguments):
        merges.append(1)
        merge_results(*arguments)

    monkeypatch.setattr(Parts, "read_all", read_together)
    monkeypatch.setattr(propose, "merge_results", note)
    with ThreadPoolExecutor(2) as pool:
        parts = [pool.submit(start, "parts", shard=Shard(index, 2)) for index in (1, 2)]
        assert all(part.result().complete for part in parts)
    assert merges == [1]
    assert_same_results(Run(tmp_path / "parts"), Run(tmp_path / "whole"))


def test_source_whose_files_were_all_skipped(start, photos, tmp_path):
    source = dataclasses.replace(open_source(photos), photos=())
    with pytest.raises(DatasetError, match=r"No usable photo in .*photos: all 1 files were skipped"):
        start(source=source)


def test_crf_without_its_package_is_refused_before_anything_is_done(start, config, tmp_path, monkeypatch):
    monkeypatch.setattr(propose, "crf_available", lambda: False)
    with pytest.raises(ConfigError, match="pip install pydensecrf2"):
        start(config=dataclasses.replace(config, crf=CrfConfig(enabled=True)))
    assert not (tmp_path / "run").exists()


def test_full_disk_is_told_and_can_be_mended(start, tmp_path, monkeypatch):
    interrupt_after(monkeypatch, 3, OSError(28, "No space left on device"))
    with pytest.raises(OSError, match="No space left"):
        start()
    progress = read_progress_file(Run(tmp_path / "run").progress_path)
    assert progress.state == "failed"
    assert " is full (" in progress.message
    assert start().num_new == 3


def test_file_that_cannot_be_weights_is_refused_before_anything_is_written(start, config, tmp_path):
    page = tmp_path / "page.pth"
    page.write_text("<!DOCTYPE html>")
    for path, what in ((page, "web page"), (tmp_path / "gone.pth", "No file"), (tmp_path, "folder")):
        link = tmp_path / f"{what}.pth"
        link.symlink_to(path)
        with pytest.raises(CheckpointError, match=what):
            start(config=config.with_overrides([f"features.backbone={link}"]))
    assert not (tmp_path / "run").exists()


def test_setting_that_the_worker_refuses_is_told_by_the_progress_file(start, config, tmp_path):
    with pytest.raises(MaskDistillError) as info:
        start(config=config.with_overrides(["proposals.blocks=40"]))
    progress = read_progress_file(Run(tmp_path / "run").progress_path)
    assert (progress.state, progress.message) == ("failed", str(info.value))


@pytest.mark.slow
def test_setting_that_the_workers_refuse_is_told_by_several_processes_too(tmp_path, photos):
    config = RunConfig(features=FeatureConfig(backbone="/nowhere/gone.pth", architecture="vit_tiny_patch16_224"))
    with pytest.raises(CheckpointError, match=r"No file of weights at /nowhere/gone.pth"):
        make_masks(Run(tmp_path / "run"), open_source(photos), config, workers=Workers(2))


@pytest.mark.slow
def test_several_processes_make_the_same_files_as_one(tmp_path, photos, config):
    import timm

    save_file(timm.create_model("vit_tiny_patch16_224", num_classes=0).state_dict(), tmp_path / "a.safetensors")
    changes = [f"features.backbone={tmp_path / 'a.safetensors'}", "features.architecture=vit_tiny_patch16_224"]
    config = config.with_overrides([*changes, "features.shorter_side=64"])
    source = open_source(photos)
    for name, count in (("one", 1), ("two", 2)):
        make_masks(Run(tmp_path / name), source, config, workers=Workers(count))
    assert_same_results(Run(tmp_path / "one"), Run(tmp_path / "two"))


def test_one_worker_runs_in_this_process_and_in_order(tmp_path, photos, config, monkeypatch):
    monkeypatch.setattr(PhotoWorker, "__call__", lambda _self, number, _photo: PhotoResult(number))
    tasks = list(enumerate(open_source(photos).photos))
    spec = WorkerSpec("maskdistill.stages.worker:PhotoWorker", tmp_path, config, {"thumbs": tmp_path / "thumbs"})
    results = map_photos(spec, tasks, Workers(1))
    assert [result.number for result in results] == list(range(NUM_PHOTOS))


def test_failure_of_one_photo_is_returned_with_its_reason(tmp_path, photos, config, monkeypatch):
    def fail(*_args, **_options):
        raise RuntimeError("no eigenvalues")

    monkeypatch.setattr(worker, "propose_from_views", fail)
    result = PhotoWorker(tmp_path, config, tmp_path / "thumbs")(3, open_source(photos).photos[3])
    assert result == PhotoResult(3, error="RuntimeError: no eigenvalues")


@pytest.mark.parametrize(
    "error",
    [MemoryError(), torch.OutOfMemoryError("CUDA out of memory. Tried"), RuntimeError("CPU: can't allocate memory")],
)
def test_lack_of_memory_is_no_fault_of_the_photo(start, tmp_path, monkeypatch, seen, error):
    """It is tried again; then it ends the stage. Finished photos are kept, and the next run does that one too."""

    def fail(*_arguments, **_options):
        raise error

    with monkeypatch.context() as patch:
        interrupt_after(patch, 3, KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            start()
        patch.setattr(worker, "propose_from_views", fail)
        with pytest.raises(OutOfMemoryError, match="memory for photo 3,"):
            start()
    assert read_progress_file(Run(tmp_path / "run").progress_path).state == "failed"
    seen.clear()
    summary = start()
    assert (summary.num_new, summary.num_skipped) == (3, 1)  # the one file that is cut short
    assert seen == ["3.png", "4.png", "5-grey.jpg"]


def test_picture_for_which_there_is_no_memory_is_not_damaged(photos, monkeypatch):
    def fail(_decoded, *, factor):
        raise MemoryError

    monkeypatch.setattr(images, "to_rgb", fail)
    with pytest.raises(OutOfMemoryError):
        images.read_photo(open_source(photos).photos[0])


class TestStatus:
    def test_folder_without_a_run(self, tmp_path):
        with pytest.raises(RunError, match="No run in"):
            describe_run(Run(tmp_path))

    @pytest.fixture
    def line(self, tmp_path):
        """The state of the proposals, as ``describe_run`` has it."""

        def line():
            lines = describe_run(Run(tmp_path / "run")).splitlines()
            return next(" ".join(line.split()) for line in lines if line.startswith("proposals "))

        return line

    def test_done(self, start, photos, line, tmp_path):
        masks = start().num_masks
        assert line() == f"proposals done: {masks} masks of 6 photos"
        assert str(photos) in describe_run(Run(tmp_path / "run"))

    def test_stopped(self, start, line, monkeypatch):
        interrupt_after(monkeypatch, 3)
        with pytest.raises(KeyboardInterrupt):
            start()
        assert "proposals not finished (stopped: Stopped; start again" in line()

    def test_stale_after_a_changed_setting(self, start, config, line, monkeypatch):
        start()
        interrupt_after(monkeypatch, 1)
        with pytest.raises(KeyboardInterrupt):
            start(config=config.with_overrides(["proposals.tau=0.1"]))
        assert "proposals stale: proposals.tau was changed; " in line()

    def test_stale_after_switching_the_crf_on(self, start, config, line, monkeypatch):
        pytest.importorskip("pydensecrf")
        start()
        interrupt_after(monkeypatch, 1)
        with pytest.raises(KeyboardInterrupt):
            start(config=config.with_overrides(["crf.enabled=true"]))
        assert "proposals stale: crf.enabled was changed" in line()

    def test_stale_after_a_changed_photo(self, start, photos, line):
        start()
        picture(17, (40, 40)).save(photos / "0.png")
        assert "stale: photos were added, removed or changed" in line()

    def test_photos_that_are_gone(self, start, photos, line):
        start()
        shutil.rmtree(photos)
        assert "stale: the photos cannot be found (No file or folder" in line()

    def test_part_of_the_photos_is_no_reason_to_be_stale(self, start, photos, line):
        start(source=open_source(photos).limited(3))
        assert "proposals done: " in line()


def test_run_keeps_what_the_photos_of_a_list_were_and_reads_none_again(tmp_path, photos, config, monkeypatch):
    listed = tmp_path / "photos.txt"
    listed.write_text("\n".join(f"photos/{number}.png" for number in range(3)))
    run = Run(tmp_path / "run")
    monkeypatch.setattr(seen_files, "_SETTLED_NS", -(10**12))  # the files are of now
    made = make_masks(run, open_source(listed, seen=run.seen_path), config)
    assert made.num_new == 3
    monkeypatch.setattr(scanning, "inspect_image", lambda path, *_: pytest.fail(f"{path} was read again"))
    kept = run.seen_path.stat().st_mtime_ns
    again = make_masks(run, open_source(listed, seen=run.seen_path), config)
    assert (again.num_new, again.num_masks, again.num_photos) == (0, made.num_masks, 3)
    assert run.seen_path.stat().st_mtime_ns == kept


def test_changed_photo_of_a_kept_list_makes_its_masks_anew(tmp_path, photos, config, seen, monkeypatch):
    listed = tmp_path / "photos.txt"
    listed.write_text("\n".join(f"photos/{number}.png" for number in range(3)))
    run = Run(tmp_path / "run")
    monkeypatch.setattr(seen_files, "_SETTLED_NS", -(10**12))
    make_masks(run, open_source(listed, seen=run.seen_path), config)
    picture(9, (48, 40)).save(photos / "1.png")
    assert make_masks(run, open_source(listed, seen=run.seen_path), config).num_new == 3  # as of any other photos
    images = pd.read_parquet(run.images_path).set_index("id")
    assert images.loc["photos/1", "digest"] == scanning.digest_file(photos / "1.png")


def pack(path, files, before=b""):
    with tarfile.open(path, "w") as tar:
        for name, content in {"0.txt": before, **files}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def test_photos_in_an_archive_have_the_masks_of_the_same_photos_in_a_folder(tmp_path, photos, config, start):
    start("plain")
    files = {path.name: path.read_bytes() for path in sorted(photos.iterdir())}
    pack(tmp_path / "photos.tar", files)
    packed, plain = Run(tmp_path / "packed"), Run(tmp_path / "plain")
    make_masks(packed, open_source(tmp_path / "photos.tar"), config)
    assert packed.cut_masks_path.read_bytes() == plain.cut_masks_path.read_bytes()
    assert [photo.digest for photo in photos_of(packed)] == [photo.digest for photo in photos_of(plain)]
    assert photos_of(packed) == list(open_source(tmp_path / "photos.tar").photos)
    assert "6-short" in packed.images().loc[~packed.images()["readable"], "path"].iloc[0]


def test_run_follows_photos_that_moved_inside_their_archive(tmp_path, photos, config):
    files = {path.name: path.read_bytes() for path in sorted(photos.glob("*.png"))}
    pack(tmp_path / "photos.tar", files)
    run = Run(tmp_path / "run")
    make_masks(run, open_source(tmp_path / "photos.tar", seen=run.seen_path), config)
    before = photos_of(run)
    pack(tmp_path / "photos.tar", files, b"more" * 1000)
    source = open_source(tmp_path / "photos.tar", seen=run.seen_path)
    assert make_masks(run, source, config).num_new == 0
    assert photos_of(run) == list(source.photos) != before
    assert make_masks(run, source.limited(3), config).num_new == 3
    assert photos_of(run) == list(source.limited(3).photos)
