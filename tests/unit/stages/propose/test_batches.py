"""Photos that go through the transformer together."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from six_photos import NUM_PHOTOS, assert_same_results, interrupt_after, picture

from maskdistill.config import RunConfig
from maskdistill.datasets import Photo, open_source
from maskdistill.features.backbone import Backbone
from maskdistill.stages import batches, shards, worker
from maskdistill.stages.batches import make_batches, map_batches
from maskdistill.stages.pool import Workers
from maskdistill.stages.shards import Shard
from maskdistill.stages.tasks import Batch, PhotoResult, WorkerSpec, choose_batch_size, name_of, photos_of
from maskdistill.stages.worker import PhotoWorker
from maskdistill.storage.run_folder import Run
from maskdistill.storage.token_store import TokenStore


def photo(number, width=40, height=30):
    return Photo(id=f"{number}", path=Path(f"{number}.png"), width=width, height=height, digest=f"{number}")


@pytest.fixture
def photos(tmp_path):
    """As many pictures, of two shapes in turn."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(NUM_PHOTOS):
        picture(number, ((48, 40), (40, 48))[number % 2]).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def together(config, monkeypatch):
    """Settings with three photos in a batch."""
    monkeypatch.setattr(shards, "PHOTOS_PER_PART", 4)
    return config.with_overrides(["features.batch_size=3"])


@pytest.fixture
def passes(monkeypatch):
    """How many photos each forward pass had."""
    counts, forward = [], Backbone.forward

    def note(self, pixels, request):
        counts.append(len(pixels))
        return forward(self, pixels, request)

    monkeypatch.setattr(Backbone, "forward", note)
    return counts


def batches_of(*arguments):
    return list(make_batches(*arguments))


def members(found):
    return [tuple(number for number, _ in batch.photos) for batch in found]


