"""Compact tokens, from the axes that they lie on to what is made from them."""

import shutil

import numpy as np
import pytest
from tiny_run import NUM_TRAIN, assert_same_artifacts, contents_of, interrupt_stage, redone, run_chain

from maskdistill.datasets import open_source, read_photo
from maskdistill.errors import DatasetError
from maskdistill.exports.onnx_model import export_onnx
from maskdistill.features.patch_tokens import FreshTokens
from maskdistill.models.predictor import load_model
from maskdistill.stages import shards, token_axes
from maskdistill.stages.shards import Shard
from maskdistill.stages.soundness import find_damage
from maskdistill.storage.read_files import DamagedFileError
from maskdistill.storage.run_folder import Run
from maskdistill.storage.token_store import TOKEN_AXES, TokenStore, run_axes

NUM_AXES = 8  # of the tiny transformer's 64 numbers


@pytest.fixture(autouse=True)
def few_axes(monkeypatch):
    monkeypatch.setattr(token_axes, "NUM_AXES", NUM_AXES)
    monkeypatch.setattr(token_axes, "SAMPLE_PHOTOS", 5)
    monkeypatch.setattr(shards, "PHOTOS_PER_PART", 2)


@pytest.fixture(scope="module")
def compact(scene):
    """The settings."""
    return scene[1].with_overrides(["features.tokens=compact", "stage1.epochs=1", "stage2.epochs=1"])


