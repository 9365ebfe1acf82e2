"""The vectors of every mask, and the tokens that they are made of."""

import shutil

import numpy as np
import pytest
from tiny_run import NUM_PHOTOS, assert_same_artifacts, redone, run_chain

from maskdistill.config import FeatureConfig, RunConfig
from maskdistill.datasets import open_source
from maskdistill.errors import RunError
from maskdistill.features.patch_tokens import FreshTokens, StoredTokens
from maskdistill.stages.chain import Options
from maskdistill.stages.plan import Plan
from maskdistill.storage.photo_arrays import ArrayStore, VectorStore
from maskdistill.storage.read_files import read_json
from maskdistill.storage.run_folder import MASKS_PER_PHOTO, Run


class TestEmbeddings:
    def test_every_mask_has_its_vectors(self, run):
        record = read_json(run.path / "embeddings.json")
        assert record["errors"] == {}
        store = VectorStore(run.path / "features" / record["folder"])
        masks = run.masks()
        for number in range(NUM_PHOTOS):
            found = store.read([number])
            assert set(found) == {"cls2", "crop1", "photo1", "crop2", "photo2"}
            expected = int((masks["mask_id"] // MASKS_PER_PHOTO == number).sum())
            for values in found.values():
                assert values.shape == (expected, 32)
                assert np.isfinite(values).all()

    def test_missing_tokens_and_vectors_are_made_again(self, run, scene, tmp_path):
        shutil.copytree(run.path, tmp_path / "copy")
        copy = Run(tmp_path / "copy")
        folder = read_json(copy.path / "embeddings.json")["folder"]
        for path in copy.path.glob("features/*/00000/00000[0-5].npy"):
            path.unlink()
        (copy.path / "features" / folder / "00000" / "000001.npz").unlink()
        (copy.path / "embeddings.json").unlink()
        assert redone(run_chain(copy.path, *scene)) == ["embeddings"]
        assert_same_artifacts(copy, run)


class TestTokens:
    def test_fresh_ones_are_the_stored_ones(self, run, scene):
        config = RunConfig.from_dict(run.info()["config"])
        source = open_source(scene[0])
        context = Plan(run, source, config).context("stage1", Options())
        fresh = FreshTokens(config.features)
        for number, photo in enumerate(source.photos):
            tokens, geometry = fresh(photo)
            np.testing.assert_array_equal(tokens, context.tokens.read(number))
            assert geometry == context.geometry(photo)
            assert tokens.shape == (geometry.rows, geometry.cols, 2 * 32)  # two blocks

    @pytest.mark.parametrize(
        ("lost", "read"),
        [
            ("00000/000000.npy", lambda path: ArrayStore(path.parents[1]).read(0)),
            ("00000/000000.npz", lambda path: VectorStore(path.parents[1]).read([0])),
            ("info.json", lambda path: StoredTokens(path.parent, FeatureConfig())),
        ],
    )
    def test_remedy_for_a_deleted_file_makes_it_again(self, run, scene, tmp_path, lost, read):
        """What the message says is done."""
        shutil.copytree(run.path, tmp_path / "copy")
        copy = Run(tmp_path / "copy")
        (path,) = copy.path.glob(f"features/*/{lost}")
        path.unlink()
        with pytest.raises(RunError, match=f"No .*{path.name} in .*: maskdistill embed --run {copy.path}"):
            read(path)
        assert redone(run_chain(copy.path, *scene, wanted=("embeddings",))) == ["embeddings"]
        assert_same_artifacts(copy, run)