def test_photos_of_one_shape_lie_together_within_their_part():
    shapes = [(40, 30), (30, 40)] * shards.PHOTOS_PER_PART * 2
    photos = [photo(number, *shape) for number, shape in enumerate(shapes)]
    found = batches_of(photos, range(len(photos)), 1)
    assert members(found) == [(number,) for number in range(len(photos))]
    found = batches_of(photos, range(len(photos)), 2)
    assert sorted(number for batch in members(found) for number in batch) == list(range(len(photos)))
    assert all(len({number // shards.PHOTOS_PER_PART for number in batch}) == 1 for batch in members(found))


def test_who_goes_with_whom_does_not_depend_on_what_is_left(monkeypatch):
    monkeypatch.setattr(shards, "PHOTOS_PER_PART", 8)
    photos = [photo(number, 40 + 10 * (number % 3)) for number in range(21)]
    whole = batches_of(photos, range(21), 4)
    assert all(batch.wanted == set(members([batch])[0]) for batch in whole)
    left = batches_of(photos, [20, 3], 4)
    assert set(members(left)) <= set(members(whole))
    assert sorted(number for batch in left for number in batch.wanted) == [3, 20]


def test_batches_of_a_run_change_no_mask(start, config, together, tmp_path, passes):
    assert start("alone").num_done == NUM_PHOTOS
    assert set(passes) == {1}
    start("together", config=together)
    assert max(passes) == 2  # three were read together, of which two have the same grid
    one, other = Run(tmp_path / "alone"), Run(tmp_path / "together")
    for first, second in zip(one.masks().itertuples(), other.masks().itertuples(), strict=True):
        assert first.Index == second.Index
        assert first.score == pytest.approx(second.score, abs=1e-3)
    tokens = [TokenStore(next(run.path.glob("features/*/info.json")).parent) for run in (one, other)]
    for number in range(NUM_PHOTOS):
        np.testing.assert_allclose(tokens[0].read(number), tokens[1].read(number), atol=1e-2)


@pytest.mark.parametrize("count", [1, 2])
def test_killed_between_batches_and_started_again_a_run_is_the_same(start, together, tmp_path, monkeypatch, count):
    start("whole", config=together)
    interrupt_after(monkeypatch, count)
    with pytest.raises(KeyboardInterrupt):
        start(config=together)
    assert start(config=together).complete
    assert_same_results(Run(tmp_path / "run"), Run(tmp_path / "whole"))


def test_photos_that_are_left_of_a_batch_are_made_in_the_same_company(start, together, tmp_path, passes):
    start("whole", config=together)
    start(config=together)
    run, before = Run(tmp_path / "run"), list(passes)
    part = next(run.path.glob("parts/*/000000.json"))
    known = part.read_text()
    run.stage_path("proposals").unlink()
    part.write_text(json.dumps([item for item in json.loads(known) if item["number"] != 0]))
    passes.clear()
    assert start(config=together).num_new == 1
    assert passes
    assert set(passes) <= set(before)
    assert part.read_text() == known
    assert_same_results(run, Run(tmp_path / "whole"))


def test_shards_of_batches_merge_to_one_run(start, together, tmp_path):
    start("whole", config=together)
    start("parts", config=together, shard=Shard(1, 2))
    assert start("parts", config=together, shard=Shard(2, 2)).complete
    assert_same_results(Run(tmp_path / "parts"), Run(tmp_path / "whole"))


def test_a_photo_that_cannot_be_read_takes_no_other_with_it(start, together, photos, tmp_path):
    source = open_source(photos)
    (photos / "3.png").unlink()
    assert start(config=together, source=source).num_skipped == 1
    images = Run(tmp_path / "run").images().set_index("id")
    assert [name for name in images.index if images.loc[name, "reason"]] == ["3"]


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory."), MemoryError(), ValueError("odd")])
def test_what_fails_together_is_tried_alone(start, together, tmp_path, monkeypatch, caplog, error):
    forward = Backbone.forward

    def fail(self, pixels, request):
        if len(pixels) > 1:
            raise error
        return forward(self, pixels, request)

    monkeypatch.setattr(Backbone, "forward", fail)
    assert start(config=together).num_skipped == 0
    assert "fail together, each is tried alone" in caplog.text
    assert len(Run(tmp_path / "run").masks()) > 0


def test_batch_that_crashes_its_process_is_done_again_photo_by_photo(tmp_path, monkeypatch):
    photos = [photo(number) for number in range(5)]
    rounds = []

    def crash(_spec, tasks, _workers, _most, on_crash):
        """Whatever has photo 3 with it crashes."""
        tasks = list(tasks)
        rounds.append(tasks)
        for task in tasks:
            bad = any(item.id == "3" for item in photos_of(task))
            yield on_crash(task, "It crashed.") if bad else [PhotoResult(number) for number in task[0].wanted]

    monkeypatch.setattr(shards, "PHOTOS_PER_PART", 4)
    monkeypatch.setattr(batches, "map_photos", crash)
    config = RunConfig().with_overrides(["features.batch_size=4"])
    results = list(map_batches(WorkerSpec("", tmp_path, config), photos, range(5), Workers(1)))
    assert sorted(result.number for result in results) == list(range(5))
    assert [result.number for result in results if result.error] == [3]
    assert [len(batch.photos) for (batch,) in rounds[1]] == [1, 1, 1, 1]


def test_tokens_that_are_gone_are_made_in_the_same_company(start, together, photos, tmp_path):
    start(config=together)
    run, source = Run(tmp_path / "run"), open_source(photos)
    store = TokenStore(next(run.path.glob("features/*/info.json")).parent)
    before = {number: store.path(number).read_bytes() for number in range(4)}
    store.path(3).unlink()
    (batch,) = make_batches(source.photos, [3], 3)
    assert len(batch.photos) == 3
    worker.TokenWorker(run.path, together, store.folder)(batch)
    assert {number: store.path(number).read_bytes() for number in range(4)} == before


def test_names_of_a_batch():
    batch = Batch(((0, photo(7)), (1, photo(8))), frozenset({1}))
    assert name_of((batch,)) == "photos 7, 8"
    assert name_of((batch.singles()[0],)) == "photo 8"
    assert members(batch.singles()) == [(1,)]


@pytest.mark.parametrize(
    ("size", "device", "expected"), [(0, "cpu", 1), (0, "cuda:1", 8), (5, "cpu", 5), (1, "cuda", 1)]
)
def test_batch_size_that_is_left_to_the_machine(size, device, expected):
    assert choose_batch_size(size, device) == expected


def test_a_run_keeps_the_batch_size_it_began_with(start, config, tmp_path):
    start(config=config.with_overrides(["features.batch_size=3"]))
    run = Run(tmp_path / "run")
    assert run.info()["config"]["features"]["batch_size"] == 3
    assert start(config=config.with_overrides(["features.batch_size=0"])).num_new == 0  # left to the machine
    assert run.info()["config"]["features"]["batch_size"] == 3


def test_older_runs_had_one_photo_in_a_pass(start, config, tmp_path):
    start()
    run = Run(tmp_path / "run")
    info = run.info()
    del info["config"]["features"]["batch_size"]
    run.write_info(info)
    assert start().num_new == 0
    assert run.info()["config"]["features"]["batch_size"] == 1


def test_one_photo_after_the_other(tmp_path, config, photos):
    work = PhotoWorker(tmp_path, config, tmp_path / "thumbs")
    (result,) = work(Batch.of(0, open_source(photos).photos[0]))
    assert result.annotations
    assert result.number == 0