@pytest.fixture(scope="module")
def made(scene, compact, tmp_path_factory):
    """A whole run, to look at only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(token_axes, "NUM_AXES", NUM_AXES)
        patch.setattr(token_axes, "SAMPLE_PHOTOS", 5)
        patch.setattr(shards, "PHOTOS_PER_PART", 2)
        path = tmp_path_factory.mktemp("compact") / "run"
        run_chain(path, scene[0], compact)
    return Run(path)


def folder_of(run):
    (path,) = (run.path / "features").glob(f"*/{TOKEN_AXES}")
    return path.parent


def test_tokens_are_bytes_on_axes_that_lie_beside_them_and_in_the_run(made, scene):
    folder = folder_of(made)
    numbers = range(len(open_source(str(scene[0])).photos))
    stored = [np.load(TokenStore(folder).path(number)) for number in numbers]
    assert {values.dtype for values in stored} == {np.dtype(np.uint8)}
    assert {values.shape[-1] for values in stored} == {NUM_AXES}
    assert made.token_axes_path.read_bytes() == (folder / TOKEN_AXES).read_bytes()
    assert not (folder / "sample").exists()
    assert all(find_damage(made, stage) is None for stage in ("embeddings", "stage1", "predictions"))


def test_axes_are_the_directions_of_most_spread(made, scene, compact):
    fresh = FreshTokens(compact.features)
    patches = np.concatenate([fresh(photo)[0].reshape(-1, 64) for photo in open_source(str(scene[0])).photos])
    centred = patches.astype(np.float64) - patches.mean(axis=0)
    best = np.linalg.svd(centred, compute_uv=False)[:NUM_AXES] ** 2
    kept = ((centred @ run_axes(made, compact.features).axes) ** 2).sum()
    assert kept > 0.97 * best.sum()  # of five of the photos


def test_a_photo_passed_anew_has_the_tokens_that_are_stored(made, scene):
    config = made.config().features
    fresh, store = FreshTokens(config, axes=run_axes(made, config)), TokenStore(folder_of(made))
    for number, photo in enumerate(open_source(str(scene[0])).photos):
        np.testing.assert_array_equal(fresh(photo)[0], store.read(number))


def test_models_say_of_a_photo_passed_anew_what_they_say_of_its_stored_tokens(made, scene):
    photo = open_source(str(scene[0])).photos[NUM_TRAIN]
    store = TokenStore(folder_of(made))
    model = load_model(made, "stage1")
    stored = load_model(made, "stage1", lambda photo: (store.read(NUM_TRAIN), model._read(photo)[1]))
    np.testing.assert_array_equal(model.probabilities(photo), stored.probabilities(photo))


def test_onnx_reads_the_kept_axes_alone(made, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    export_onnx(made, tmp_path / "out", stage="stage1")
    session, model = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx"), load_model(made, "stage1")
    same = []
    for photo in open_source(made.info()["data"]).photos:
        pixels = np.asarray(read_photo(photo))
        same.append((session.run(["labels"], {"photo": pixels})[0] == model.probabilities(photo).argmax(axis=0)).mean())
    assert np.mean(same) > 0.97


def test_stopped_in_the_sample_it_goes_on_to_the_same(made, scene, compact, tmp_path, monkeypatch):
    interrupt_stage(monkeypatch, "proposals", 3)
    with pytest.raises(KeyboardInterrupt):
        run_chain(tmp_path / "run", scene[0], compact)
    (sample,) = (tmp_path / "run" / "features").glob("*/sample")
    assert len(list(sample.rglob("*.npy"))) == 3
    run_chain(tmp_path / "run", scene[0], compact)
    assert_same_artifacts(Run(tmp_path / "run"), made)


def test_shards_store_the_same_as_one(made, scene, compact, tmp_path):
    for index in (1, 2, 1):
        run_chain(tmp_path / "run", scene[0], compact, wanted=("proposals",), shard=Shard(index, 2))
    run_chain(tmp_path / "run", scene[0], compact)
    assert_same_artifacts(Run(tmp_path / "run"), made)


def test_there_and_back_makes_what_learns_from_tokens_anew_and_no_mask(made, scene, compact, tmp_path):
    run = Run(shutil.copytree(made.path, tmp_path / "run"))
    folder, before = folder_of(run), contents_of(run)
    plain = compact.with_overrides(["features.tokens=float16"])
    again = redone(run_chain(run.path, scene[0], plain))
    assert "proposals" not in again
    assert {"embeddings", "stage1"} <= set(again)
    assert not run.token_axes_path.exists()
    assert (folder / TOKEN_AXES).exists()  # they are read again
    run_chain(run.path, scene[0], compact)
    after = contents_of(run)
    assert [name for name in before if after.get(name) != before[name]] == []


def test_masks_are_those_of_other_tokens(made, finished):
    assert made.cut_masks_path.read_bytes() == finished[0].cut_masks_path.read_bytes()


@pytest.mark.parametrize("content", [None, b"PK"])
def test_lost_or_damaged_axes_are_found_anew_and_with_them_the_tokens(made, scene, compact, tmp_path, content):
    run = Run(shutil.copytree(made.path, tmp_path / "run"))
    folder = folder_of(run)
    (folder / TOKEN_AXES).unlink()
    if content:
        (folder / TOKEN_AXES).write_bytes(content)
    TokenStore(folder).path(3).write_bytes(b"of other axes")
    run.stage_path("embeddings").unlink()
    run_chain(run.path, scene[0], compact)
    assert_same_artifacts(run, made)


@pytest.mark.parametrize("content", [None, b"PK"])
def test_a_stage_that_reads_tokens_finds_their_axes_again(made, scene, compact, tmp_path, content):
    run = Run(shutil.copytree(made.path, tmp_path / "run"))
    path = folder_of(run) / TOKEN_AXES
    wanted = path.read_bytes()
    path.unlink()
    if content:
        path.write_bytes(content)
    run_chain(run.path, scene[0], compact.with_overrides(["stage1.epochs=2"]), wanted=("stage1",))
    assert path.read_bytes() == wanted


@pytest.mark.parametrize("content", [None, b"PK"])
def test_lost_or_damaged_axes_of_the_run_are_put_back_by_the_remedy_that_is_named(
    made, scene, compact, tmp_path, content
):
    run = Run(shutil.copytree(made.path, tmp_path / "run"))
    run.token_axes_path.unlink()
    if content:
        run.token_axes_path.write_bytes(content)
    assert find_damage(run, "embeddings").path == run.token_axes_path
    run_chain(run.path, scene[0], compact)
    assert run.token_axes_path.read_bytes() == made.token_axes_path.read_bytes()


def test_damaged_axes_are_named_with_the_remedy(made, tmp_path):
    run = Run(shutil.copytree(made.path, tmp_path / "run"))
    run.token_axes_path.write_bytes(b"PK")
    with pytest.raises(DamagedFileError, match=r"token_axes\.npz is damaged .* maskdistill "):
        load_model(run, "stage1")


def test_photos_of_the_sample_that_cannot_be_read_are_replaced_by_others(scene, compact, tmp_path, monkeypatch):
    read, spread = FreshTokens.__call__, {"00", "02", "04", "07", "09"}

    def read_others(self, photo):
        if photo.id in spread:
            raise DatasetError(f"{photo.id} is damaged.")
        return read(self, photo)

    monkeypatch.setattr(FreshTokens, "__call__", read_others)
    run_chain(tmp_path / "run", scene[0], compact, wanted=("proposals",))
    run = Run(tmp_path / "run")
    assert TokenStore(folder_of(run)).read(0).shape[-1] == 64
    spread.update(photo.id for photo in open_source(str(scene[0])).photos)
    shutil.rmtree(run.path / "features")
    run_chain(run.path, scene[0], compact.with_overrides(["proposals.tau=0.9"]), wanted=("proposals",))
    assert not list(run.path.glob(f"features/*/{TOKEN_AXES}"))
